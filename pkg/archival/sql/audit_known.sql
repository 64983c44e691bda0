-- $1  text[]  event ids
-- Returns those that are archived or dead letters.
SELECT asked.event_id
FROM unnest($1::text[]) AS asked (event_id)
WHERE EXISTS (SELECT FROM bids WHERE bids.event_id = asked.event_id::uuid)
    OR EXISTS (SELECT FROM dead_letters AS letter WHERE letter.event_id = asked.event_id::uuid)
