-- Puts an item's last known bid back, unless Redis has it or a later one.
--
-- KEYS[1]  hash of the item: price (cents), bidder, seq, count, event_id, opened_at
-- KEYS[2]  hash of the partition's meta: items, the number of items, where one is made
-- ARGV[1]  seq of the bid
-- ARGV[2]  its amount in cents
-- ARGV[3]  its bidder
-- ARGV[4]  its event_id
-- ARGV[5]  its timestamp, or that of the item's first bid: becomes opened_at if that is later
-- Reply    1 put back, 0 Redis has this seq or a later one, -1 refused: the price would not rise

local state = redis.call('HMGET', KEYS[1], 'price', 'seq', 'count', 'opened_at')
if tonumber(ARGV[1]) <= tonumber(state[2] or 0) then
  -- If Redis restarts during a restore, the first to put an item back may have been a later bid.
  -- Timestamps are of equal length, so their text compares as they do.
  if state[4] and ARGV[5] < state[4] then
    redis.call('HSET', KEYS[1], 'opened_at', ARGV[5])
  end
  return 0
end
if tonumber(ARGV[2]) <= tonumber(state[1] or 0) then
  return -1
end
-- Each seq in between belongs to an accepted bid, even one that is lost. If a future kind of event
-- takes a seq without being a bid, subtract those events here.
local count = tonumber(state[3] or 0) + tonumber(ARGV[1]) - tonumber(state[2] or 0)
redis.call(
  'HSET', KEYS[1], 'price', ARGV[2], 'bidder', ARGV[3], 'seq', ARGV[1],
  'count', string.format('%.0f', count), 'event_id', ARGV[4])
redis.call('HSETNX', KEYS[1], 'opened_at', ARGV[5])
if not state[2] then
  redis.call('HINCRBY', KEYS[2], 'items', 1)
end
return 1
