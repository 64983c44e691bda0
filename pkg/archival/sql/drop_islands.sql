-- Deletes the islands of some partitions; insert_islands.sql then writes the new ones.
-- $1  text[]  partitions
DELETE FROM watermark_islands WHERE partition = ANY ($1::text[])
