-- The ids of all items of which the archive holds an accepted bid. Read through a cursor.
-- A dead letter counts if it is a valid bid that only the table refused.
SELECT id FROM items WHERE seq > 0
UNION
SELECT item_id FROM bids
UNION
SELECT item_id FROM dead_letters
WHERE reason IN ('refused', 'bid_id_conflict') AND item_id IS NOT NULL
