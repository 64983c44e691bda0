-- Deletes the lease if the caller holds it.
--
-- KEYS[1]  string of the lease
-- ARGV[1]  name of the caller
-- Reply    1 deleted, 0 held by another or by nobody

if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
