-- Moves watermarks that lock_watermarks.sql has locked.
-- $1 text[] partitions  $2 bigint[] last_ms  $3 bigint[] last_n
UPDATE watermarks
SET last_ms = moved.last_ms, last_n = moved.last_n, updated_at = now()
FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS moved (partition, last_ms, last_n)
WHERE watermarks.partition = moved.partition
