"""Two Redis histories on one NATS and one archive, and the move that keeps it at one."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

from redis.asyncio import Redis

from pkg.auction.keys import RELAY_LEASE
from pkg.trials.crowd.bidders import ITEMS
from pkg.trials.faults.row import Row
from pkg.trials.faults.rows.redis import RESTORE_WITHIN_S
from pkg.trials.faults.second import Second
from pkg.trials.faults.services import Replica, Services
from pkg.trials.faults.trial import Trial
from pkg.trials.waiting import until

SUPERSEDED_WITHIN_S = 5.0
"""Longest time that a Redis may accept bids after another one was opened in its place."""
MOVED_WITHIN_S = 5.0
"""Longest time for which a move of Redis may refuse bids."""
_OTHER_ITEMS = tuple(f"chair-{number:02d}" for number in range(20))
"""In the same partitions as ITEMS."""
_EARLY = {"START_GRACE_S": "1"}
"""A gateway that never gets ready accepts connections after that."""
_SHORT = {"DRAIN_S": "0.5"}
_REFUSALS = frozenset({"redis_unavailable", "redis_recovering"})
_HANDED_OVER = "outboxes were handed to the archive"


def _processes(trial: Trial) -> tuple[Second, Services]:
    if trial.second is None or not isinstance(trial.services, Services):
        raise TypeError("this row is for processes")
    return trial.second, trial.services


def _split(
    items: tuple[str, ...], heal: Callable[[Trial, Replica], Awaitable[None]]
) -> Callable[[Trial], Awaitable[None]]:
    async def fault(trial: Trial) -> None:
        """A replica is promoted and a gateway started on it; the old primary serves on."""
        second, services = _processes(trial)
        await second.follow()
        async with second.client() as redis:
            await redis.replicaof("NO", "ONE")
        gateway = second.gateway()
        gateway.process.start()
        await until(second.opened, within_s=20, what="the new primary opens")
        opened_at = time.monotonic()
        await gateway.becomes_ready()
        async with trial.second_load(second.port, items=items) as load:
            await until(
                lambda: trial.ledger.failed["redis_superseded"],
                within_s=15,
                what="the old primary refuses bids",
            )
            await trial.hold(10, short_s=2)
            alone_s = max(0.0, trial.ledger.last_accepted_at - opened_at)
            alarm = await services.metric_total("bid_redis_superseded")
            await until(
                lambda: any(one.process.log_contains(_HANDED_OVER) for one in services.api),
                within_s=15,
                what="the old primary's outboxes are handed to the archive",
            )
        trial.note(
            f"The old primary accepted bids for {alone_s:.1f} s after the new one was opened."
        )
        trial.require(
            alone_s <= SUPERSEDED_WITHIN_S,
            f"the old primary accepted bids for {alone_s:.1f} s beside the new one",
        )
        trial.require(alarm, "the alarm bid_redis_superseded was not raised")
        trial.require(load.accepted, "the new primary accepted nothing")
        trial.require(not load.failed, f"the new primary refused bids: {dict(load.failed)}")
        await heal(trial, gateway)
        _require_no_traceback(trial, gateway)

    return fault


def _require_no_traceback(trial: Trial, gateway: Replica) -> None:
    """The verdict looks only at the system's own services."""
    logged = gateway.process.log_contains("Traceback (most recent call last)")
    trial.require(not logged, f"{gateway.name} logged a traceback")


async def _demote_old(trial: Trial, gateway: Replica) -> None:
    second, services = _processes(trial)
    await second.lead()
    second.take_over()
    for pair in zip(services.api, services.broadcast, strict=True):
        await asyncio.gather(*(one.replace() for one in pair))
    await gateway.stop()


async def _demote_new(trial: Trial, gateway: Replica) -> None:
    """What the new primary accepted is in the archive; the emptied old one gets it from there."""
    second, services = _processes(trial)
    async with second.client() as redis:

        async def drained() -> bool:
            return not await _outbox_entries(redis)

        await until(drained, within_s=15, what="the new primary's outboxes drain")
        await gateway.stop()
    async with second.first_client() as redis:
        await redis.flushall()
        await second.demote()
    code, stdout, stderr = await services.command(
        "restore", "--yes", environment=trial.environment, within_s=RESTORE_WITHIN_S
    )
    trial.require(
        code == 0, f"restore ended with {code}: {stdout[-300:].strip()} {stderr[-300:].strip()}"
    )


async def _outbox_entries(redis: Redis) -> int:
    return sum([await redis.xlen(key) async for key in redis.scan_iter("{p*}:outbox")])


