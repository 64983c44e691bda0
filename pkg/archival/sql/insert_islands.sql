-- $1 text[] partitions  $2 bigint[] prev_ms  $3 bigint[] prev_n  $4 bigint[] last_ms
-- $5 bigint[] last_n
INSERT INTO watermark_islands (partition, prev_ms, prev_n, last_ms, last_n)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
