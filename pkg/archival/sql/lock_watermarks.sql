-- The watermarks of some partitions, locked until the transaction ends: one worker moves one at a
-- time. In order of partition, so that two workers do not deadlock.
-- $1  text[]  partitions
-- Gives partition, last_ms, last_n; no row for a partition without a watermark.
SELECT partition, last_ms, last_n
FROM watermarks
WHERE partition = ANY ($1::text[])
ORDER BY partition
FOR UPDATE
