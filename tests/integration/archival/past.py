"""Makes the past of an auction: its batches, and the state of Redis that they led to."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from redis.asyncio import Redis

from pkg.archival.commit import commit
from pkg.archival.intake import Portion
from pkg.archival.store import Connection
from pkg.auction.events import decode_event
from pkg.auction.item import partition_names, partition_of
from pkg.auction.keys import item_key
from pkg.auction.subjects import events_subject
from tests.integration.archival.auction import PARTITIONS, Batch, Chain, Event, Item

State = dict[str, dict[bytes, bytes]]


@dataclass(slots=True)
class Past:
    """`bid` accepts bids and returns their batches, for the test to publish, archive or drop."""

    items: dict[str, Item] = field(default_factory=dict)
    state: State = field(default_factory=dict)
    chains: dict[str, Chain] = field(
        default_factory=lambda: {name: Chain(name) for name in partition_names(PARTITIONS)}
    )

    def bid(self, item_ids: Iterable[str], *, bids: int) -> list[Batch]:
        events: dict[str, list[Event]] = {}
        for item_id in item_ids:
            item = self.items.setdefault(item_id, Item(item_id))
            accepted = item.bids(bids)
            events.setdefault(partition_of(item_id, PARTITIONS), []).extend(accepted)
            self._remember(accepted)
        return [self.chains[name].batch(each) for name, each in sorted(events.items())]

    def _remember(self, accepted: list[Event]) -> None:
        """Keeps what place_bid.lua would write."""
        first, last = decode_event(accepted[0].json), decode_event(accepted[-1].json)
        key = item_key(partition_of(last.item_id, PARTITIONS), last.item_id)
        opened = self.state.get(key, {}).get(b"opened_at", first.timestamp.encode())
        self.state[key] = {
            b"price": b"%d" % accepted[-1].cents,
            b"bidder": last.user_id.encode(),
            b"seq": b"%d" % last.seq,
            b"count": b"%d" % last.seq,
            b"event_id": last.event_id.encode(),
            b"opened_at": opened,
        }


async def archive_batches(archive: Connection, batches: Iterable[Batch]) -> None:
    portion = Portion()
    for batch in batches:
        portion.add(events_subject(batch.partition), batch.data)
    await commit(archive, portion)


async def items_in(redis_url: str) -> State:
    """Every item's hash, by key."""
    async with Redis.from_url(redis_url) as redis:
        keys = sorted([key async for key in redis.scan_iter(match="{p*}:item:*", count=1000)])
        async with redis.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.hgetall(key)
            hashes = await pipeline.execute()
    return {key.decode(): state for key, state in zip(keys, hashes, strict=True)}


async def everything_in(redis_url: str) -> dict[bytes, bytes | None]:
    """The DUMP of every key."""
    async with Redis.from_url(redis_url) as redis:
        return {key: await redis.dump(key) async for key in redis.scan_iter(count=1000)}
