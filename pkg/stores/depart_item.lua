-- Removes an item that the archive has exactly as it is, and records that it left.
--
-- KEYS[1]  hash of the item
-- KEYS[2]  hash of the partition's meta: run_id; departures, items
-- KEYS[3]  filter of departed items
-- ARGV[1]  run_id that meta must hold
-- ARGV[2]  price, bidder, seq, count and event_id that the archive has
-- Reply    1 it left, 0 it is not (any more) what the archive has, -2 run_id differs
--
-- Whatever can fail comes before DEL: a bit without a departure only makes gateways ask.

if redis.call('HGET', KEYS[2], 'run_id') ~= ARGV[1] then
  return -2
end
-- An item with more fields than these is more than its bids: an auction never leaves.
if redis.call('HLEN', KEYS[1]) ~= 6 then
  return 0
end
local names = {'price', 'bidder', 'seq', 'count', 'event_id'}
local state = redis.call('HMGET', KEYS[1], unpack(names))
for number = 1, #names do
  if state[number] ~= ARGV[number + 1] then
    return 0
  end
end
for _, bit in ipairs(bits_of(KEYS[1])) do
  redis.call('SETBIT', KEYS[3], bit, 1)
end
redis.call('HINCRBY', KEYS[2], 'departures', 1)
redis.call('HINCRBY', KEYS[2], 'items', -1)
redis.call('DEL', KEYS[1])
return 1
