-- What the archive holds of each item, up to a given seq.
-- $1  text[]    item ids
-- $2  bigint[]  for each item, the seq up to which the archive must be complete
-- Returns one row per item:
--   archived, dead_lettered        events up to that seq; a dead letter whose event was archived
--                                  after all does not count
--   missing_inside, first_missing  seqs not accounted for below the last one found
--   reached                        the last seq found, up to the given one
--   twice                          number of events whose seq another event already has
--   first_fall                     the first seq whose amount does not exceed all amounts before
--   last_amount, last_event_ids    at the given seq itself
--   last_seq                       the last seq in the archive, even beyond the given one
--   item_agrees                    whether the row in items matches the bids; null without a row
WITH asked AS (
    SELECT item_id, upto FROM unnest($1::text[], $2::bigint[]) AS asked (item_id, upto)
), accounted AS (
    SELECT bids.item_id, bids.seq, bids.event_id, bids.amount
    FROM asked
    JOIN bids ON bids.item_id = asked.item_id
    UNION ALL
    SELECT letter.item_id, letter.seq, letter.event_id, NULL
    FROM asked
    JOIN dead_letters AS letter ON letter.item_id = asked.item_id
    WHERE letter.seq IS NOT NULL
        -- These are of another history of Redis; the audit counts them on their own.
        AND letter.reason <> 'superseded_epoch'
        AND NOT EXISTS (SELECT FROM bids WHERE bids.event_id = letter.event_id)
), walked AS (
    SELECT
        item_id,
        seq,
        event_id,
        amount,
        seq - lag(seq, 1, 0::bigint) OVER item AS step,
        amount <= max(amount) OVER (
            item ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS falls
    FROM accounted
    WINDOW item AS (PARTITION BY item_id ORDER BY seq)
), summed AS (
    SELECT
        asked.item_id,
        count(amount) FILTER (WHERE seq <= upto) AS archived,
        count(seq) FILTER (WHERE seq <= upto AND amount IS NULL) AS dead_lettered,
        coalesce(sum(step - 1) FILTER (WHERE seq <= upto AND step > 1), 0)::bigint
            AS missing_inside,
        min(seq - step + 1) FILTER (WHERE seq <= upto AND step > 1) AS first_missing,
        coalesce(max(seq) FILTER (WHERE seq <= upto), 0) AS reached,
        count(*) FILTER (WHERE seq <= upto AND step = 0) AS twice,
        min(seq) FILTER (WHERE seq <= upto AND falls) AS first_fall,
        max(amount) FILTER (WHERE seq = upto) AS last_amount,
        coalesce(array_agg(event_id::text) FILTER (WHERE seq = upto), '{}') AS last_event_ids,
        coalesce(max(seq) FILTER (WHERE amount IS NOT NULL), 0) AS last_seq,
        count(amount) AS bid_count,
        max(amount) AS highest
    FROM asked
    LEFT JOIN walked ON walked.item_id = asked.item_id
    GROUP BY asked.item_id
)
SELECT
    summed.*,
    item.seq = last_seq AND item.bid_count = summed.bid_count
        AND item.current_bid = coalesce(highest, 0) AS item_agrees
FROM summed
LEFT JOIN items AS item ON item.id = summed.item_id
