"""Faults of Redis. Bids get 503 while it is down; lost bids are put back before it opens."""

from pathlib import Path

from pkg.trials.faults.protocols import Store, data_folder
from pkg.trials.faults.row import REDIS_AWAY, Row
from pkg.trials.faults.trial import Trial
from pkg.trials.waiting import until

RESTORE_WITHIN_S = 60.0
EVERYSEC_S = 2.0
"""Redis writes its log before it replies, unless the disk is still busy with the last fsync: then
it may reply first, for up to two seconds (``flushAppendOnlyFile`` in its aof.c)."""
RELAYED_WITHIN_S = 2.0
"""Longest time that an entry waits in an outbox while NATS is up; tenths are usual."""
KILLED = (
    "Redis writes its log before it replies, and the kernel keeps what was written, so no accepted "
    "bid is lost. While the disk is busy Redis delays the write by up to 2 s; of those bids "
    "only the ones in the stream are put back"
)


async def _stopped(trial: Trial) -> None:
    await trial.stores.redis.stop()
    await trial.hold(10, short_s=3)
    await trial.stores.redis.start()


async def _killed(trial: Trial) -> None:
    trial.fault_begins()
    await trial.stores.redis.kill()
    await trial.hold(2, short_s=1)
    await trial.stores.redis.start()


async def _tail_cut(trial: Trial) -> None:
    redis = trial.stores.redis
    log, size = _log(redis)
    await trial.hold(5, short_s=3)
    trial.fault_begins()
    await redis.kill()
    _cut(trial, log, size)
    await redis.start()
    trial.fault_ends()
    await until(
        lambda: trial.ledger.first_accepted_after(trial.ended_at or 0.0),
        within_s=40,
        what="Redis opens",
    )
    put_back = await trial.services.metric_total("bid_recovered_bids_total")
    trial.note(f"{put_back:g} bids that Redis had lost were put back from the stream.")
    trial.require(put_back, "nothing was put back")


async def _tail_cut_without_nats(trial: Trial) -> None:
    redis = trial.stores.redis
    log, size = _log(redis)
    await trial.hold(5, short_s=3)
    trial.fault_begins()
    await trial.stores.nats.stop()
    await redis.kill()
    _cut(trial, log, size)
    await redis.start()
    trial.fault_ends()
    await until(
        lambda: trial.ledger.first_accepted_after(trial.ended_at or 0.0),
        within_s=40,
        what="Redis opens without NATS",
    )
    alarm = await trial.services.metric_total("bid_recoveries_without_stream_total")
    trial.note(f"The alarm bid_recoveries_without_stream_total was at {alarm:g}.")
    trial.require(alarm, "Redis opened without the stream, and no alarm was raised")
    await trial.hold(5, short_s=2)
    await trial.stores.nats.start()
    trial.everything_is_back()


async def _unrelayed_tail_cut(trial: Trial) -> None:
    """Redis loses bids that no other store has: this tests the alarm."""
    redis = trial.stores.redis
    await trial.stores.nats.stop()
    trial.fault_begins()
    log, size = _log(redis)
    await trial.hold(5, short_s=3)
    await redis.kill()
    _cut(trial, log, size)
    await redis.start()
    trial.fault_ends()
    await until(
        lambda: trial.ledger.first_accepted_after(trial.ended_at or 0.0),
        within_s=40,
        what="Redis opens without NATS",
    )
    forgotten = 0.0

    async def alarmed() -> bool:
        nonlocal forgotten
        forgotten = await trial.services.metric_total("bid_forgotten_bids_total")
        return forgotten > 0

    await until(alarmed, within_s=10, what="the alarm bid_forgotten_bids_total is raised")
    trial.note(f"The alarm bid_forgotten_bids_total was at {forgotten:g}.")
    await trial.stores.nats.start()
    trial.everything_is_back()


