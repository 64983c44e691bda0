-- Takes the lease when it is free, renews it when it is ours.
--
-- KEYS[1]  string of the lease
-- ARGV[1]  who asks
-- ARGV[2]  time to live, milliseconds
-- Reply    1 held by the asker now, 0 held by another

local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] then
  -- Not SET: that is refused while memory is full, and only who holds the lease makes room.
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 1
end
if holder then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
