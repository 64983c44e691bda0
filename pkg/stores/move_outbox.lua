-- Moves the outbox on, so that its next entry gets a higher id than one already used.
--
-- KEYS[1]  stream of the partition's outbox
-- ARGV[1]  the id
-- Reply    1 moved on, 0 the outbox has already reached that id

-- XSETID needs an existing stream; adding and deleting an entry does not.
local added = redis.pcall('XADD', KEYS[1], ARGV[1], 'e', '')
if type(added) == 'table' and added.err then
  return 0
end
redis.call('XDEL', KEYS[1], ARGV[1])
return 1
