-- The islands of some partitions. Run it after lock_watermarks.sql.
-- $1  text[]  partitions
-- Returns partition, prev_ms, prev_n, last_ms, last_n.
SELECT partition, prev_ms, prev_n, last_ms, last_n
FROM watermark_islands
WHERE partition = ANY ($1::text[])
