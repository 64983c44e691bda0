-- Tells whether an item that is not in Redis is a new one.
--
-- KEYS[1]  hash of the item
-- KEYS[2]  hash of the partition's meta: run_id, departures, items
-- KEYS[3]  filter of departed items
-- ARGV[1]  run_id that meta must hold
-- ARGV[2]  departures before the archive was asked and did not have the item; empty if not asked
-- Reply    {0, number of items}   it is new
--          {1, 0}                 Redis has it
--          {-2, 0}                run_id differs
--          {-4, departures}       it may be in the archive
-- Errors   BROKEN: items is no number

if redis.call('HGET', KEYS[2], 'run_id') ~= ARGV[1] then
  return {-2, 0}
end
if redis.call('EXISTS', KEYS[1]) == 1 then
  return {1, 0}
end
if may_have_departed(KEYS[1], KEYS[3]) then
  local departures = redis.call('HGET', KEYS[2], 'departures') or '0'
  if departures ~= ARGV[2] then
    return {-4, tonumber(departures)}
  end
end
local items = tonumber(redis.call('HGET', KEYS[2], 'items') or 0)
if not items or items % 1 ~= 0 then
  return redis.error_reply('BROKEN items of ' .. KEYS[2] .. ' is no whole number')
end
return {0, items}
