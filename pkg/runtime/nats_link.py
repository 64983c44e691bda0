"""The connection to NATS: kept up for ever, every change of its state told once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import nats
from nats.aio.client import Client
from nats.js import JetStreamContext

from pkg.runtime import logs
from pkg.runtime.background import ended
from pkg.runtime.settings.sections import NatsSettings

CONNECT_TIMEOUT_S = 2
RECONNECT_WAIT_S = 0.5  # nats-py adds jitter; one server, so this is also the back-off's cap
# A peer that vanished without a word is given up after three unanswered pings. nats-py's own two
# minutes apart would leave viewers with snapshots and the archive with nothing for so long.
PING_EVERY_S = 3
UNANSWERED_PINGS = 2
PENDING_BYTES = 8 * 1024 * 1024  # what may wait for the socket before a publish is refused

PERMISSIONS_VIOLATION = "permissions violation"  # the server goes on; one subject is refused

log = logs.get("nats-link")


class _Client(Client):
    """nats-py, less two ways in which it gives up for good. Checked against nats-py 2.16."""

    async def _attempt_reconnect(self) -> None:
        """Its loop knows asyncio's errors; uvloop raises RuntimeError for a write to a connection
        that the peer reset, which would end the loop and leave the client reconnecting for ever.
        """
        while True:
            try:
                await super()._attempt_reconnect()
            except RuntimeError as error:
                await self._error_cb(ConnectionResetError(str(error)))
                await asyncio.sleep(RECONNECT_WAIT_S)
            else:
                return

    async def _process_err(self, err_msg: str) -> None:
        """What the server complains of on a standing connection (an expired login, too many
        clients) closes the client; here it is a reason to connect again, like any other.
        """
        if PERMISSIONS_VIOLATION in err_msg.lower():
            await super()._process_err(err_msg)
            return
        error = nats.errors.Error(f"nats: {err_msg}")
        await self._error_cb(error)
        await self._process_op_err(error)


class NatsLink:
    """A NATS client that may be away at any time. Made by ``nats_link``."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.jetstream: JetStreamContext = client.jetstream()
        self.up_since = 0.0
        """The event loop's time of the last connect."""
        self._up = asyncio.Event()
        self._watchers: list[Callable[[], None]] = []
        self._told = False
        self._failed = False

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
        if self._failed:
            return "failed"
        return None if self.connected else "down"

    async def went_up(self) -> None:
        server = self.client.connected_url
        # Not the whole address: it may hold a password.
        log.info("connected", server=server and f"{server.hostname}:{server.port}")
        self._told = False
        self.up_since = asyncio.get_running_loop().time()
        self._up.set()
        for watcher in self._watchers:
            watcher()

    async def went_down(self) -> None:
        if not self.client.is_closed:
            log.warning("connection lost; reconnecting")

    async def cannot(self, error: Exception) -> None:
        """Every failed try comes here; the first one of an outage is told."""
        if not self._told and not self.connected:
            log.warning("cannot be used; trying on", why=str(error) or type(error).__name__)
            self._told = True

    def gave_up(self, connecting: "asyncio.Task[None]") -> None:
        """The connecting task ended: by success, by our own end, or by a defect."""
        if not connecting.cancelled() and (error := connecting.exception()):
            self._failed = True
            log.error("connecting failed for good", exc_info=error)


@asynccontextmanager
async def nats_link(settings: NatsSettings, *, name: str) -> AsyncIterator[NatsLink]:
    """A link that connects in the background; the body runs at once, NATS there or not."""
    client = _Client()
    link = NatsLink(client)
    options: dict[str, Any] = {
        "servers": settings.nats_servers,
        "name": name,
        "connect_timeout": CONNECT_TIMEOUT_S,
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": RECONNECT_WAIT_S,
        "pending_size": PENDING_BYTES,
        "ping_interval": PING_EVERY_S,
        "max_outstanding_pings": UNANSWERED_PINGS,
        "reconnected_cb": link.went_up,
        "disconnected_cb": link.went_down,
        "error_cb": link.cannot,
    }
    if settings.nats_token:
        options["token"] = settings.nats_token
    elif settings.nats_user:
        options |= {"user": settings.nats_user, "password": settings.nats_password}

    async def connect() -> None:
        while True:
            try:
                await client.connect(**options)
            except (TimeoutError, OSError, RuntimeError, nats.errors.Error) as error:
                # RuntimeError: uvloop's word for a connection that was reset, see _Client.
                await link.cannot(error)
                await asyncio.sleep(RECONNECT_WAIT_S)
            else:
                break
        await link.went_up()

    connecting = asyncio.create_task(connect(), name="nats-connect")
    connecting.add_done_callback(link.gave_up)
    try:
        yield link
    finally:
        try:
            await ended(connecting)
        finally:
            await client.close()
