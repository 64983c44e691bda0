"""The lease that lets one process relay at a time. It only saves double work: the fence of each
publish (``event_stream.py``) keeps the order.
"""

import asyncio
import secrets
import socket
import time
from contextlib import suppress
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from pkg.auction.keys import RELAY_LEASE
from pkg.runtime import logs

TTL_S = 3.0
RENEW_EVERY_S = 1.0
ASIDE_S = 2 * TTL_S

_RENEW = (Path(__file__).parent / "renew_lease.lua").read_text(encoding="utf-8")
_RELEASE = (Path(__file__).parent / "release_lease.lua").read_text(encoding="utf-8")

log = logs.get("relay")


class Lease:
    """Expires by this process' clock, TTL_S after the request was sent."""

    holder = ""
    """This process' name in Redis."""

    refused = False
    """Whether Redis rejected the last attempt, as it does when its memory is full."""

    def __init__(self, redis: Redis, *, key: str = RELAY_LEASE) -> None:
        """``key``: for the partitions of one server. Those of another have a lease of their own."""
        self._redis = redis
        self._key = key
        self.holder = f"{socket.gethostname()}-{secrets.token_hex(6)}"
        self._until = 0.0
        self._changed = asyncio.Event()
        self._aside_until = 0.0
        self._wake = asyncio.Event()
        self._renew = redis.register_script(_RENEW)
        self._release = redis.register_script(_RELEASE)

    @property
    def held(self) -> bool:
        return time.monotonic() < self._until

    async def wait_held(self) -> None:
        while not self.held:
            self._changed.clear()
            await self._changed.wait()

    async def stand_aside(self) -> None:
        """Gives the lease up for ASIDE_S, so that another process can try to relay."""
        self._aside_until = time.monotonic() + ASIDE_S
        self._until = 0.0
        await self._give_up()

    def come_back(self) -> None:
        """Ends ``stand_aside`` early: this process can relay again."""
        self._aside_until = 0.0
        self._wake.set()

    async def keep(self) -> None:
        """Takes the lease when it is free and renews it, until cancelled; then releases it."""
        try:
            while True:
                # Redis away: the lease expires; the links log the outage.
                with suppress(RedisError, OSError):
                    if time.monotonic() >= self._aside_until:
                        try:
                            await self._try()
                        except ResponseError:
                            self.refused = True
                            raise
                        self.refused = False
                self._wake.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(RENEW_EVERY_S):
                        await self._wake.wait()
        finally:
            if self.held:
                self._until = 0.0
                await self._give_up()

    async def _try(self) -> None:
        was_held = self.held
        asked = time.monotonic()
        ttl_ms = int(TTL_S * 1000)
        if await self._renew(keys=[self._key], args=[self.holder, ttl_ms]):
            self._until = asked + TTL_S
            if not was_held:
                log.debug("lease taken", holder=self.holder)
            self._changed.set()
        elif was_held:
            self._until = 0.0
            log.warning("the lease went to another process", holder=self.holder)

    async def _give_up(self) -> None:
        try:
            await self._release(keys=[self._key], args=[self.holder])
        except (RedisError, OSError) as error:
            log.warning("lease not released; it will expire", ttl_s=TTL_S, why=str(error))
