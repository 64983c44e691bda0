-- $1  text[]  event ids
-- Returns those of archived bids.
SELECT event_id::text AS event_id FROM bids WHERE event_id = ANY ($1::text[]::uuid[])
