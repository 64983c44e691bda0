-- Stores dead letters, each payload once.
-- $1 text[] reasons  $2 text[] partitions  $3 text[] item ids  $4 bigint[] seqs
-- $5 uuid[] event ids  $6 bytea[] payloads  $7 text[] errors  $8 bytea[] SHA-256 of the payloads
-- Returns the reason of each new one.
INSERT INTO dead_letters (reason, partition, item_id, seq, event_id, payload, error, digest)
SELECT *
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::bigint[], $5::uuid[], $6::bytea[], $7::text[],
    $8::bytea[]
) AS letter (reason, partition, item_id, seq, event_id, payload, error, digest)
ORDER BY digest
ON CONFLICT (digest) DO NOTHING
RETURNING reason