async def _flushed(trial: Trial) -> None:
    async with trial.stores.redis_client() as redis:
        trial.fault_begins()
        await redis.flushall()
    trial.fault_ends()
    await trial.hold(3, short_s=1)
    code, stdout, stderr = await trial.services.command(
        "restore", "--yes", environment=trial.environment, within_s=RESTORE_WITHIN_S
    )
    trial.require(
        code == 0, f"restore ended with {code}: {stdout[-300:].strip()} {stderr[-300:].strip()}"
    )


async def _at_maxmemory(trial: Trial) -> None:
    async with trial.stores.redis_client() as redis:
        before = (await redis.config_get("maxmemory"))["maxmemory"] or 0
        await redis.config_set("maxmemory", 1)  # otherwise trimming makes room for new bids
        await trial.hold(10, short_s=3)
        left = await trial.outbox_entries()
        await redis.config_set("maxmemory", before)
    trial.require(trial.ledger.failed, "no bid failed, so memory was never full")
    trial.require(not left, f"{left} entries were left in the outboxes while memory was full")


def _log(redis: Store) -> tuple[Path, int]:
    """The append-only file being written; since Redis 7 it is one of several in a folder."""
    log = max(data_folder(redis).rglob("*.aof"), key=lambda path: path.stat().st_mtime_ns)
    return log, log.stat().st_size


def _cut(trial: Trial, log: Path, size: int) -> None:
    cut = log.stat().st_size - size
    trial.note(f"{cut} bytes were cut from the end of Redis' log.")
    trial.require(cut > 0, "the log had no tail to cut")
    with log.open("r+b") as file:
        file.truncate(size)


ROWS = (
    Row(
        name="redis-stopped",
        expects="Bids get 503 until Redis is back. No accepted bid is lost.",
        fault=_stopped,
        may_fail=REDIS_AWAY,
    ),
    Row(
        name="redis-killed",
        expects=f"As above; a bid in flight may get outcome_unknown. {KILLED}.",
        fault=_killed,
        may_fail=REDIS_AWAY,
        may_lose=True,
        forgets_s=EVERYSEC_S,
    ),
    Row(
        name="redis-tail-cut",
        expects="Redis loses its last 5 s. Bids in the stream are put back before Redis opens; "
        "only the last events, not relayed yet, may be lost.",
        fault=_tail_cut,
        may_fail=REDIS_AWAY,
        may_lose=True,
        forgets_s=RELAYED_WITHIN_S,
    ),
    Row(
        name="redis-tail-cut-without-nats",
        expects="The same with NATS down for longer than RECOVERY_WAIT_S: Redis opens with an "
        "alarm. Bids that reuse a seq become dead letters, and the audit exits with 1 "
        "and names the lost ones.",
        fault=_tail_cut_without_nats,
        may_fail=REDIS_AWAY,
        may_lose=True,
        forgets_s=RELAYED_WITHIN_S,
    ),
    Row(
        name="redis-unrelayed-tail-cut",
        expects="The same, but NATS was already down, so no other store has the bids that Redis "
        "lost. The alarm bid_forgotten_bids_total goes off, and the audit names each "
        "bid.",
        fault=_unrelayed_tail_cut,
        may_fail=REDIS_AWAY,
        may_lose=True,
        forgets_s=EVERYSEC_S,
        must_lose=True,
    ),
    Row(
        name="redis-flushed-and-restored",
        expects="Bids get 503 redis_recovering until restore has rebuilt Redis from the archive "
        "and the stream; only the last events, not relayed yet, may be lost.",
        fault=_flushed,
        may_fail=REDIS_AWAY,
        may_lose=True,
        forgets_s=RELAYED_WITHIN_S,
    ),
    Row(
        name="redis-at-maxmemory",
        expects="Bids get 503 while Redis' memory is full. No accepted bid is lost.",
        fault=_at_maxmemory,
        may_fail=REDIS_AWAY,
    ),
)
