-- Reads one dead letter and locks it, so that only one redrive puts it through.
-- $1  bigint  id
-- Returns partition and payload; no row if another redrive has the letter, or had it.
SELECT partition, payload
FROM dead_letters
WHERE id = $1
FOR UPDATE SKIP LOCKED
