"""Faults of PostgreSQL. Bids and viewers go on: the stream keeps unarchived events."""

from pkg.trials.faults.row import Row
from pkg.trials.faults.trial import Trial
from pkg.trials.waiting import until

_SLOW_COMMIT = """
CREATE FUNCTION faults_slow_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF coalesce(current_setting('faults.slept', true), '') <> pg_current_xact_id()::text THEN
        PERFORM set_config('faults.slept', pg_current_xact_id()::text, false);
        PERFORM pg_sleep(0.5);
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER faults_slow_commit AFTER INSERT ON bids
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION faults_slow_commit();
"""
_FAST_COMMIT = """
DROP TRIGGER faults_slow_commit ON bids;
DROP FUNCTION faults_slow_commit;
"""
_COMMITTING = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name = 'archival-worker' AND query ILIKE 'COMMIT%' AND state = 'active'
"""
_FULL = """
CREATE FUNCTION faults_disk_full() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';
END $$;
CREATE TRIGGER faults_disk_full BEFORE INSERT ON bids
    FOR EACH ROW EXECUTE FUNCTION faults_disk_full();
"""
_NOT_FULL = """
DROP TRIGGER faults_disk_full ON bids;
DROP FUNCTION faults_disk_full;
"""


async def _stopped(trial: Trial) -> None:
    await trial.stores.postgres.stop()
    await trial.hold(30, short_s=4)
    await trial.stores.postgres.start()


async def _restarted_mid_commit(trial: Trial) -> None:
    """A deferred trigger holds the commit open, so the worker cannot know whether it happened."""
    stores = trial.stores
    for kill in (True, False, True):
        async with stores.postgres_connection() as postgres:
            await postgres.execute(_SLOW_COMMIT)

            async def committing() -> bool:
                return bool(await postgres.fetchval(_COMMITTING))

            await until(committing, within_s=15, what="a commit is in flight")
        await (stores.postgres.kill() if kill else stores.postgres.stop())
        await stores.postgres.start()
        async with stores.postgres_connection() as postgres:
            await postgres.execute(_FAST_COMMIT)
        await trial.hold(3, short_s=0.5)


async def _disk_full(trial: Trial) -> None:
    async with trial.stores.postgres_connection() as postgres:
        await postgres.execute(_FULL)
        await trial.hold(15, short_s=3)
        await postgres.execute(_NOT_FULL)


ROWS = (
    Row(
        name="postgres-stopped",
        expects="No visible effect. The archive catches up.",
        fault=_stopped,
    ),
    Row(
        name="postgres-restarted-mid-commit",
        expects="No visible effect. A commit of unknown outcome is repeated; nothing is "
        "archived twice.",
        fault=_restarted_mid_commit,
    ),
    Row(
        name="postgres-disk-full",
        expects="No visible effect. A full disk turns no bid into a dead letter.",
        fault=_disk_full,
    ),
)
