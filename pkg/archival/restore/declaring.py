"""``restore --empty``: declares an empty Redis new, if nothing is left to bring back."""

import ssl
from dataclasses import dataclass

import asyncpg
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError
from redis.asyncio import Redis

from pkg.archival.restore.archive_side import snapshot
from pkg.archival.restore.rebuilding import RestartedError, begin_epoch, open_all
from pkg.archival.restore.redis_side import RedisSide, RedisState
from pkg.archival.restore.systems import Systems, read_systems
from pkg.auction.outbox import BEGINNING
from pkg.auction.subjects import STREAM
from pkg.stores.putting_back import PuttingBack
from pkg.stores.redis_meta import server_run_id
from pkg.stores.stream_tail import batches_after
from pkg.stores.system import adopt_system, new_system

_RESTORE_INSTEAD = "run restore without --empty to bring them back."


@dataclass(frozen=True, slots=True)
class Emptiness:
    """What the stores hold."""

    redis: RedisState
    systems: Systems
    archive_empty: bool
    stream_empty: bool
    removed: int
    """Messages that are no longer in the stream."""

    @property
    def refusal(self) -> str | None:
        """Why Redis must not be declared new; None if it may be."""
        if self.systems.refusal:
            return self.systems.refusal
        if not self.redis.empty:
            return "Redis is not empty: it holds items. Nothing was written."
        if not self.archive_empty:
            return f"The archive holds bids: {_RESTORE_INSTEAD}"
        if not self.stream_empty:
            return f"JetStream holds bids: {_RESTORE_INSTEAD}"
        return None

    @property
    def text(self) -> str:
        removed = (
            f" {self.removed} messages were removed from JetStream; bids in them are lost."
            if self.removed
            else ""
        )
        return f"Redis, the archive and JetStream hold no bid.{removed}"


async def look(
    redis: Redis,
    side: RedisSide,
    postgres_url: str,
    jetstream: JetStreamContext,
    *,
    tls: ssl.SSLContext | None = None,
) -> Emptiness:
    """Only reads.

    Raises redis.exceptions.RedisError, asyncpg.PostgresError, nats.errors.Error, OSError.
    """
    try:
        async with snapshot(postgres_url, tls=tls) as archive:
            systems = await read_systems(redis, side.names, archive, jetstream)
            archive_empty = await archive.is_empty()
    except asyncpg.UndefinedTableError:  # no archival-worker has ever run
        systems = await read_systems(redis, side.names, None, jetstream)
        archive_empty = True
    return Emptiness(
        redis=await side.state(),
        systems=systems,
        archive_empty=archive_empty,
        stream_empty=not any([await _holds_a_bid(jetstream, name) for name in side.names]),
        removed=await _removed(jetstream),
    )


async def declare_new(
    redis: Redis, side: RedisSide, jetstream: JetStreamContext, found: Emptiness
) -> None:
    """Opens the empty Redis, as the system that the other stores name or as a new one.

    Raises redis.exceptions.RedisError, nats.errors.Error, OSError, RestartedError.
    """
    await adopt_system(redis, side.names, found.systems.agreed or new_system())
    for name in side.names:
        end = await begin_epoch(redis, jetstream, name, highest=BEGINNING)
        await PuttingBack(redis).move_outbox(name, end)
    if await server_run_id(redis) != found.redis.run_id:
        raise RestartedError("Redis restarted meanwhile: run it again.")
    await open_all(redis, side, found.redis.run_id)


async def _holds_a_bid(jetstream: JetStreamContext, partition: str) -> bool:
    async for batch in batches_after(jetstream, partition, BEGINNING):
        if batch.events:
            return True
    return False


async def _removed(jetstream: JetStreamContext) -> int:
    try:
        state = (await jetstream.stream_info(STREAM)).state
    except NotFoundError:
        return 0
    return state.last_seq - state.messages
