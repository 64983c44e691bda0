-- The dead letters to put through again, oldest first.
-- $1  text    only this reason; null: every reason
-- Returns id and reason.
SELECT id, reason
FROM dead_letters
WHERE $1::text IS NULL OR reason = $1
ORDER BY id
