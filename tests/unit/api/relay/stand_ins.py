"""A lease and a recovery for tests that are not about them."""

import asyncio
from collections.abc import Mapping

from pkg.api.errors import RedisSuperseded
from pkg.api.relay.lease import Lease
from pkg.api.relay.recovery import Recovery
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


class OpenRedis(Recovery):
    """Redis is open until another one supersedes it."""

    def __init__(self, epochs: Mapping[str, Epoch] | None = None) -> None:
        self.epochs = epochs or {}
        self._superseded = False

    def forget(self) -> None: ...

    async def ensure_open(
        self, archived: Mapping[str, OutboxId], *, met: Mapping[str, OutboxId] | None = None
    ) -> bool:
        del archived, met
        if self._superseded:
            raise RedisSuperseded
        return False

    async def supersede(self, by: int) -> None:
        del by
        self._superseded = True
        raise RedisSuperseded
