-- $1  bigint  maximum number
-- Returns the newest dead letters, and whether the event of each was archived after all.
SELECT
    letter.id,
    letter.reason,
    letter.partition,
    letter.item_id,
    letter.seq,
    letter.event_id::text AS event_id,
    letter.error,
    letter.created_at,
    EXISTS (SELECT FROM bids WHERE bids.event_id = letter.event_id) AS archived_since
FROM dead_letters AS letter
ORDER BY letter.id DESC
LIMIT $1
