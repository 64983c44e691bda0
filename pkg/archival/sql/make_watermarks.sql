-- Makes the rows of partitions that have none, before every entry.
-- $1  text[]  partitions
INSERT INTO watermarks (partition)
SELECT partition FROM unnest($1::text[]) AS partition ORDER BY partition
ON CONFLICT (partition) DO NOTHING