async def _second_environment(trial: Trial, *, used: bool) -> None:
    """A gateway on another Redis is started with this NATS; `used`: with bids of its own."""
    second, _ = _processes(trial)
    gateway = second.gateway()
    if used:
        await second.live_alone()
        async with trial.second_load(second.port, elsewhere=True) as load:
            await trial.hold(3, short_s=1)
        trial.require(load.accepted, "the second environment never worked alone")
        await gateway.stop()
        second.join()
    else:
        await second.redis.start()
    gateway.process.start()
    await until(gateway.alive, within_s=15, what="the second environment's gateway starts")
    began = time.monotonic()
    async with trial.second_load(second.port, elsewhere=True) as load:
        await trial.hold(10, short_s=3)
    await gateway.stop()
    refusals = ", ".join(f"{count} {code}" for code, count in sorted(load.failed.items()))
    trial.note(f"The second environment accepted {len(load.accepted)} bids and refused {refusals}.")
    _require_no_traceback(trial, gateway)
    trial.require(load.failed["other_system" if used else "redis_recovering"], "it refused nothing")
    async with second.client() as redis:
        waiting = await _outbox_entries(redis)
    trial.require(
        waiting >= len(load.accepted),
        f"of {len(load.accepted)} bids that it accepted, {waiting} wait for its own NATS",
    )
    trial.require(used or not load.accepted, "an empty Redis accepted bids beside another's stream")
    trial.require(
        load.last_accepted_at <= began + SUPERSEDED_WITHIN_S,
        f"the second environment accepted bids for over {SUPERSEDED_WITHIN_S:g} s",
    )


async def _moved(trial: Trial) -> None:
    """The steps of "Move Redis" in docs/operations.md."""
    second, services = _processes(trial)
    await second.follow()
    second.take_over()
    first, *others = services.api
    await first.stop()
    first.process.start()
    await until(first.alive, within_s=15, what="the first gateway has started on the new Redis")
    trial.fault_begins()
    accepted = trial.ledger.last_accepted_at
    async with second.first_client() as redis:
        await redis.execute_command("FAILOVER", "TIMEOUT", "5000")  # type: ignore[no-untyped-call]
    async with second.client() as redis:

        async def promoted() -> bool:
            return bool((await redis.info("replication"))["role"] == "master")

        await until(promoted, within_s=10, what="the new Redis is the primary")
        await redis.delete(RELAY_LEASE)
    trial.fault_ends()
    for replica in others:
        await replica.replace()
    await first.becomes_ready()
    for replica in services.broadcast:
        await replica.replace()
    await second.end_first()
    first_after = trial.ledger.first_accepted_after(trial.ended_at or 0.0)
    trial.require(first_after, "no bid was accepted on the new Redis")
    refused_s = (first_after or accepted) - accepted
    trial.note(f"No bid was accepted for {refused_s:.1f} s.")
    trial.require(refused_s <= MOVED_WITHIN_S, f"no bid was accepted for {refused_s:.1f} s")


_HEALS = {"old": _demote_old, "new": _demote_new}
_HEALED = {
    "old": "The old primary then follows the new one, and all services are led to that.",
    "new": "The new one then follows the old one, which is emptied and restored.",
}
_LOADS = {"same": ITEMS, "other": _OTHER_ITEMS}
_SPLIT = (
    "A replica of Redis is promoted while the old primary still serves two gateways; bidders of "
    "both bid on {} items. The old one refuses bids with redis_superseded within 5 s; what it "
    "accepted alone is kept apart, and the audit names it; a bid in flight when its connection is "
    "closed may get outcome_unknown. {}"
)

ROWS = (
    *(
        Row(
            name=f"two-primaries-{which}-items-{side}-demoted",
            expects=_SPLIT.format("the same" if which == "same" else "different", _HEALED[side]),
            fault=_split(items, _HEALS[side]),
            short_settings=_SHORT,
            may_fail=_REFUSALS | {"redis_superseded", "outcome_unknown"},
            may_keep_apart=True,
            must_keep_apart=True,
        )
        for which, items in _LOADS.items()
        for side in ("old", "new")
    ),
    Row(
        name="second-environment",
        expects="A gateway with an empty Redis of its own is started on this NATS by mistake: it "
        "refuses every bid. No effect on this environment.",
        fault=partial(_second_environment, used=False),
        settings=_EARLY,
    ),
    Row(
        name="second-environment-with-bids",
        expects="The same with a Redis that holds bids of its own environment: it refuses bids "
        "with other_system within 5 s; what it accepted waits for its own NATS. No effect on this "
        "environment.",
        fault=partial(_second_environment, used=True),
        settings=_EARLY,
    ),
    Row(
        name="redis-moved",
        expects="Redis moves to another server by the steps in docs/operations.md. Bids get 503 "
        "for 5 s at most; one that the old server holds back until its connection is closed may "
        "get outcome_unknown. None is lost.",
        fault=_moved,
        short_settings=_SHORT,
        may_fail=_REFUSALS | {"outcome_unknown"},
    ),
)
