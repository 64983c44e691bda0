"""The connection to NATS: reconnects for ever and logs each change of state once."""

import asyncio
import random
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
RECONNECT_WAIT_S = 0.5  # a link's own delay is up to a quarter shorter, the same at each attempt
# A server that vanished silently is given up after three unanswered pings. With nats-py's default
# of two minutes between pings, viewers would get only snapshots, and the archive nothing, for long.
PING_EVERY_S = 3
UNANSWERED_PINGS = 2
PENDING_BYTES = 8 * 1024 * 1024  # buffered for the socket before a publish is refused

PERMISSIONS_VIOLATION = "permissions violation"  # of one subject; the connection stays open

log = logs.get("nats-link")


class _Client(Client):
    """nats-py without three ways in which it gives up for good, one in which its callers would, and
    one in which it sends a password over a connection that is not encrypted. Checked against
    nats-py 2.16.
    """

    async def _attempt_reconnect(self) -> None:
        """nats-py's loop expects asyncio's errors. uvloop raises RuntimeError for a write to a
        connection that the peer reset: the loop would end, and the client never reconnect.
        """
        while True:
            try:
                await super()._attempt_reconnect()
            except RuntimeError as error:
                await self._error_cb(ConnectionResetError(str(error)))
                await asyncio.sleep(RECONNECT_WAIT_S)
            else:
                return

    async def _init_request_sub(self) -> None:
        """The first request subscribes to the replies of all. If that fails, nats-py takes it for
        done: no request of this client would get its reply any more.
        """
        try:
            await super()._init_request_sub()
        except BaseException:
            self._resp_sub_prefix = None
            raise

    async def _process_info(
        self,
        info: dict[str, Any],
        initial_connection: bool = False,  # noqa: FBT001, FBT002 - nats-py's own signature
    ) -> None:
        """nats-py takes tls:// for a wish: it goes on in plain text if the server, or whoever is
        between, does not ask for TLS.
        """
        server = self._current_server
        encrypted = server is not None and server.uri.scheme == "tls"
        if initial_connection and encrypted and not info.get("tls_required"):
            raise nats.errors.Error("nats: the server offers no TLS, which tls:// asks for")
        await super()._process_info(info, initial_connection)

    async def _send_ping(self, future: "asyncio.Future[bool] | None" = None) -> None:
        """So that ``flush`` fails as on any lost connection, also on uvloop (see above)."""
        try:
            await super()._send_ping(future)
        except RuntimeError as error:
            raise nats.errors.ConnectionClosedError from error

    async def _process_err(self, err_msg: str) -> None:
        """nats-py closes the client when the server reports an error on an open connection (an
        expired login, too many clients). Here it reconnects, as after any other error.
        """
        if PERMISSIONS_VIOLATION in err_msg.lower():
            await super()._process_err(err_msg)
            return
        error = nats.errors.Error(f"nats: {err_msg}")
        await self._error_cb(error)
        await self._process_op_err(error)


class NatsLink:
    """A NATS client that may be disconnected at any time. Made by ``nats_link``."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.jetstream: JetStreamContext = client.jetstream()
        self.up_since = 0.0
        """When it last connected, in the event loop's time."""
        self._up = asyncio.Event()
        self._watchers: list[Callable[[], None]] = []
        self._logged = False
        self._failed = False
        self._refused = ""

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

    async def handle_connected(self) -> None:
        server = self.client.connected_url
        # Not the whole address: it may hold a password.
        log.info("connected", server=server and f"{server.hostname}:{server.port}")
        self._logged = False
        self.up_since = asyncio.get_running_loop().time()
        self._up.set()
        for watcher in self._watchers:
            watcher()

    async def handle_disconnected(self) -> None:
        if not self.client.is_closed:
            log.warning("connection lost; reconnecting")

    async def handle_error(self, error: Exception) -> None:
        """Called for every failed attempt, of which it logs the first of an outage, and for every
        subject that this user may not use, of which it logs each once in a row.
        """
        if PERMISSIONS_VIOLATION in str(error).lower():
            if str(error) != self._refused:
                self._refused = str(error)
                log.error("not allowed; see NATS_USER", why=self._refused)
            return
        if not self._logged and not self.connected:
            log.warning("cannot be used; trying on", why=str(error) or type(error).__name__)
            self._logged = True

    def handle_connecting_ended(self, connecting: "asyncio.Task[None]") -> None:
        """The task has connected, was cancelled by us, or failed because of a defect."""
        if not connecting.cancelled() and (error := connecting.exception()):
            self._failed = True
            log.error("connecting failed for good", exc_info=error)


@asynccontextmanager
async def nats_link(settings: NatsSettings, *, name: str) -> AsyncIterator[NatsLink]:
    """A link that connects in the background; the body runs at once, with or without NATS."""
    client = _Client()
    link = NatsLink(client)
    options: dict[str, Any] = {
        "servers": settings.nats_servers,
        "name": name,
        "connect_timeout": CONNECT_TIMEOUT_S,
        "max_reconnect_attempts": -1,
        # nats-py adds no jitter: all that lost their server at once would come back at once.
        "reconnect_time_wait": RECONNECT_WAIT_S * random.uniform(0.75, 1.0),  # noqa: S311
        "pending_size": PENDING_BYTES,
        "ping_interval": PING_EVERY_S,
        "max_outstanding_pings": UNANSWERED_PINGS,
        "reconnected_cb": link.handle_connected,
        "disconnected_cb": link.handle_disconnected,
        "error_cb": link.handle_error,
    }
    if settings.nats_tls:
        options["tls"] = settings.nats_tls
    if settings.nats_token:
        options["token"] = settings.nats_token
    elif settings.nats_user:
        options |= {"user": settings.nats_user, "password": settings.nats_password}
        options["inbox_prefix"] = f"_INBOX.{settings.nats_user}"  # see terraform/nats/users.conf

    async def connect() -> None:
        while True:
            try:
                await client.connect(**options)
            except (TimeoutError, OSError, RuntimeError, nats.errors.Error) as error:
                # uvloop raises RuntimeError for a connection that was reset, see _Client.
                await link.handle_error(error)
                await asyncio.sleep(RECONNECT_WAIT_S)
            else:
                break
        await link.handle_connected()

    connecting = asyncio.create_task(connect(), name="nats-connect")
    connecting.add_done_callback(link.handle_connecting_ended)
    try:
        yield link
    finally:
        try:
            await ended(connecting)
        finally:
            await client.close()
