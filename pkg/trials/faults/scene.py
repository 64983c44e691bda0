"""A running system under load, as a row's fault finds it."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from nats.js.api import ConsumerConfig

from pkg.auction.subjects import ARCHIVE_CONSUMER, STREAM
from pkg.trials.faults.containers.container import Container
from pkg.trials.faults.ledger import Ledger
from pkg.trials.faults.parts import Replica, Services, Stores
from pkg.trials.faults.proxy import Proxy
from pkg.trials.faults.viewers import Viewers


@dataclass
class Scene:
    stores: Stores
    services: Services
    ledger: Ledger
    viewers: Viewers
    short: bool
    proxies: Mapping[str, Proxy] = field(default_factory=dict)
    """By the name of the store; only in rows that ask for them."""
    containers: Mapping[str, Sequence[Container]] = field(default_factory=dict)
    """By the name of the service or store; only on the stage of containers."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """For commands: every setting, and the stores themselves rather than proxies."""
    notes: list[str] = field(default_factory=list)
    """What the report says of this run, in sentences."""
    problems: list[str] = field(default_factory=list)
    """Why the fault itself proves nothing, in sentences."""
    struck_at: float | None = None
    ended_at: float | None = None

    async def hold(self, full_s: float, *, short_s: float) -> None:
        """The time for which the fault lasts."""
        await asyncio.sleep(short_s if self.short else full_s)

    def strike(self) -> None:
        """Something is killed now; what it may forget is counted back from here."""
        self.struck_at = time.monotonic()

    def over(self) -> None:
        """The fault ends now; without this it does when its function returns."""
        self.ended_at = time.monotonic()

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)

    def require(self, fact: object, otherwise: str) -> None:
        """For what a row has to provoke: a fault that did not happen proves nothing."""
        if not fact:
            self.problems.append(otherwise)

    async def kill_and_restart(self, replica: Replica, *, after_s: float = 0.5) -> None:
        await replica.process.kill()
        await replica.restart(after_s=after_s)

    async def outbox_entries(self) -> int:
        """In all partitions."""
        async with self.stores.asking_redis() as redis:
            return sum([await redis.xlen(key) async for key in redis.scan_iter("{p*}:outbox")])

    async def standing(self, items: Iterable[str]) -> dict[str, int]:
        """The seq of each item, as Redis has it."""
        wanted = set(items)
        found = {}
        async with self.stores.asking_redis() as redis:
            async for key in redis.scan_iter("{p*}:item:*", count=1000):
                item = str(key).partition(":item:")[2]
                if item in wanted:
                    found[item] = int(await redis.hget(key, "seq") or 0)
        return found

    async def redeliver_within(self, seconds: float) -> None:
        """What an archiver took and did not acknowledge comes again that soon.

        A worker that starts or reconnects sets its own ack wait, above a minute, back.
        """
        async with self.stores.asking_nats() as connection:
            jetstream = connection.jetstream()
            config: ConsumerConfig = (
                await jetstream.consumer_info(STREAM, ARCHIVE_CONSUMER)
            ).config
            config.ack_wait = seconds
            await jetstream.add_consumer(STREAM, config)
