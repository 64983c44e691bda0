-- Records the system that the archive belongs to, unless one is recorded.
-- $1 text: its id.
INSERT INTO system (id) VALUES ($1) ON CONFLICT DO NOTHING
