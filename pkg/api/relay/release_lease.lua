-- Ends the lease when it is ours.
--
-- KEYS[1]  string of the lease
-- ARGV[1]  who asks
-- Reply    1 ended, 0 held by another or by nobody

if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
