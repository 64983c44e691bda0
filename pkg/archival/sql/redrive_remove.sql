-- Removes a dead letter that is archived now.
-- $1  bigint  id
DELETE FROM dead_letters WHERE id = $1
