-- The events that insert_bids.sql left out although no bid has their event_id: the conflicts.
-- $1  jsonb   the array given to insert_bids.sql
-- Returns event_id, seq_holder and bid_holder: the archived event with the same (item_id, seq), and
-- the one with the same bid_id. A separate statement, so that its snapshot includes what another
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
