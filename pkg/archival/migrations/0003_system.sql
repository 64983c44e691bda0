-- The system that this archive belongs to (pkg/stores/system.py). No row: not known yet.
CREATE TABLE system (
    id text NOT NULL,
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row)
);
