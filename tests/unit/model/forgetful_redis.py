"""Redis in memory: outboxes and item states, with an append-only file that lags."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field

from pkg.api.errors import RedisRecovering, RedisUnavailable
from pkg.api.relay.outbox import Entry, Outbox, OutboxState
from pkg.api.relay.recovery import Recovery
from pkg.auction.bid import Bid, Strategy
from pkg.auction.events import decode_batch, decode_event, event_head, event_tail, redis_timestamp
from pkg.auction.outbox import BEGINNING, OutboxId
from tests.unit.model.jetstream import JetStream
from tests.unit.model.world import Place, World


@dataclass
class Partition:
    entries: list[Entry] = field(default_factory=list)
    last: OutboxId = BEGINNING
    seqs: dict[str, int] = field(default_factory=dict)
    archived_to: OutboxId = BEGINNING
    trimmed_to: OutboxId = BEGINNING
    unarchived_from: OutboxId = BEGINNING

    def trim(self, through: OutboxId) -> None:
        self.entries = [entry for entry in self.entries if entry.id > through]


@dataclass(frozen=True)
class Fact:
    """An accepted event."""

    event_id: str
    partition: str
    item_id: str
    seq: int
    outbox_id: OutboxId


class ForgetfulRedis:
    def __init__(self, world: World, names: list[str], *, items: int) -> None:
        self._world = world
        self._items = items
        self.partitions = {name: Partition() for name in names}
        self._on_disk = copy.deepcopy(self.partitions)
        self.open = True
        self.accepted: dict[str, Fact] = {}

    def bid(self) -> None:
        """Accepts a bid: writes the item's state and the outbox entry atomically."""
        name = self._world.chance.choice(list(self.partitions))
        item_id = f"{name}-{self._world.chance.randrange(self._items)}"
        partition = self.partitions[name]
        seq = partition.seqs.get(item_id, 0) + 1
        number = len(self.accepted) + 1
        event_id = f"019a0000-0000-7000-8000-{number:012d}"
        bid = Bid(item_id, "ann", seq * 100, event_id, f"019b0000-0000-7000-8000-{number:012d}")
        now_ms = self._world.now_ms
        partition.last = max(OutboxId(now_ms, 0), partition.last.next())
        partition.seqs[item_id] = seq
        event = event_head(bid, Strategy.LUA) + event_tail(
            previous_cents=(seq - 1) * 100, timestamp=redis_timestamp(now_ms // 1000, 0), seq=seq
        )
        partition.entries.append(Entry(partition.last, event))
        self.accepted[event_id] = Fact(event_id, name, item_id, seq, partition.last)

    def held(self) -> set[str]:
        """Event ids in all outboxes."""
        return {
            decode_event(entry.event).event_id
            for partition in self.partitions.values()
            for entry in partition.entries
        }

    def ids_up_to(self, through: OutboxId, partitions: list[str]) -> set[str]:
        return {
            decode_event(entry.event).event_id
            for name in partitions
            for entry in self.partitions[name].entries
            if entry.id <= through
        }

    def sync(self) -> None:
        self._on_disk = copy.deepcopy(self.partitions)

    def forget(self) -> None:
        """Restarts from disk after a kill. Takes no bids until it is recovered."""
        self.partitions = copy.deepcopy(self._on_disk)
        self.open = False

    def recover(self, stream: JetStream | None) -> None:
        """Puts back what the stream holds after the outbox's end, as ``pkg.stores.putting_back``
        does. Without a stream, opens Redis as it is.
        """
        for name, partition in self.partitions.items():
            for message in stream.of(name) if stream else ():
                batch = decode_batch(message.data)
                if OutboxId.parse(batch.last) <= partition.last:
                    continue
                for raw in batch.events:
                    event = decode_event(raw)
                    partition.seqs[event.item_id] = max(
                        partition.seqs.get(event.item_id, 0), event.seq
                    )
            ends = [decode_batch(each.data).last for each in stream.of(name)] if stream else []
            partition.last = max([partition.last, *map(OutboxId.parse, ends)])
        self.open = True


class ModelOutbox(Outbox):
    """A relay's connection to Redis. Reads return few entries, so that batches end anywhere."""

    def __init__(self, world: World, redis: ForgetfulRedis, caller: str) -> None:
        self.partitions = list(redis.partitions)
        self._world = world
        self._redis = redis
        self._caller = caller

    async def read(self, after: Mapping[str, OutboxId], *, block_ms: int) -> dict[str, list[Entry]]:
        world, redis = self._world, self._redis
        until = world.loop.time() + block_ms / 1000
        count = world.chance.randint(1, 4)
        found: dict[str, list[Entry]] = await world.call(
            self._caller,
            Place.REDIS,
            "read",
            lambda: _entries_after(redis, after, count),
            failure=RedisUnavailable,
            ready=lambda: bool(_entries_after(redis, after, 1)) or world.loop.time() >= until,
        )
        return found

    async def end(self, partition: str) -> OutboxId:
        found: OutboxId = await self._world.call(
            self._caller,
            Place.REDIS,
            "end",
            lambda: self._redis.partitions[partition].last,
            failure=RedisUnavailable,
        )
        return found

    async def state(self, partition: str) -> OutboxState:
        def look() -> OutboxState:
            state = self._redis.partitions[partition]
            lacking = [entry.id for entry in state.entries if entry.id > state.archived_to]
            return OutboxState(
                depth=len(state.entries),
                first_unarchived=lacking[0] if lacking else None,
                archived_to=state.archived_to,
                trimmed_to=state.trimmed_to,
                unarchived_from=state.unarchived_from,
                now_ms=self._world.now_ms,
            )

        answer: OutboxState = await self._world.call(
            self._caller, Place.REDIS, f"state of {partition}", look, failure=RedisUnavailable
        )
        return answer

    async def trim_to(self, partition: str, through: OutboxId) -> None:
        def write() -> None:
            self._redis.partitions[partition].archived_to = through
            self._redis.partitions[partition].trim(through)

        await self._world.call(
            self._caller,
            Place.REDIS,
            f"archived {partition} through {through}",
            write,
            failure=RedisUnavailable,
            may_be_late=True,
        )

    async def retire(self, partition: str, through: OutboxId, *, unarchived_from: OutboxId) -> None:
        def write() -> None:
            state = self._redis.partitions[partition]
            state.trimmed_to, state.unarchived_from = through, unarchived_from
            state.trim(through)

        await self._world.call(
            self._caller,
            Place.REDIS,
            f"retire {partition} through {through}",
            write,
            failure=RedisUnavailable,
        )


class ModelRecovery(Recovery):
    """Recovers in one step. With NATS away it does without the stream, which causes conflicts."""

    def __init__(self, world: World, redis: ForgetfulRedis, stream: JetStream, caller: str) -> None:
        self._world = world
        self._model_redis = redis
        self._model_stream = stream
        self._caller = caller

    def forget(self) -> None: ...

    async def ensure_open(
        self, archived: Mapping[str, OutboxId], *, met: Mapping[str, OutboxId] | None = None
    ) -> bool:
        del archived, met
        if self._model_redis.open:
            return False
        return bool(
            await self._world.call(
                self._caller, Place.REDIS, "recover", self._recover, failure=RedisRecovering
            )
        )

    def _recover(self) -> bool:
        if self._model_redis.open:
            return False
        self._model_redis.recover(None if Place.NATS in self._world.away else self._model_stream)
        return True


def _entries_after(
    redis: ForgetfulRedis, after: Mapping[str, OutboxId], count: int
) -> dict[str, list[Entry]]:
    found = {
        name: [entry for entry in redis.partitions[name].entries if entry.id > position][:count]
        for name, position in after.items()
    }
    return {name: entries for name, entries in found.items() if entries}
