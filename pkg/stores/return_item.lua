-- Puts an item that left Redis back, as the archive has it.
--
-- KEYS[1]  hash of the item: price (cents), bidder, seq, count, event_id, opened_at
-- KEYS[2]  hash of the partition's meta: run_id; departures, items
-- ARGV[1]  run_id that meta must hold
-- ARGV[2]  departures when the item was found to be missing, before the archive was asked
-- ARGV[3]  maximum number of items in the partition
-- ARGV[4]  price, bidder, seq, count, event_id, opened_at
-- Reply    1 put back
--          0 nothing was written: it is back, or some item left since; look again
--          -2 run_id differs: nothing was written
--          -3 the partition has its maximum of items: nothing was written
--
-- The item may have come back, got bids and left again since the archive was asked. Then departures
-- has changed, as it cannot leave without.

if redis.call('HGET', KEYS[2], 'run_id') ~= ARGV[1] then
  return -2
end
if redis.call('EXISTS', KEYS[1]) == 1
    or (redis.call('HGET', KEYS[2], 'departures') or '0') ~= ARGV[2] then
  return 0
end
local items = tonumber(redis.call('HGET', KEYS[2], 'items') or 0)
if not items or items % 1 ~= 0 then
  return redis.error_reply('BROKEN items of ' .. KEYS[2] .. ' is no whole number')
end
if items >= tonumber(ARGV[3]) then
  return -3
end
redis.call(
  'HSET', KEYS[1], 'price', ARGV[4], 'bidder', ARGV[5], 'seq', ARGV[6], 'count', ARGV[7],
  'event_id', ARGV[8], 'opened_at', ARGV[9])
redis.call('HINCRBY', KEYS[2], 'items', 1)
return 1
