-- Outbox ids are stored as two numbers, so that they compare as in Redis. Text ids sort by bytes
-- ("C"), as in the worker.

CREATE TABLE items (
    id text COLLATE "C" PRIMARY KEY,
    name text NOT NULL,
    description text NOT NULL DEFAULT '',
    start_price numeric(18, 2) NOT NULL DEFAULT 0,
    current_bid numeric(18, 2) NOT NULL DEFAULT 0,
    highest_bidder_id text,
    status text NOT NULL DEFAULT 'active',
    seq bigint NOT NULL DEFAULT 0,
    bid_count bigint NOT NULL DEFAULT 0,
    start_time timestamptz,
    end_time timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- No foreign key to items: a bid is archived even if its item is unknown.
CREATE TABLE bids (
    event_id uuid PRIMARY KEY,
    bid_id uuid NOT NULL UNIQUE,
    item_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL CHECK (seq > 0),
    user_id text NOT NULL,
    amount numeric(18, 2) NOT NULL CHECK (amount > 0),
    previous_bid numeric(18, 2) NOT NULL CHECK (previous_bid >= 0),
    strategy text NOT NULL,
    placed_at timestamptz NOT NULL,
    archived_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (item_id, seq)
);

-- Every event of a partition up to and including (last_ms, last_n) is in bids or dead_letters.
CREATE TABLE watermarks (
    partition text COLLATE "C" PRIMARY KEY,
    last_ms bigint NOT NULL DEFAULT 0,
    last_n bigint NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- Archived stretches (prev, last] beyond a hole above the watermark. They must outlive the process,
-- as their messages were acknowledged and are not redelivered.
CREATE TABLE watermark_islands (
    partition text COLLATE "C" NOT NULL,
    prev_ms bigint NOT NULL,
    prev_n bigint NOT NULL,
    last_ms bigint NOT NULL,
    last_n bigint NOT NULL,
    PRIMARY KEY (partition, prev_ms, prev_n)
);

-- Events and messages that could not be archived, with the facts known about them.
CREATE TABLE dead_letters (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reason text NOT NULL,
    partition text,
    item_id text COLLATE "C",
    seq bigint,
    event_id uuid,
    payload bytea NOT NULL,
    error text NOT NULL,
    digest bytea NOT NULL UNIQUE, -- SHA-256 of the payload, so that a redelivery adds no second letter
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX dead_letters_of_item ON dead_letters (item_id, seq);
