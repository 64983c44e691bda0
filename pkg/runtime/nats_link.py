"""The connection to NATS: kept up for ever, every change of its state told once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import nats
from nats.aio.client import Client
from nats.js import JetStreamContext

from pkg.runtime import logs
from pkg.runtime.settings import NatsSettings

CONNECT_TIMEOUT_S = 2
RECONNECT_WAIT_S = 0.5  # nats-py adds jitter; one server, so this is also the back-off's cap
# A peer that vanished without a word is given up after three unanswered pings. nats-py's own two
# minutes apart would leave viewers with snapshots and the archive with nothing for so long.
PING_EVERY_S = 3
UNANSWERED_PINGS = 2
PENDING_BYTES = 8 * 1024 * 1024  # what may wait for the socket before a publish is refused

log = logs.get("nats")


class NatsLink:
    """A NATS client that may be away at any time. Made by ``nats_link``."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.jetstream: JetStreamContext = client.jetstream()
        self._up = asyncio.Event()
        self._watchers: list[Callable[[], None]] = []

    @property
    def connected(self) -> bool:
        return self.client.is_connected

    async def wait_connected(self) -> None:
        while not self.client.is_connected:
            self._up.clear()
            await self._up.wait()

    def on_connect(self, watcher: Callable[[], None]) -> None:
        """Calls ``watcher`` after the first connect and after every reconnect."""
        self._watchers.append(watcher)

    def probe(self) -> str | None:
        """For ``Readiness.watch``."""
        return None if self.connected else "down"

    def _went_up(self) -> None:
        log.info("connected", server=self.client.connected_url and self.client.connected_url.netloc)
        self._up.set()
        for watcher in self._watchers:
            watcher()


@asynccontextmanager
async def nats_link(settings: NatsSettings, *, name: str) -> AsyncIterator[NatsLink]:
    """A link that connects in the background; the body runs at once, NATS there or not."""
    client = Client()
    link = NatsLink(client)

    async def reconnected() -> None:
        link._went_up()  # noqa: SLF001 - this module's own class

    async def disconnected() -> None:
        if not client.is_closed:
            log.warning("connection lost; reconnecting")

    async def ignore(_: Exception) -> None:
        """Every failed try comes here; the change of state is told by the callbacks above."""

    options: dict[str, Any] = {
        "servers": [settings.nats_url],
        "name": name,
        "connect_timeout": CONNECT_TIMEOUT_S,
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": RECONNECT_WAIT_S,
        "pending_size": PENDING_BYTES,
        "ping_interval": PING_EVERY_S,
        "max_outstanding_pings": UNANSWERED_PINGS,
        "reconnected_cb": reconnected,
        "disconnected_cb": disconnected,
        "error_cb": ignore,
    }
    if settings.nats_token:
        options["token"] = settings.nats_token
    elif settings.nats_user:
        options |= {"user": settings.nats_user, "password": settings.nats_password}

    async def connect() -> None:
        waiting = asyncio.get_running_loop().call_later(
            CONNECT_TIMEOUT_S, lambda: log.warning("not reachable yet; trying on")
        )
        try:
            while True:
                try:
                    await client.connect(**options)
                    break
                except (TimeoutError, OSError, nats.errors.Error):
                    await asyncio.sleep(RECONNECT_WAIT_S)
        finally:
            waiting.cancel()
        link._went_up()  # noqa: SLF001 - this module's own class

    connecting = asyncio.create_task(connect(), name="nats-connect")
    try:
        yield link
    finally:
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)
        await client.close()
