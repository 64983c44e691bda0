-- Places one bid: compare-and-set, next sequence number and outbox entry in one atomic step.
--
-- KEYS[1]  hash of the item: price (cents), bidder, seq, count, event_id, opened_at
-- KEYS[2]  stream of the partition's outbox
-- KEYS[3]  hash of the partition's meta: run_id; items and departures, where an item is made
-- KEYS[4]  filter of departed items, read where an item is made
-- ARGV[1]  amount in cents, decimal digits, at most 999999999999 (exact in a double)
-- ARGV[2]  bidder
-- ARGV[3]  event_id
-- ARGV[4]  head of the event's JSON (pkg.auction.events.event_head)
-- ARGV[5]  maximum number of entries in the outbox
-- ARGV[6]  run_id that meta must hold
-- ARGV[7]  maximum number of items in the partition
-- ARGV[8]  departures before the archive was asked and did not have the item; left out if not asked
-- Reply    {1, seq}     accepted: the item is changed and the event is in the outbox
--          {0, price}   not above the current price (cents): nothing was written
--          {-1, 0}      the outbox is full: nothing was written
--          {-2, 0}      run_id differs, Redis may have forgotten bids: nothing was written
--          {-4, departures}  the item may be in the archive: nothing was written
--          {-3, 0}      the bid would make an item too many: nothing was written
-- Errors   BROKEN: a number of the item, or of items, is none; or Redis' own. Nothing was written: whatever can
--          fail comes before the first write, XADD, or is undone.
--
-- Redis 6.2 to 7. Writes the same end of the JSON as pkg.auction.events.event_tail.

local floor = math.floor
local MOST = 9007199254740991  -- from here on doubles are not exact

-- Civil date of a day number since 1970 (H. Hinnant, "chrono-compatible low-level date algorithms").
local function timestamp(now)
  local seconds = tonumber(now[1])
  local day = floor(seconds / 86400)
  local second = seconds - day * 86400
  local shifted = day + 719468
  local era = floor(shifted / 146097)
  local doe = shifted - era * 146097
  local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))
  local mp = floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return string.format(
    '%04d-%02d-%02dT%02d:%02d:%02d.%06dZ', year, month, doy - floor((153 * mp + 2) / 5) + 1,
    floor(second / 3600), floor(second % 3600 / 60), second % 60, tonumber(now[2]))
end

if redis.call('HGET', KEYS[3], 'run_id') ~= ARGV[6] then
  return {-2, 0}
end
local state = redis.call('HMGET', KEYS[1], 'price', 'seq', 'count')
local price, seq, count = tonumber(state[1] or 0), tonumber(state[2] or 0), tonumber(state[3] or 0)
if not (price and seq and count and price % 1 + seq % 1 + count % 1 == 0  -- false for nan and inf
    and price >= 0 and seq >= 0 and seq < MOST and count >= 0 and count < MOST) then
  return redis.error_reply('BROKEN price, seq or count of ' .. KEYS[1] .. ' is no whole number')
end
if tonumber(ARGV[1]) <= price then
  return {0, price}
end
if redis.call('XLEN', KEYS[2]) >= tonumber(ARGV[5]) then
  return {-1, 0}
end
local new = not state[1]
if new then
  -- As in departed.lua, whose functions would be made anew at every bid.
  local digits, marked = redis.sha1hex(KEYS[1]), 1
  for first = 1, 25, 6 do
    if marked == 1 then
      marked = redis.call(
        'GETBIT', KEYS[4], tonumber(string.sub(digits, first, first + 5), 16) % 8388608)
    end
  end
  if marked == 1 then
    local departures = redis.call('HGET', KEYS[3], 'departures') or '0'
    if departures ~= ARGV[8] then
      return {-4, tonumber(departures)}
    end
  end
  local items = tonumber(redis.call('HGET', KEYS[3], 'items') or 0)
  if not items or items % 1 ~= 0 then
    return redis.error_reply('BROKEN items of ' .. KEYS[3] .. ' is no whole number')
  end
  if items >= tonumber(ARGV[7]) then
    return {-3, 0}
  end
end

seq = seq + 1
local now = timestamp(redis.call('TIME'))
local cents = price % 100
local tail = string.format(
  ',"previous_bid":%d.%02d,"timestamp":"%s","seq":%d}', (price - cents) / 100, cents, now, seq)

-- Fails if the outbox has given out its last id, or Redis refuses writes.
local entry = redis.call('XADD', KEYS[2], '*', 'e', ARGV[4] .. tail)
local written
if not new then
  written = redis.pcall(
    'HSET', KEYS[1], 'price', ARGV[1], 'bidder', ARGV[2], 'seq', seq, 'count', count + 1,
    'event_id', ARGV[3])
else
  written = redis.pcall(
    'HSET', KEYS[1], 'price', ARGV[1], 'bidder', ARGV[2], 'seq', seq, 'count', count + 1,
    'event_id', ARGV[3], 'opened_at', now)
  if type(written) ~= 'table' then
    written = redis.pcall('HINCRBY', KEYS[3], 'items', 1)
    if type(written) == 'table' then
      redis.call('DEL', KEYS[1])
    end
  end
end
if type(written) == 'table' then  -- an error: this user may not do it
  redis.call('XDEL', KEYS[2], entry)
  return written
end
return {1, seq}
