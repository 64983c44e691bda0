"""Messages of the archive's consumer, pulled no faster than they are archived.

nats-py's ``fetch`` returns nothing until the whole batch has arrived or its time is up. Here a pull
stays open, and each message can be taken as it arrives.
"""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import Header

from pkg.archival.belonging import OtherSystemError
from pkg.archival.consumer import ACK_WAIT_S
from pkg.archival.intake import Portion
from pkg.auction.subjects import ARCHIVE_CONSUMER, STREAM
from pkg.runtime import logs
from pkg.runtime.nats_link import NatsLink

PULL_EXPIRES_S = 2.0
LATE_S = 1.0  # a pull that has not ended this long after it expired is given up
PULL_BYTES = 8 * 1024 * 1024
RETRY_S = 0.25
IN_PROGRESS_EVERY_S = ACK_WAIT_S / 3  # one that is lost or late does no harm
_NEXT = f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{ARCHIVE_CONSUMER}"
# A pull that ended normally: no messages (404), expired (408), its bytes used up (409).
_SPENT = ("404", "408")
_SPENT_BYTES = ("MaxBytes", "Batch Completed")

log = logs.get("deliveries")


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message, with the consumer and the connection that it came from."""

    message: Msg
    consumer_made: datetime | None
    connection: int

    @property
    def sequence(self) -> int:
        """In the stream."""
        return self.message.metadata.sequence.stream

    def add_to(self, portion: Portion) -> None:
        """Raises UnknownVersionError: as ``Portion.add``."""
        portion.add(
            self.message.subject,
            self.message.data,
            sequence=self.sequence,
            published_s=self.message.metadata.timestamp.timestamp(),
        )


class Deliveries:
    """Holds at most one pull, ``batch`` messages and PULL_BYTES, besides what the one reader has
    taken. The reader acknowledges or gives back whatever it takes; NATS redelivers the rest.

    ``ensure`` creates a missing stream or consumer and returns the consumer's time of creation.
    """

    def __init__(
        self, link: NatsLink, ensure: Callable[[], Awaitable[datetime]], *, batch: int
    ) -> None:
        self._link = link
        self._ensure = ensure
        self._batch = batch
        self._arrived: deque[Delivery] = deque()
        self._taken: dict[str, Delivery] = {}  # by the subject of the acknowledgement
        self._wake = asyncio.Event()
        self._ended = False
        self._subscription: Subscription | None = None
        self._inbox = ""
        self._consumer_made: datetime | None = None
        self._connection = 0
        self._bound = False
        self._told_unbound = False
        self._not_before = 0.0
        self._pull = 0
        self._credit = 0
        self._pull_ends = 0.0
        self.lost_acknowledgements = 0
        self.in_progress = 0
        link.on_connect(self._reconnected)

    def probe(self) -> str | None:
        """For ``Readiness.watch``."""
        return None if self._bound else "no consumer"

    def end_waiting(self) -> None:
        """From now on ``next`` returns what has arrived, then None, without waiting."""
        self._ended = True
        self._wake.set()

    async def next(self, *, within_s: float) -> Delivery | None:
        """The next message, or None if none arrives in time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        while not self._arrived:
            now = loop.time()
            if self._ended or now >= deadline:
                return None
            self._wake.clear()
            check_at = await self._keep_pulling(now)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), min(deadline, check_at) - loop.time())
        return self._take()

    def arrived(self) -> Delivery | None:
        """A message that has already arrived, if any."""
        return self._take() if self._arrived else None

    async def acknowledge(self, deliveries: Iterable[Delivery]) -> None:
        """Tells JetStream that these are archived. If one is lost, its message comes again, as a
        duplicate.

        Not sent for a message from before the consumer was recreated or NATS reconnected, perhaps
        without its last messages: its sequence may now belong to a message that is not archived.
        """
        await self._answer(deliveries, b"+ACK")

    async def give_back(self, deliveries: Iterable[Delivery]) -> None:
        """Has them redelivered to any worker without waiting for the ack wait."""
        await self._answer(deliveries, b"-NAK")

    async def keep_in_progress(self, *, every_s: float = IN_PROGRESS_EVERY_S) -> None:
        """Restarts the ack wait of every message held, until cancelled: however long a transaction
        takes, its messages are not redelivered while this process lives.
        """
        while True:
            await asyncio.sleep(every_s)
            for delivery in (*self._taken.values(), *self._arrived):
                if self._answerable(delivery):
                    with suppress(nats.errors.Error):  # sent again in time
                        await self._link.client.publish(delivery.message.reply, b"+WPI")
                        self.in_progress += 1

    async def put_off(self, deliveries: Iterable[Delivery], *, for_s: float) -> None:
        """Has them redelivered to any worker after that time."""
        await self._answer(deliveries, b'-NAK {"delay":%d}' % round(for_s * 1e9))

    async def close(self) -> None:
        """Stops pulling and gives back the messages that were not taken."""
        try:
            if self._subscription is not None and self._link.connected:
                # Unsubscribing would drop messages on their way; they would come again only after
                # the ack wait.
                await self._subscription.drain()  # type: ignore[no-untyped-call]
                await self.give_back(self._arrived)
                self._arrived.clear()
                await self._link.client.flush(timeout=2)
        except nats.errors.Error as error:
            log.warning("not all given back", error=str(error))

    async def _answer(self, deliveries: Iterable[Delivery], answer: bytes) -> None:
        for delivery in deliveries:
            self._taken.pop(delivery.message.reply, None)
            if not self._answerable(delivery):
                self.lost_acknowledgements += 1
                continue
            try:
                await self._link.client.publish(delivery.message.reply, answer)
            except nats.errors.Error:
                self.lost_acknowledgements += 1

    def _answerable(self, delivery: Delivery) -> bool:
        now = (self._consumer_made, self._connection)
        return self._link.connected and (delivery.consumer_made, delivery.connection) == now

    def _take(self) -> Delivery:
        delivery = self._arrived.popleft()
        self._taken[delivery.message.reply] = delivery
        return delivery

    async def _keep_pulling(self, now: float) -> float:
        """Keeps a pull open if possible; returns when to check again."""
        if not self._link.connected:
            self._bound = False
            return float("inf")  # _reconnected wakes next()
        if now < self._not_before:
            return self._not_before
        try:
            if not self._bound:
                await self._bind()
            if self._credit == 0 or now >= self._pull_ends + LATE_S:
                await self._open_pull()
        except (nats.errors.Error, TimeoutError, OtherSystemError) as error:
            self.unbind(str(error) or type(error).__name__)
            return self._not_before
        return self._pull_ends + LATE_S

    async def _bind(self) -> None:
        made = await self._ensure()
        if made != self._consumer_made:
            self._arrived.clear()  # the old consumer is gone; the new one delivers all of it again
            self._consumer_made = made
        if self._subscription is None:
            self._inbox = self._link.client.new_inbox()
            # The pull is the limit; nats-py would silently drop what exceeds its own.
            self._subscription = await self._link.client.subscribe(
                f"{self._inbox}.*", cb=self._receive, pending_msgs_limit=0, pending_bytes_limit=0
            )
        self._credit = 0
        self._bound = True
        self._told_unbound = False

    async def _open_pull(self) -> None:
        self._pull += 1
        self._credit = self._batch
        self._pull_ends = asyncio.get_running_loop().time() + PULL_EXPIRES_S
        request = {
            "batch": self._batch,
            "expires": int(PULL_EXPIRES_S * 1e9),
            # A message that alone exceeds it would never be delivered.
            "max_bytes": max(PULL_BYTES, 2 * self._link.client.max_payload),
        }
        await self._link.client.publish(
            _NEXT, json.dumps(request).encode(), reply=f"{self._inbox}.{self._pull}"
        )

    async def _receive(self, message: Msg) -> None:
        status = message.headers.get(Header.STATUS) if message.headers else None
        if status is None:
            self._credit = max(0, self._credit - 1)
            self._arrived.append(Delivery(message, self._consumer_made, self._connection))
        elif message.subject == f"{self._inbox}.{self._pull}":
            self._credit = 0
            said = (message.headers or {}).get(Header.DESCRIPTION, "")
            if status not in _SPENT and not any(word in said for word in _SPENT_BYTES):
                self.unbind(f"{status} {said}")
        self._wake.set()

    def unbind(self, why: str) -> None:
        """The stream or consumer may be gone: the next pull checks both first."""
        self._bound = False
        self._credit = 0
        self._not_before = asyncio.get_running_loop().time() + RETRY_S
        if not self._told_unbound:
            self._told_unbound = True
            log.warning("pull refused; looking for stream and consumer", said=why)

    def _reconnected(self) -> None:
        self._connection += 1
        self._bound = False
        self._not_before = 0.0
        self._wake.set()
