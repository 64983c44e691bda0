-- Forgets the islands of some partitions, before insert_islands.sql writes them anew.
-- $1  text[]  partitions
DELETE FROM watermark_islands WHERE partition = ANY ($1::text[])
