"""Shows how far the archive has got."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import nats
from nats.aio.client import Client
from nats.js.api import ConsumerInfo
from nats.js.errors import NotFoundError

from pkg.archival.store import Connection
from pkg.auction.subjects import ARCHIVE_CONSUMER, STREAM


@asynccontextmanager
async def connected(nats_url: str) -> AsyncIterator[Client]:
    client = await nats.connect(nats_url)
    try:
        yield client
    finally:
        await client.close()


async def consumer(nats_url: str) -> ConsumerInfo:
    async with connected(nats_url) as client:
        info: ConsumerInfo = await client.jetstream().consumer_info(STREAM, ARCHIVE_CONSUMER)
        return info


async def everything_acknowledged(nats_url: str) -> bool:
    try:
        info = await consumer(nats_url)
    except NotFoundError:
        return False
    return (info.num_pending, info.num_ack_pending) == (0, 0)


async def holds(archive: Connection, count: int) -> bool:
    try:
        return bool(await archive.fetchval("SELECT count(*) = $1 FROM bids", count))
    except asyncpg.UndefinedTableError:
        return False
