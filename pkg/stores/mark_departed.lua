-- Records that an item is in the archive only, unless Redis has it.
--
-- KEYS[1]  hash of the item
-- KEYS[2]  hash of the partition's meta: departures
-- KEYS[3]  filter of departed items
-- Reply    1 recorded, 0 Redis has the item

if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
if not may_have_departed(KEYS[1], KEYS[3]) then
  for _, bit in ipairs(bits_of(KEYS[1])) do
    redis.call('SETBIT', KEYS[3], bit, 1)
  end
end
redis.call('HINCRBY', KEYS[2], 'departures', 1)
return 1
