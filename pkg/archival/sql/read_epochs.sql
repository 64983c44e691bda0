-- $1  text[]  partitions
-- Returns partition, epoch, epoch_began; no row for a partition without a watermark.
SELECT partition, epoch, epoch_began FROM watermarks WHERE partition = ANY ($1::text[])
