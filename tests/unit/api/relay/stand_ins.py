"""A lease and a recovery for tests that are not about them."""

import asyncio
from collections.abc import Mapping

from pkg.api.errors import RedisRecovering, RedisSuperseded
from pkg.api.relay.lease import Lease
from pkg.api.relay.membership import Membership
from pkg.api.relay.recovery import Recovery
from pkg.auction.events import ArchiveState
from pkg.auction.outbox import OutboxId
from pkg.stores.epochs import Epoch


class GivenLease(Lease):
    """Held from ``give`` to ``take``."""

    def __init__(self, *, given: bool = True) -> None:
        self._given = asyncio.Event()
        self.waits = 0
        if given:
            self.give()

    @property
    def held(self) -> bool:
        return self._given.is_set()

    def come_back(self) -> None: ...

    async def stand_aside(self) -> None: ...

    async def wait_held(self) -> None:
        self.waits += 1
        await self._given.wait()

    def give(self) -> None:
        self._given.set()

    def take(self) -> None:
        self._given.clear()


class NoSystem(Membership):
    """Neither Redis nor the stream names a system."""

    def __init__(self) -> None: ...

    async def refuse_other(self, found: str | None) -> None: ...

    async def join(self, found: str | None, archive: ArchiveState | None) -> None: ...


class OpenRedis(Recovery):
    """Redis is open until another one supersedes it."""

    def __init__(self, epochs: Mapping[str, Epoch] | None = None) -> None:
        self.epochs = epochs or {}
        self.system = NoSystem()
        self._superseded = False

    def forget(self) -> None: ...

    async def ensure_open(
        self,
        archived: Mapping[str, OutboxId],
        *,
        archive: ArchiveState | None = None,
        met: Mapping[str, OutboxId] | None = None,
    ) -> bool:
        del archived, archive, met
        if self._superseded:
            raise RedisSuperseded
        return False

    async def overtake(self, partition: str, number: int) -> Epoch:
        epoch = Epoch(number + 1, (number,))
        self.epochs = {**self.epochs, partition: epoch}
        return epoch

    async def supersede(self, by: int) -> None:
        del by
        self._superseded = True
        raise RedisSuperseded


class ClosedRedis(OpenRedis):
    """Redis waits for restore."""

    async def ensure_open(
        self,
        archived: Mapping[str, OutboxId],
        *,
        archive: ArchiveState | None = None,
        met: Mapping[str, OutboxId] | None = None,
    ) -> bool:
        del archived, archive, met
        raise RedisRecovering
