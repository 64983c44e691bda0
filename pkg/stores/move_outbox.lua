-- Makes the outbox's next entry come behind an id that was given out already.
--
-- KEYS[1]  stream of the partition's outbox
-- ARGV[1]  the id
-- Reply    1 moved on, 0 the stream is that far already

-- XSETID wants a stream that is there; an entry that comes and goes does not.
local added = redis.pcall('XADD', KEYS[1], ARGV[1], 'e', '')
if type(added) == 'table' and added.err then
  return 0
end
redis.call('XDEL', KEYS[1], ARGV[1])
return 1
