-- Moves watermarks that lock_watermarks.sql has locked.
-- $1 text[] partitions  $2 bigint[] last_ms  $3 bigint[] last_n  $4 bigint[] epoch
-- $5 bigint[] epoch_began
UPDATE watermarks
SET
    last_ms = moved.last_ms,
    last_n = moved.last_n,
    epoch = moved.epoch,
    epoch_began = moved.epoch_began,
    updated_at = now()
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
    AS moved (partition, last_ms, last_n, epoch, epoch_began)
WHERE watermarks.partition = moved.partition
