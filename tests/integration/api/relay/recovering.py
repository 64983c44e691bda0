"""What tests of recovery share."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp
import pytest
from redis.asyncio import Redis

from pkg.api.errors import RedisRecovering
from pkg.api.relay.event_stream import EventStream
from pkg.api.relay.recovery import Recovery
from pkg.api.relay.recovery_counts import RecoveryCounts
from pkg.auction.events import ArchiveState, encode_batch
from pkg.auction.item import partition_names, partition_of
from pkg.auction.keys import meta_key, outbox_key
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.runtime.nats_link import NatsLink
from pkg.stores.opening import require_open
from pkg.stores.redis_meta import RUN_ID, NotOpenError
from tests.integration.api.parts import PARTITIONS, outbox_entries
from tests.integration.processes import Service

P = partition_of("vase", PARTITIONS)
ANOTHER = "another-server:0000"
NOBODY: Mapping[str, OutboxId] = {}
EMPTY = ArchiveState(empty=True)
"""What an archive says that has never archived anything."""


@dataclass
class Rig:
    redis: Redis
    stream: EventStream
    nats: NatsLink
    counts: RecoveryCounts = field(default_factory=RecoveryCounts)

    def recovery(self, *, wait_s: float = 60.0, hearing_s: float = 0.0) -> Recovery:
        return Recovery(
            self.redis,
            self.nats,
            self.stream,
            names=partition_names(PARTITIONS),
            partitions=PARTITIONS,
            wait_s=wait_s,
            hearing_s=hearing_s,
            counts=self.counts,
        )

    async def is_open(self) -> bool:
        try:
            await require_open(self.redis, partition_names(PARTITIONS))
        except NotOpenError:
            return False
        return True

    async def was_another_server(self) -> None:
        for name in partition_names(PARTITIONS):
            await self.redis.hset(meta_key(name), RUN_ID, ANOTHER)

    async def publish(self, prev: OutboxId, last: OutboxId, *events: bytes) -> None:
        await self.stream.prepare()
        sequence, *_ = await self.stream.tail(P)
        batch = encode_batch(P, prev=prev, last=last, events=events)
        await self.stream.publish(P, batch, expected=sequence)

    async def publish_outbox(self) -> OutboxId:
        """Publishes the whole outbox as the relay would; returns its last id."""
        entries = await outbox_entries(self.redis, P)
        last = OutboxId.parse(entries[-1][0])
        await self.publish(BEGINNING, last, *(event for _, event in entries))
        return last

    async def next_id(self) -> OutboxId:
        """The id that the partition's next entry gets."""
        return OutboxId.parse(await self.redis.xadd(outbox_key(P), {"e": ""}))


async def refused(
    rig: Rig,
    recovery: Recovery,
    archived: Mapping[str, OutboxId],
    archive: ArchiveState | None = None,
) -> None:
    """Asserts that restore is required and Redis stays closed."""
    with pytest.raises(RedisRecovering):
        await recovery.ensure_open(archived, archive=archive)
    assert rig.counts.waiting_for_restore
    assert rig.counts.recoveries == 0
    assert not await rig.is_open()


async def ask(
    client: aiohttp.ClientSession, cents: int | None = None
) -> tuple[int, dict[str, object]]:
    """Places a bid, or reads the item if no amount is given."""
    path = "/api/v1/items/vase"
    if cents is None:
        async with client.get(path) as answer:
            return answer.status, await answer.json()
    body = b'{"user_id":"ann","amount":%d.%02d}' % (cents // 100, cents % 100)
    async with client.post(f"{path}/bid", data=body) as answer:
        return answer.status, await answer.json()


async def metric(api: Service, name: str) -> float:
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"{api.replicas[0].admin_url}/metrics") as page,
    ):
        lines = (await page.text()).splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))
