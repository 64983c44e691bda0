-- Creates missing watermarks, at a position before all entries.
-- $1  text[]  partitions
INSERT INTO watermarks (partition)
SELECT partition FROM unnest($1::text[]) AS partition ORDER BY partition
ON CONFLICT (partition) DO NOTHING
