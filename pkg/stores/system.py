"""The system that stores belong to: a random id, kept in Redis, in the stream and in PostgreSQL.

It is made once, when a new Redis opens for the first time, so that stores of two systems are not
taken for one. Redis has it first: HSETNX on the first partition decides if two processes make one
at once. A process that dies before the stream has it too leaves a Redis with an id and without
bids, and the next one goes on with that id.
"""

import secrets
from collections.abc import Sequence

from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg, StreamConfig
from nats.js.errors import NotFoundError
from redis.asyncio import Redis

from pkg.auction.events import UndecodableError, decode_batch
from pkg.auction.keys import meta_key
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.auction.subjects import STREAM
from pkg.stores.redis_meta import SYSTEM

IN_METADATA = "bidding-system"
"""Key of the id in the stream's metadata."""
MOST_OPENINGS = 1_000
"""More messages than that are not read to find out whether one of them holds a bid."""


def new_system() -> str:
    return secrets.token_hex(8)


def system_of(config: StreamConfig) -> str | None:
    """The system that the stream belongs to."""
    return (config.metadata or {}).get(IN_METADATA)


async def adopt_system(redis: Redis, partitions: Sequence[str], system: str) -> str:
    """Records the id, unless there is one. Returns the one that Redis belongs to from now on.

    Raises redis.exceptions.RedisError.
    """
    first, *others = partitions
    if await redis.hsetnx(meta_key(first), SYSTEM, system):
        agreed = system
    else:
        agreed = as_text(await redis.hget(meta_key(first), SYSTEM)) or system
    for partition in others:
        await redis.hset(meta_key(partition), SYSTEM, agreed)
    return agreed


async def system_of_redis(redis: Redis, partitions: Sequence[str]) -> str | None:
    return as_text(await redis.hget(meta_key(partitions[0]), SYSTEM))


async def system_of_stream(jetstream: JetStreamContext) -> str | None:
    """Raises nats.errors.Error."""
    try:
        return system_of((await jetstream.stream_info(STREAM)).config)
    except NotFoundError:
        return None


async def name_stream(jetstream: JetStreamContext, system: str) -> None:
    """Records the id in the stream's metadata, unless there is one.

    Raises nats.errors.Error.
    """
    found = (await jetstream.stream_info(STREAM)).config
    if system_of(found) is None:
        metadata = {**(found.metadata or {}), IN_METADATA: system}
        await jetstream.update_stream(found.evolve(metadata=metadata))


async def never_held_a_bid(jetstream: JetStreamContext) -> bool:
    """Whether nothing was ever stored in the stream but openings of epochs. A stream from which
    something was removed may have held bids.

    Raises nats.errors.Error, OSError, TimeoutError.
    """
    try:
        state = (await jetstream.stream_info(STREAM)).state
    except NotFoundError:
        return True
    if state.messages != state.last_seq or state.messages > MOST_OPENINGS:
        return False
    for sequence in range(1, state.last_seq + 1):
        if not _is_opening(await jetstream.get_msg(STREAM, sequence)):
            return False
    return True


def _is_opening(message: RawStreamMsg) -> bool:
    try:
        batch = decode_batch(message.data or b"")
    except UndecodableError:
        return False
    return not batch.events and OutboxId.parse(batch.last) == BEGINNING


def as_text(value: bytes | str | None) -> str | None:
    return value.decode() if isinstance(value, bytes) else value
