"""Clients that bid at a steady rate over raw HTTP, each with one request in flight."""

import asyncio
import itertools
import json
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from pkg.trials.crowd.ledger import AcceptedBid, Ledger, Outcome

ITEMS = tuple(f"lot-{number:02d}" for number in range(20))
STRATEGIES = ("lua", "optimistic")
BIDDERS_PER_ITEM = 4
RATE_PER_S = 260
ANSWER_WITHIN_S = 8.0
"""Then the outcome counts as unknown. Longer than a gateway's own time-out."""
CONNECT_WITHIN_S = 5.0
STEP_CENTS = 125
OUTCOME_UNKNOWN_STATUSES = frozenset({502, 504})
"""The load balancer's statuses when a gateway dies with a bid in flight."""


Heard = Callable[[Outcome, float, float], None]
"""Told of each bid: its outcome, when it was sent (time.monotonic), seconds until its answer."""


def not_heard(_outcome: Outcome, _sent_at: float, _took_s: float) -> None:
    """For loads whose ledger says enough."""


class Amounts(defaultdict[str, Iterator[int]]):
    """The next amount in cents, by item. Loads that share it never bid the same amount twice."""

    def __init__(self) -> None:
        super().__init__(lambda: itertools.count(STEP_CENTS, STEP_CENTS))


class Bidders:
    """Four clients an item, half of them per strategy, that raise its price until stopped."""

    def __init__(
        self,
        port: int,
        ledger: Ledger,
        *,
        amounts: Amounts | None = None,
        items: Sequence[str] = ITEMS,
        rate_per_s: float = RATE_PER_S,
        heard: Heard = not_heard,
    ) -> None:
        self._port = port
        self._heard = heard
        self._ledger = ledger
        self._amounts = Amounts() if amounts is None else amounts
        self._items = items
        self._every_s = len(items) * BIDDERS_PER_ITEM / rate_per_s
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Each client finishes its request."""
        self._stopping.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number, (item, place) in enumerate(
                itertools.product(self._items, range(BIDDERS_PER_ITEM))
            ):
                bidder = _Bidder(
                    f"bidder-{number}",
                    item,
                    STRATEGIES[place % len(STRATEGIES)],
                    port=self._port,
                    amounts=self._amounts[item],
                    every_s=self._every_s,
                    ledger=self._ledger,
                    heard=self._heard,
                )
                group.create_task(bidder.run(self._stopping))


class _Bidder:
    def __init__(
        self,
        name: str,
        item: str,
        strategy: str,
        *,
        port: int,
        amounts: Iterator[int],
        every_s: float,
        ledger: Ledger,
        heard: Heard,
    ) -> None:
        self._name = name
        self._heard = heard
        self._item = item
        self._strategy = strategy
        self._port = port
        self._amounts = amounts
        self._every_s = every_s
        self._ledger = ledger
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def run(self, stopping: asyncio.Event) -> None:
        every_s = self._every_s
        loop = asyncio.get_running_loop()
        due = loop.time() + random.uniform(0, every_s)  # noqa: S311 - spreads the load
        try:
            while not stopping.is_set():
                try:
                    async with asyncio.timeout_at(due):
                        await stopping.wait()
                except TimeoutError:
                    began = time.monotonic()
                    outcome = await self._bid()
                    self._heard(outcome, began, time.monotonic() - began)
                due = max(
                    due + every_s, loop.time() - every_s
                )  # a late client may catch up by one interval
        finally:  # a row that fails cancels its bidders
            self._disconnect()

    async def _bid(self) -> Outcome:
        ledger = self._ledger
        ledger.requests += 1
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                reader, writer = await self._connected()
        except (OSError, TimeoutError):
            ledger.failed["no connection"] += 1
            return Outcome.FAILED
        cents = next(self._amounts)
        sent_at = time.monotonic()
        body = f'{{"user_id":"{self._name}","amount":{cents // 100}.{cents % 100:02d}}}'
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                writer.write(
                    f"POST /api/v1/items/{self._item}/bid HTTP/1.1\r\nHost: localhost\r\n"
                    f"X-Bid-Strategy: {self._strategy}\r\nContent-Length: {len(body)}\r\n\r\n"
                    f"{body}".encode()
                )
                status, keep_alive, answer = await _answer(reader)
        except (OSError, TimeoutError, EOFError):
            ledger.unknown.add((self._item, cents))
            self._disconnect()
            return Outcome.UNKNOWN
        if not keep_alive:
            self._disconnect()
        return self._record(status, answer, cents, sent_at=sent_at)

    def _record(self, status: int, answer: bytes, cents: int, *, sent_at: float) -> Outcome:
        if status in OUTCOME_UNKNOWN_STATUSES:
            self._ledger.unknown.add((self._item, cents))
            return Outcome.UNKNOWN
        try:
            body = json.loads(answer)
            match status:
                case 201:
                    kept = AcceptedBid(self._item, body["seq"], cents)
                    self._ledger.accept(body["event_id"], kept, sent_at=sent_at)
                    return Outcome.ACCEPTED
                case 200 if body["reason"] == "too_low":
                    self._ledger.refused += 1
                    return Outcome.REFUSED
                case 503:
                    return self._ledger.fail(body["code"], item=self._item, cents=cents)
                case _:
                    self._ledger.defects.append(f"{status} {answer[:200]!r}")
        except (ValueError, LookupError):
            self._ledger.defects.append(f"{status} {answer[:200]!r}")
        return Outcome.FAILED  # a defect, which fails the trial

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reader is None or self._writer is None or self._reader.at_eof():
            self._disconnect()
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self._reader, self._writer

    def _disconnect(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bool, bytes]:
    """Status, whether the connection stays open, and body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.partition("content-length:")[2].partition("\r\n")[0])
    return (
        int(head.split(maxsplit=2)[1]),
        "connection: close" not in head,
        (await reader.readexactly(length)),
    )
