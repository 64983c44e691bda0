-- Reads the watermarks of some partitions and locks them until the transaction ends, so that only
-- one worker moves them. Locks in order of partition, so that two workers do not deadlock.
-- $1  text[]  partitions
-- Returns partition, last_ms, last_n, epoch, epoch_began; no row for a partition without a
-- watermark.
SELECT partition, last_ms, last_n, epoch, epoch_began
FROM watermarks
WHERE partition = ANY ($1::text[])
ORDER BY partition
FOR UPDATE
