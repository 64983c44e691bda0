-- Which history of Redis a partition's bids come from (pkg/stores/epochs.py). 0: none is known.
ALTER TABLE watermarks
    ADD COLUMN epoch bigint NOT NULL DEFAULT 0,
    -- The stream sequence of the epoch's first message. What an older epoch published after it is
    -- not of this history.
    ADD COLUMN epoch_began bigint NOT NULL DEFAULT 0;
