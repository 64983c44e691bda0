-- Returns one row: how many bids of a superseded Redis are dead letters and were not archived since.
SELECT count(*)
FROM dead_letters AS letter
WHERE letter.reason = 'superseded_epoch'
    AND NOT EXISTS (SELECT FROM bids WHERE bids.event_id = letter.event_id)
