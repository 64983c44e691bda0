-- The ids of all items with archived bids. Read through a cursor.
SELECT id FROM items WHERE seq > 0
UNION
SELECT item_id FROM bids
