-- The ids of all items the archive holds bids of. Read through a cursor.
SELECT id FROM items WHERE seq > 0
UNION
SELECT item_id FROM bids
