-- What an archive says of itself.
-- Returns system (null if not known), empty (neither a bid nor a dead letter).
SELECT
    (SELECT id FROM system) AS system,
    NOT EXISTS (SELECT FROM bids) AND NOT EXISTS (SELECT FROM dead_letters) AS empty
