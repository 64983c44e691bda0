"""One bidder who raises an item's price at a steady rate."""

import asyncio
import time
from dataclasses import dataclass

from pkg.trials.experiments.clients.http import Connection, bid

ANSWER_WITHIN_S = 10.0
_STEP_CENTS = 100
_CREATED = 201


@dataclass
class Raised:
    accepted: int = 0
    other: int = 0
    """Bids that were not answered 201."""


async def raise_price(
    host: str, port: int, item: str, *, rate_per_s: float, seconds: float
) -> Raised:
    """The item is its alone and new: its last seq is the number of accepted bids.

    The pace is kept whatever an answer takes, but never more than one bid is in flight.
    """
    raised = Raised()
    opened = asyncio.Event()
    connection = Connection(host, port, opened=opened.set)
    connection.connect()
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            await opened.wait()
        began = time.monotonic()
        for number in range(max(1, round(rate_per_s * seconds))):
            await asyncio.sleep(began + number / rate_per_s - time.monotonic())
            if not connection.open:
                raised.other += 1
                continue
            cents = (number + 1) * _STEP_CENTS
            status = await _answered(connection, bid(item, user="auctioneer", cents=cents))
            raised.accepted += status == _CREATED
            raised.other += status != _CREATED
    finally:
        connection.close()
    return raised


async def _answered(connection: Connection, request: bytes) -> int:
    """The status; 0 without an answer."""
    answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def answer(status: int, _body: bytes) -> None:
        if not answered.done():
            answered.set_result(status)

    connection.ask(request, answer)
    async with asyncio.timeout(ANSWER_WITHIN_S):
        return await answered
