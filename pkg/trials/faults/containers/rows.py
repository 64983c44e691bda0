"""Faults of containers: every store and service killed, paused and disconnected; volumes wiped."""

from collections.abc import Awaitable, Callable

from pkg.devkit.names import API, ARCHIVAL, BROADCAST, NATS, POSTGRES, REDIS
from pkg.trials.faults.containers.container import Container
from pkg.trials.faults.row import REDIS_AWAY, UNKNOWN, Row
from pkg.trials.faults.rows.controls import entry_removed
from pkg.trials.faults.rows.redis import EVERYSEC_S, KILLED, RELAYED_WITHIN_S
from pkg.trials.faults.trial import Trial

RESTORE_WITHIN_S = 90.0
_REDIS_COSTS = REDIS_AWAY | {"no_gateway"}
"""Without Redis no gateway is ready, so the edge answers `no_gateway`."""


async def _victim(trial: Trial, name: str) -> Container:
    """One replica of the service. Of the gateways, the one that relays."""
    if name == API:
        relaying = (await trial.services.relaying_gateway()).name
        return next(one for one in trial.containers[API] if one.name == relaying)
    return trial.containers[name][0]


def _killed(name: str) -> Callable[[Trial], Awaitable[None]]:
    async def fault(trial: Trial) -> None:
        victim = await _victim(trial, name)
        trial.fault_begins()
        await victim.kill()
        await trial.hold(2, short_s=1)
        await victim.begin()
        trial.fault_ends()
        await victim.becomes_healthy()

    return fault


def _paused(name: str) -> Callable[[Trial], Awaitable[None]]:
    async def fault(trial: Trial) -> None:
        victim = await _victim(trial, name)
        await victim.pause()
        await trial.hold(10, short_s=3)
        await victim.resume()

    return fault


def _disconnected(name: str) -> Callable[[Trial], Awaitable[None]]:
    async def fault(trial: Trial) -> None:
        victim = await _victim(trial, name)
        await victim.disconnect()
        await trial.hold(10, short_s=3)
        await victim.connect()

    return fault


async def _nats_stopped_long(trial: Trial) -> None:
    (nats,) = trial.containers[NATS]
    await nats.stop()
    await trial.hold(150, short_s=15)
    waited = await trial.outbox_entries()
    trial.note(f"{waited} events waited in the outboxes.")
    trial.require(waited, "no event waited while NATS was away")
    await nats.begin()
    trial.fault_ends()
    await nats.becomes_healthy()


async def _nats_wiped(trial: Trial) -> None:
    """The archiver is paused first, so that the stream holds bids that the archive lacks."""
    (archiver,) = trial.containers[ARCHIVAL]
    (nats,) = trial.containers[NATS]
    await archiver.pause()
    await trial.hold(3, short_s=1)
    await nats.stop()
    await nats.discard()
    await archiver.resume()
    await trial.hold(10, short_s=2)
    await nats.begin()
    trial.fault_ends()
    await nats.becomes_healthy()


async def _redis_wiped(trial: Trial) -> None:
    (redis,) = trial.containers[REDIS]
    trial.fault_begins()
    await redis.kill()
    await redis.discard()
    await redis.begin()
    trial.fault_ends()
    await redis.becomes_healthy()
    await trial.hold(3, short_s=1)
    code, stdout, stderr = await trial.services.command(
        "restore", "--yes", environment=trial.environment, within_s=RESTORE_WITHIN_S
    )
    trial.require(
        code == 0, f"restore ended with {code}: {stdout[-300:].strip()} {stderr[-300:].strip()}"
    )


_EXPECTED = {
    REDIS: (
        f"Bids get 503 until Redis is back. {KILLED}.",
        "Bids get 503 or an unknown outcome; all are accounted for once Redis resumes.",
        "As when paused, but connections are lost and Redis' address may change.",
        _REDIS_COSTS,
    ),
    NATS: (
        "Bidding continues. Viewers get snapshots meanwhile; the archive catches up.",
        "The same: nothing waits for NATS.",
        "The same; services find NATS again by name.",
        frozenset[str](),
    ),
    POSTGRES: (
        "No visible effect. The archive catches up.",
        "No visible effect. The archive catches up.",
        "No visible effect. The archive catches up.",
        frozenset[str](),
    ),
    API: (
        (
            "Hits the relaying gateway. The outcome of its bids in flight is unknown; the other "
            "one keeps serving, and relays within the lease's 3 s."
        ),
        "Its bids in flight are answered late or never; the edge sends new ones to the other one.",
        "The outcome of its bids in flight is unknown, or they get 503 until it finds Redis again.",
        frozenset({UNKNOWN}),
    ),
    BROADCAST: (
        "Its viewers reconnect to the other broadcaster, get the state, then every event in order.",
        "Viewers that send pings reconnect to the other broadcaster.",
        "Viewers that send pings reconnect to the other broadcaster.",
        frozenset[str](),
    ),
    ARCHIVAL: (
        "No visible effect. NATS redelivers its messages after the ack wait.",
        "No visible effect. The archive catches up.",
        "No visible effect. NATS redelivers its messages after the ack wait.",
        frozenset[str](),
    ),
}


def _rows_of(name: str) -> tuple[Row, ...]:
    when_killed, when_paused, when_disconnected, costs = _EXPECTED[name]
    return (
        Row(
            name=f"{name}-container-killed",
            expects=when_killed,
            fault=_killed(name),
            may_fail=costs,
            may_lose=name == REDIS,
            forgets_s=EVERYSEC_S if name == REDIS else None,
        ),
        Row(
            name=f"{name}-container-paused",
            expects=when_paused,
            fault=_paused(name),
            may_fail=costs,
        ),
        Row(
            name=f"{name}-container-disconnected",
            expects=when_disconnected,
            fault=_disconnected(name),
            may_fail=costs | ({"redis_unavailable"} if name == API else set()),
        ),
    )


ROWS: tuple[Row, ...] = (
    *_rows_of(REDIS),
    *_rows_of(NATS),
    *_rows_of(POSTGRES),
    *_rows_of(API),
    *_rows_of(BROADCAST),
    *_rows_of(ARCHIVAL),
    Row(
        name="nats-container-away-long",
        expects="Bidding continues for 150 s: events wait in the outboxes.",
        fault=_nats_stopped_long,
    ),
    Row(
        name="nats-volume-wiped",
        expects="Bidding continues. The relay recreates the stream and republishes what the "
        "archive lacks.",
        fault=_nats_wiped,
    ),
    Row(
        name="redis-volume-wiped-and-restored",
        expects="Bids get 503 until restore has rebuilt Redis from the archive and the stream; "
        "only the last events, not relayed yet, may be lost.",
        fault=_redis_wiped,
        may_fail=_REDIS_COSTS,
        may_lose=True,
        forgets_s=RELAYED_WITHIN_S,
    ),
)
CONTROLS: tuple[Row, ...] = (
    Row(
        name="control-container-entry-removed",
        expects="A control, which has to fail: an event not relayed yet leaves the outbox.",
        fault=entry_removed,
        control=True,
    ),
)
