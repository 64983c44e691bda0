-- Takes the lease if it is free, renews it if the caller holds it.
--
-- KEYS[1]  string of the lease
-- ARGV[1]  name of the caller
-- ARGV[2]  time to live, milliseconds
-- Reply    1 now held by the caller, 0 held by another

local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] then
  -- Not SET: Redis refuses it while memory is full, and the holder is who makes room.
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 1
end
if holder then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
