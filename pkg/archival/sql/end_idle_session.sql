-- Ends one of our sessions if PostgreSQL has had nothing to do for it for a while.
-- Its locks are then free.
-- $1 int: its process id
-- $2 double precision: seconds for which it must have been idle
-- Returns one row: busy, which is false if the session was ended or is not there any more.
WITH session AS MATERIALIZED (
    SELECT
        pid,
        -- A state that we may not see counts as busy.
        state IS NULL
        OR state NOT LIKE 'idle%'
        OR state_change > clock_timestamp() - make_interval(secs => $2) AS busy
    FROM pg_stat_activity
    WHERE pid = $1 AND application_name = 'archival-worker'
)
SELECT
    coalesce(bool_or(busy), false) AS busy,
    count(CASE WHEN NOT busy THEN pg_terminate_backend(pid) END) AS ended
FROM session
