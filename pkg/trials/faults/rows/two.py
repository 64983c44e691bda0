"""Two faults at once."""

import asyncio

from pkg.trials.faults.row import REDIS_AWAY, Row
from pkg.trials.faults.scene import Scene


async def _nats_and_postgres(scene: Scene) -> None:
    nats, postgres = scene.stores.nats, scene.stores.postgres
    await asyncio.gather(nats.stop(), postgres.stop())
    await scene.hold(15, short_s=4)
    await asyncio.gather(nats.start(), postgres.start())


async def _redis_and_relay(scene: Scene) -> None:
    relay = await scene.services.relaying()
    await asyncio.gather(scene.stores.redis.kill(), relay.process.kill())
    await scene.hold(5, short_s=1)
    await scene.stores.redis.start()
    scene.over()
    await relay.restart()


ROWS = (
    Row(
        name="nats-and-postgres-stopped",
        expects="Bids go on. Viewers are told by snapshots; the archive catches up.",
        fault=_nats_and_postgres,
    ),
    Row(
        name="redis-and-relay-killed",
        expects="Bids get 503 until Redis is back and another gateway has taken the lease.",
        fault=_redis_and_relay,
        may_fail=REDIS_AWAY | {"no connection"},
    ),
)
