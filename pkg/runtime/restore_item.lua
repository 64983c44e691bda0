-- Puts back what Redis forgot of an item, where it is newer than what Redis has.
--
-- KEYS[1]  hash of the item: price (cents), bidder, seq, count, event_id, opened_at
-- ARGV[1]  seq of the bid
-- ARGV[2]  its amount in cents
-- ARGV[3]  its bidder
-- ARGV[4]  its event_id
-- ARGV[5]  its timestamp, for opened_at where there is none
-- ARGV[6]  number of bids with this one; '' for as many more as seq is above Redis'. Usually that is
--          one: events come in turn. Where some were lost, they were accepted bids all the same.
-- Reply    1 put back, 0 Redis has this seq or a later one, -1 refused: the price would fall

local state = redis.call('HMGET', KEYS[1], 'price', 'seq', 'count')
if tonumber(ARGV[1]) <= tonumber(state[2] or 0) then
  return 0
end
if tonumber(ARGV[2]) <= tonumber(state[1] or 0) then
  return -1
end
local count = ARGV[6]
if count == '' then
  count = string.format(
    '%.0f', tonumber(state[3] or 0) + tonumber(ARGV[1]) - tonumber(state[2] or 0))
end
redis.call(
  'HSET', KEYS[1], 'price', ARGV[2], 'bidder', ARGV[3], 'seq', ARGV[1],
  'count', count, 'event_id', ARGV[4])
redis.call('HSETNX', KEYS[1], 'opened_at', ARGV[5])
return 1
