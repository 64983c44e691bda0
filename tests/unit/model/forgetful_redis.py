"""Redis in memory: outboxes and item states, with an append-only file that lags."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field

from pkg.api.errors import RedisUnavailable
from pkg.api.relay.outbox import Entry, Outbox, OutboxState
from pkg.auction.bid import Bid, Strategy
from pkg.auction.events import decode_event, event_head, event_tail, redis_timestamp
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.stores.opening import Opening
from pkg.stores.redis_meta import EPOCH, RUN_ID, SYSTEM
from tests.unit.model.world import Place, World


@dataclass
class Partition:
    entries: list[Entry] = field(default_factory=list)
    last: OutboxId = BEGINNING
    seqs: dict[str, int] = field(default_factory=dict)
    archived_to: OutboxId = BEGINNING
    trimmed_to: OutboxId = BEGINNING
    retired: int = 0
    meta: dict[str, bytes] = field(default_factory=dict)
    """Who may bid on it, and in which epoch."""

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
    server: str
    epoch: int


class ForgetfulRedis:
    """A Redis server. ``accepted`` gathers the facts of all of them."""

    def __init__(
        self,
        world: World,
        partitions: dict[str, Partition],
        *,
        name: str,
        items: int,
        accepted: dict[str, Fact],
    ) -> None:
        self.name = name
        self._world = world
        self._items = items
        self._starts = 0
        self.partitions = copy.deepcopy(partitions)
        self._on_disk = copy.deepcopy(partitions)
        self._replicated = copy.deepcopy(partitions)
        self._session = b""
        self.accepted = accepted

    @classmethod
    def opened(cls, world: World, names: list[str], *, name: str, items: int) -> "ForgetfulRedis":
        """As the release before epochs leaves it, but for the system's id."""
        meta = {RUN_ID: f"{name}-0:mark".encode(), SYSTEM: b"the-system"}
        partitions = {each: Partition(meta=dict(meta)) for each in names}
        return cls(world, partitions, name=name, items=items, accepted={})

    @property
    def run_id(self) -> str:
        return f"{self.name}-{self._starts}"

    @property
    def open(self) -> bool:
        """Whether gateways can connect: every partition is open by the same opening."""
        recorded = {
            name: partition.meta.get(RUN_ID, b"").decode()
            for name, partition in self.partitions.items()
        }
        return Opening(run_id=self.run_id, recorded=recorded, epochs={}, system=None).open

    def epoch(self, partition: str) -> int:
        return int(self.partitions[partition].meta.get(EPOCH, 0))

    def bid(self, name: str = "") -> None:
        """Accepts a bid: writes the item's state and the outbox entry atomically. As place_bid.lua,
        it looks only at its own partition, by a connection made when all of them were open.
        """
        name = name or self._world.chance.choice(list(self.partitions))
        item_id = f"{name}-{self._world.chance.randrange(self._items)}"
        partition = self.partitions[name]
        if self.open:
            self._session = partition.meta[RUN_ID]
        if partition.meta.get(RUN_ID) != self._session:
            return
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
        self.accepted[event_id] = Fact(
            event_id, name, item_id, seq, partition.last, self.name, self.epoch(name)
        )

    def held(self, *names: str) -> set[str]:
        """Event ids in these partitions' outboxes, or in all."""
        return {
            decode_event(entry.event).event_id
            for name in names or self.partitions
            for entry in self.partitions[name].entries
        }

    def oldest(self, partition: str, most: int, *, through: OutboxId | None = None) -> set[str]:
        return {
            decode_event(entry.event).event_id
            for entry in self.partitions[partition].entries[:most]
            if through is None or entry.id <= through
        }

    def sync(self) -> None:
        self._on_disk = copy.deepcopy(self.partitions)

    def forget(self) -> None:
        """Restarts from disk after a kill. Takes no bids until it is recovered."""
        self.partitions = copy.deepcopy(self._on_disk)
        self._starts += 1
        self._session = b""

    def replicate(self) -> None:
        self._replicated = copy.deepcopy(self.partitions)

    def replica(self, name: str) -> "ForgetfulRedis":
        """The replica, promoted while this server goes on."""
        return type(self)(
            self._world, self._replicated, name=name, items=self._items, accepted=self.accepted
        )


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
                retired=state.retired if state.trimmed_to > state.archived_to else 0,
                retired_from=state.archived_to,
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

    async def depths(self) -> dict[str, int]:
        depths: dict[str, int] = await self._world.call(
            self._caller,
            Place.REDIS,
            "depths",
            lambda: {name: len(each.entries) for name, each in self._redis.partitions.items()},
            failure=RedisUnavailable,
        )
        return depths

    async def retire(self, partition: str, *, most: int, through: OutboxId) -> int:
        def write() -> int:
            state = self._redis.partitions[partition]
            leaving = [entry.id for entry in state.entries if entry.id <= through][:most]
            if leaving:
                state.trimmed_to = leaving[-1]
                state.retired += len(leaving)
                state.trim(leaving[-1])
            return len(leaving)

        return int(
            await self._world.call(
                self._caller,
                Place.REDIS,
                f"retire {most} of {partition} through {through}",
                write,
                failure=RedisUnavailable,
            )
        )


def _entries_after(
    redis: ForgetfulRedis, after: Mapping[str, OutboxId], count: int
) -> dict[str, list[Entry]]:
    found = {
        name: [entry for entry in redis.partitions[name].entries if entry.id > position][:count]
        for name, position in after.items()
    }
    return {name: entries for name, entries in found.items() if entries}
