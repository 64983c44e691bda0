-- Of the events that insert_bids.sql was given, those that are not in the archive by event_id.
-- $1  jsonb   the same array
-- Gives event_id, seq_holder and bid_holder: the archived event that has its (item_id, seq), and
-- the one that has its bid_id. A statement of its own, for a snapshot that sees what another
-- worker committed while the insert waited for it.
SELECT
    event.event_id::text AS event_id,
    same_seq.event_id::text AS seq_holder,
    same_bid.event_id::text AS bid_holder
FROM jsonb_to_recordset($1::jsonb) AS event (
    event_id uuid, bid_id uuid, item_id text COLLATE "C", seq bigint
)
LEFT JOIN bids AS archived ON archived.event_id = event.event_id
LEFT JOIN bids AS same_seq ON same_seq.item_id = event.item_id AND same_seq.seq = event.seq
LEFT JOIN bids AS same_bid ON same_bid.bid_id = event.bid_id
WHERE archived.event_id IS NULL
