"""Faults of containers: every store and service killed, frozen and cut off, and volumes wiped."""

from collections.abc import Awaitable, Callable

from pkg.devkit.names import API, ARCHIVAL, BROADCAST, NATS, POSTGRES, REDIS
from pkg.trials.faults.containers.container import Container
from pkg.trials.faults.row import REDIS_AWAY, UNKNOWN, Row
from pkg.trials.faults.rows.controls import entry_removed
from pkg.trials.faults.rows.redis import EVERYSEC_S, KILLED, RELAYED_WITHIN_S
from pkg.trials.faults.scene import Scene

RESTORE_WITHIN_S = 90.0
_REDIS_COSTS = REDIS_AWAY | {"no_gateway"}
"""Without Redis no gateway is ready, and the edge answers so."""


async def _victim(scene: Scene, name: str) -> Container:
    """One of the replicas. Of the gateways, the one that relays: it has most to lose."""
    if name == API:
        relaying = (await scene.services.relaying()).name
        return next(one for one in scene.containers[API] if one.name == relaying)
    return scene.containers[name][0]


def _killed(name: str) -> Callable[[Scene], Awaitable[None]]:
    async def fault(scene: Scene) -> None:
        victim = await _victim(scene, name)
        scene.strike()
        await victim.kill()
        await scene.hold(2, short_s=1)
        await victim.begin()
        scene.over()
        await victim.becomes_healthy()

    return fault


def _paused(name: str) -> Callable[[Scene], Awaitable[None]]:
    async def fault(scene: Scene) -> None:
        victim = await _victim(scene, name)
        await victim.pause()
        await scene.hold(10, short_s=3)
        await victim.resume()

    return fault


def _disconnected(name: str) -> Callable[[Scene], Awaitable[None]]:
    async def fault(scene: Scene) -> None:
        victim = await _victim(scene, name)
        await victim.disconnect()
        await scene.hold(10, short_s=3)
        await victim.connect()

    return fault


async def _nats_away(scene: Scene) -> None:
    (nats,) = scene.containers[NATS]
    await nats.stop()
    await scene.hold(150, short_s=15)
    waited = await scene.outbox_entries()
    scene.note(f"{waited} events waited in the outboxes.")
    scene.require(waited, "no event waited while NATS was away")
    await nats.begin()
    scene.over()
    await nats.becomes_healthy()


async def _nats_wiped(scene: Scene) -> None:
    """The archiver sleeps first, so that the stream holds bids that the archive lacks."""
    (archiver,) = scene.containers[ARCHIVAL]
    (nats,) = scene.containers[NATS]
    await archiver.pause()
    await scene.hold(3, short_s=1)
    await nats.stop()
    await nats.discard()
    await archiver.resume()
    await scene.hold(10, short_s=2)
    await nats.begin()
    scene.over()
    await nats.becomes_healthy()


async def _redis_wiped(scene: Scene) -> None:
    (redis,) = scene.containers[REDIS]
    scene.strike()
    await redis.kill()
    await redis.discard()
    await redis.begin()
    scene.over()
    await redis.becomes_healthy()
    await scene.hold(3, short_s=1)
    code, said, complained = await scene.services.command(
        "restore", "--yes", environment=scene.environment, within_s=RESTORE_WITHIN_S
    )
    scene.require(
        code == 0, f"restore ended with {code}: {said[-300:].strip()} {complained[-300:].strip()}"
    )


_EXPECTED = {
    REDIS: (
        f"Bids get 503 until it is back. {KILLED}.",
        "Bids get 503 or no certain answer; all of them are accounted for when it goes on.",
        "As if it were paused, but every connection is lost, and its address may be another.",
        _REDIS_COSTS,
    ),
    NATS: (
        "Bids go on. Viewers are told by snapshots meanwhile; the archive catches up.",
        "The same: nobody waits for it.",
        "The same, and services find it again by its name.",
        frozenset[str](),
    ),
    POSTGRES: (
        "Nobody notices. The archive catches up.",
        "Nobody notices. The archive catches up.",
        "Nobody notices. The archive catches up.",
        frozenset[str](),
    ),
    API: (
        (
            "The gateway that relays. Bids in its hands are of unknown outcome; the other serves "
            "on, and relays within the lease's 3 s."
        ),
        "Bids in its hands are answered late or not at all; the edge sends the rest to the other.",
        "Bids in its hands are of unknown outcome, or get 503 while it looks for Redis again.",
        frozenset({UNKNOWN}),
    ),
    BROADCAST: (
        "Its viewers come back to the other one, are greeted with the state, and go on in order.",
        "Viewers with a heartbeat of their own go to the other one.",
        "Viewers with a heartbeat of their own go to the other one.",
        frozenset[str](),
    ),
    ARCHIVAL: (
        "Nobody notices. What it held comes again after the ack wait.",
        "Nobody notices. The archive catches up.",
        "Nobody notices. What it held comes again after the ack wait.",
        frozenset[str](),
    ),
}


def _hit(name: str) -> tuple[Row, ...]:
    when_killed, when_paused, when_cut_off, costs = _EXPECTED[name]
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
            expects=when_cut_off,
            fault=_disconnected(name),
            may_fail=costs | ({"redis_unavailable"} if name == API else set()),
        ),
    )


ROWS: tuple[Row, ...] = (
    *_hit(REDIS),
    *_hit(NATS),
    *_hit(POSTGRES),
    *_hit(API),
    *_hit(BROADCAST),
    *_hit(ARCHIVAL),
    Row(
        name="nats-container-away-long",
        expects="Bids go on for 150 s: events wait in the outbox.",
        fault=_nats_away,
    ),
    Row(
        name="nats-volume-wiped",
        expects="Bids go on. The stream is made again, and filled with all that the archive lacks.",
        fault=_nats_wiped,
    ),
    Row(
        name="redis-volume-wiped-and-restored",
        expects="Bids get 503 until restore has rebuilt Redis from the archive and the stream; "
        "only an event of the last instant that was not relayed yet may be lost.",
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
