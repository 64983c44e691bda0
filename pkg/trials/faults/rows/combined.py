"""Two faults at once."""

import asyncio

from pkg.trials.faults.row import REDIS_AWAY, Row
from pkg.trials.faults.trial import Trial


async def _nats_and_postgres(trial: Trial) -> None:
    nats, postgres = trial.stores.nats, trial.stores.postgres
    await asyncio.gather(nats.stop(), postgres.stop())
    await trial.hold(15, short_s=4)
    await asyncio.gather(nats.start(), postgres.start())


async def _redis_and_relay(trial: Trial) -> None:
    relay = await trial.services.relaying_gateway()
    await asyncio.gather(trial.stores.redis.kill(), relay.process.kill())
    await trial.hold(5, short_s=1)
    await trial.stores.redis.start()
    trial.fault_ends()
    await relay.restart()


ROWS = (
    Row(
        name="nats-and-postgres-stopped",
        expects="Bidding continues. Viewers get snapshots; the archive catches up.",
        fault=_nats_and_postgres,
    ),
    Row(
        name="redis-and-relay-killed",
        expects="Bids get 503 until Redis is back and another gateway has taken the lease.",
        fault=_redis_and_relay,
        may_fail=REDIS_AWAY | {"no connection"},
    ),
)
