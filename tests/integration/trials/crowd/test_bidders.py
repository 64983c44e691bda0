"""What bidders record for each kind of response."""

import asyncio
from contextlib import suppress

import pytest

from pkg.trials.crowd.bidders import Bidders
from pkg.trials.crowd.ledger import Ledger
from pkg.trials.waiting import until
from tests.tcp import listening


async def _ledger_of(status: str, body: bytes) -> Ledger:
    """The ledger of bidders that got this response to every bid."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(EOFError, OSError):
            while await reader.readuntil(b"}"):
                writer.write(head + body)

    ledger = Ledger()
    async with listening(answer) as port:
        bidders = Bidders(port, ledger)
        bidding = asyncio.create_task(bidders.run())
        await until(lambda: ledger.requests > 10, within_s=10)
        bidders.stop()
        await bidding
    return ledger


@pytest.mark.parametrize("status", ["502 Bad Gateway", "504 Gateway Timeout"])
async def test_502_and_504_leave_the_outcome_unknown(
    status: str,
) -> None:
    ledger = await _ledger_of(status, b'{"error":"?","code":"outcome_unknown"}')

    assert len(ledger.unknown) == ledger.requests
    assert not ledger.failed
    assert not ledger.defects


async def test_a_documented_503_is_a_failure() -> None:
    ledger = await _ledger_of("503 No", b'{"error":"No gateway is ready","code":"no_gateway"}')

    assert ledger.failed == {"no_gateway": ledger.requests}
    assert not ledger.unknown


async def test_an_undocumented_answer_is_a_defect() -> None:
    ledger = await _ledger_of("500 No", b"{}")

    assert len(ledger.defects) == ledger.requests
    assert not ledger.accepted
