-- Inserts the bids that are not archived yet and updates their items.
-- $1  jsonb   an array of bid events
-- Returns the number of new bids. A bid that violates a unique key is left out;
-- find_left_out.sql tells conflicts from duplicates.
--
-- Inserts in the order of keys, and all bids before the items, so that concurrent workers wait for
-- each other instead of deadlocking.
WITH inserted AS (
    INSERT INTO bids (
        event_id, bid_id, item_id, seq, user_id, amount, previous_bid, strategy, placed_at
    )
    SELECT event_id, bid_id, item_id, seq, user_id, amount, previous_bid, strategy, "timestamp"
    FROM jsonb_to_recordset($1::jsonb) AS event (
        event_id uuid,
        bid_id uuid,
        item_id text COLLATE "C",
        seq bigint,
        user_id text,
        amount numeric,
        previous_bid numeric,
        strategy text,
        "timestamp" timestamptz
    )
    ORDER BY item_id, seq
    ON CONFLICT DO NOTHING
    RETURNING item_id, seq, user_id, amount, placed_at
), newest AS (
    SELECT DISTINCT ON (item_id)
        item_id,
        seq,
        user_id,
        amount,
        count(*) OVER item AS bid_count,
        min(placed_at) OVER item AS start_time
    FROM inserted
    WINDOW item AS (PARTITION BY item_id)
    ORDER BY item_id, seq DESC
), updated AS (
    INSERT INTO items (id, name, current_bid, highest_bidder_id, seq, bid_count, start_time)
    SELECT item_id, item_id, amount, user_id, seq, bid_count, start_time
    FROM newest
    ORDER BY item_id
    ON CONFLICT (id) DO UPDATE SET
        -- Batches may come out of order: an older one adds to the count only.
        bid_count = items.bid_count + excluded.bid_count,
        start_time = least(items.start_time, excluded.start_time),
        updated_at = now(),
        seq = greatest(items.seq, excluded.seq),
        current_bid = CASE
            WHEN items.seq < excluded.seq THEN excluded.current_bid ELSE items.current_bid
        END,
        highest_bidder_id = CASE
            WHEN items.seq < excluded.seq
            THEN excluded.highest_bidder_id ELSE items.highest_bidder_id
        END
)
SELECT count(*) FROM inserted
