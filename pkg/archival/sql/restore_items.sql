-- The last archived bid on each item.
-- $1  text[]  item ids
-- Returns one row per item:
--   seq, amount, user_id, event_id  of its newest bid; null if none is archived
--   count                           how many bids on it were accepted, as far as is known here
--   opened                          when its first archived bid was placed
--   letter                          the payload of a newer dead letter that only the table refused:
--                                   Redis accepted that bid, so its seq is taken
SELECT
    asked.item_id,
    newest.seq,
    newest.amount,
    newest.user_id,
    newest.event_id::text AS event_id,
    coalesce(item.bid_count, 0) + refused.letters AS count,
    oldest.placed_at AS opened,
    letter.payload AS letter
FROM unnest($1::text[]) AS asked (item_id)
LEFT JOIN items AS item ON item.id = asked.item_id
LEFT JOIN LATERAL (
    SELECT seq, amount, user_id, event_id
    FROM bids
    WHERE bids.item_id = asked.item_id
    ORDER BY seq DESC
    LIMIT 1
) AS newest ON true
LEFT JOIN LATERAL (
    SELECT placed_at
    FROM bids
    WHERE bids.item_id = asked.item_id
    ORDER BY seq
    LIMIT 1
) AS oldest ON true
LEFT JOIN LATERAL (
    SELECT payload
    FROM dead_letters
    WHERE dead_letters.item_id = asked.item_id
        AND dead_letters.reason IN ('refused', 'bid_id_conflict')
        AND dead_letters.seq > coalesce(newest.seq, 0)
    ORDER BY seq DESC, id DESC
    LIMIT 1
) AS letter ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS letters
    FROM dead_letters
    WHERE dead_letters.item_id = asked.item_id
        AND dead_letters.reason IN ('refused', 'bid_id_conflict')
        AND NOT EXISTS (SELECT FROM bids WHERE bids.event_id = dead_letters.event_id)
) AS refused ON true
