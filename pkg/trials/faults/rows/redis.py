"""Faults of Redis. Bids get 503 while it is down; what it forgot is put back before it opens."""

from pathlib import Path

from pkg.trials.faults.parts import Store, data_of
from pkg.trials.faults.row import REDIS_AWAY, Row
from pkg.trials.faults.scene import Scene
from pkg.trials.waiting import until

RESTORE_WITHIN_S = 60.0
EVERYSEC_S = 2.0
"""Redis writes its log before it replies, unless the disk is still busy with the last fsync: then
it goes on without, for up to two seconds (``flushAppendOnlyFile`` in its aof.c)."""
RELAYED_WITHIN_S = 2.0
"""While NATS is up, an entry that waits longer in an outbox is late; tenths are usual."""
KILLED = (
    "Nothing accepted is lost, for Redis writes its log before it replies, and what is written "
    "outlives the process; but while the disk is busy it postpones that for up to 2 s, and of "
    "those only what the stream holds is put back"
)


async def _stopped(scene: Scene) -> None:
    await scene.stores.redis.stop()
    await scene.hold(10, short_s=3)
    await scene.stores.redis.start()


async def _killed(scene: Scene) -> None:
    scene.strike()
    await scene.stores.redis.kill()
    await scene.hold(2, short_s=1)
    await scene.stores.redis.start()


async def _tail_cut(scene: Scene) -> None:
    redis = scene.stores.redis
    log, size = _log(redis)
    await scene.hold(5, short_s=3)
    scene.strike()
    await redis.kill()
    _cut(scene, log, size)
    await redis.start()
    scene.over()
    await until(
        lambda: scene.ledger.first_accepted_after(scene.ended_at or 0.0),
        within_s=40,
        what="Redis opens",
    )
    put_back = await scene.services.counted("bid_recovered_bids_total")
    scene.note(f"{put_back:g} bids that Redis had forgotten were put back from the stream.")
    scene.require(put_back, "nothing was put back")


async def _tail_cut_without_nats(scene: Scene) -> None:
    redis = scene.stores.redis
    log, size = _log(redis)
    await scene.hold(5, short_s=3)
    scene.strike()
    await scene.stores.nats.stop()
    await redis.kill()
    _cut(scene, log, size)
    await redis.start()
    scene.over()
    await until(
        lambda: scene.ledger.first_accepted_after(scene.ended_at or 0.0),
        within_s=40,
        what="Redis opens without NATS",
    )
    alarm = await scene.services.counted("bid_recoveries_without_stream_total")
    scene.note(f"The alarm bid_recoveries_without_stream_total stood at {alarm:g}.")
    scene.require(alarm, "Redis opened without the stream, and no alarm was raised")
    await scene.hold(5, short_s=2)
    await scene.stores.nats.start()


async def _unrelayed_tail_cut(scene: Scene) -> None:
    """Redis forgets bids that were nowhere else, so each run loses some: this tests the alarm."""
    redis = scene.stores.redis
    await scene.stores.nats.stop()
    scene.strike()
    log, size = _log(redis)
    await scene.hold(5, short_s=3)
    await redis.kill()
    _cut(scene, log, size)
    await redis.start()
    scene.over()
    await until(
        lambda: scene.ledger.first_accepted_after(scene.ended_at or 0.0),
        within_s=40,
        what="Redis opens without NATS",
    )
    forgotten = 0.0

    async def alarmed() -> bool:
        nonlocal forgotten
        forgotten = await scene.services.counted("bid_forgotten_bids_total")
        return forgotten > 0

    await until(alarmed, within_s=10, what="the alarm bid_forgotten_bids_total is raised")
    scene.note(f"The alarm bid_forgotten_bids_total stood at {forgotten:g}.")
    await scene.stores.nats.start()


async def _flushed(scene: Scene) -> None:
    async with scene.stores.asking_redis() as redis:
        scene.strike()
        await redis.flushall()
    scene.over()
    await scene.hold(3, short_s=1)
    code, said, complained = await scene.services.command(
        "restore", "--yes", environment=scene.environment, within_s=RESTORE_WITHIN_S
    )
    scene.require(
        code == 0, f"restore ended with {code}: {said[-300:].strip()} {complained[-300:].strip()}"
    )


async def _at_maxmemory(scene: Scene) -> None:
    async with scene.stores.asking_redis() as redis:
        before = (await redis.config_get("maxmemory"))["maxmemory"] or 0
        await redis.config_set("maxmemory", 1)  # otherwise trimming makes room for new bids
        await scene.hold(10, short_s=3)
        left = await scene.outbox_entries()
        await redis.config_set("maxmemory", before)
    scene.require(scene.ledger.failed, "there was room all the time")
    scene.require(not left, f"{left} entries were left in the outboxes while memory was full")


def _log(redis: Store) -> tuple[Path, int]:
    """The append-only file being written; since Redis 7 it is one of several in a folder."""
    log = max(data_of(redis).rglob("*.aof"), key=lambda path: path.stat().st_mtime_ns)
    return log, log.stat().st_size


def _cut(scene: Scene, log: Path, size: int) -> None:
    cut = log.stat().st_size - size
    scene.note(f"{cut} bytes were cut from the end of Redis' log.")
    scene.require(cut > 0, "the log had no tail to cut")
    with log.open("r+b") as file:
        file.truncate(size)


ROWS = (
    Row(
        name="redis-stopped",
        expects="Bids get 503 until it is back. Nothing accepted is lost.",
        fault=_stopped,
        may_fail=REDIS_AWAY,
    ),
    Row(
        name="redis-killed",
        expects=f"As above; a bid in flight may be answered outcome_unknown. {KILLED}.",
        fault=_killed,
        may_fail=REDIS_AWAY,
        may_lose=True,
        forgets_s=EVERYSEC_S,
    ),
    Row(
        name="redis-tail-cut",
        expects="Redis forgets its last 5 s. What the stream holds is put back before bids are "
        "taken again; only an event of the last instant that was not relayed yet may be lost.",
        fault=_tail_cut,
        may_fail=REDIS_AWAY,
        may_lose=True,
        forgets_s=RELAYED_WITHIN_S,
    ),
    Row(
        name="redis-tail-cut-without-nats",
        expects="The same with NATS away for longer than RECOVERY_WAIT_S: Redis opens with an "
        "alarm; bids whose seq was given before become dead letters, and the audit ends with 1 and "
        "names what is lost.",
        fault=_tail_cut_without_nats,
        may_fail=REDIS_AWAY,
        may_lose=True,
        forgets_s=RELAYED_WITHIN_S,
    ),
    Row(
        name="redis-unrelayed-tail-cut",
        expects="The same, but NATS was away before, so nobody else knew what Redis forgot: those "
        "bids are lost, the alarm bid_forgotten_bids_total is raised, and the audit names each.",
        fault=_unrelayed_tail_cut,
        may_fail=REDIS_AWAY,
        may_lose=True,
        forgets_s=EVERYSEC_S,
        must_lose=True,
    ),
    Row(
        name="redis-flushed-and-restored",
        expects="Bids get 503 redis_recovering until restore has rebuilt Redis from the archive "
        "and the stream; only an event of the last instant that was not relayed yet may be lost.",
        fault=_flushed,
        may_fail=REDIS_AWAY,
        may_lose=True,
        forgets_s=RELAYED_WITHIN_S,
    ),
    Row(
        name="redis-at-maxmemory",
        expects="Bids get 503 while there is no room. Nothing accepted is lost.",
        fault=_at_maxmemory,
        may_fail=REDIS_AWAY,
    ),
)
