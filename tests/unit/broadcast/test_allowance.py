import asyncio

import pytest

from pkg.broadcast.allowance import Allowance, Metered


def spent(allowance: Allowance, count: int, now: float) -> int:
    return sum(allowance.spend(now) for _ in range(count))


def test_five_seconds_worth_may_come_at_once_and_no_more() -> None:
    assert spent(Allowance(10, 0.0), 1000, 0.0) == 50


def test_it_fills_up_again_with_time() -> None:
    allowance = Allowance(10, 0.0)
    spent(allowance, 1000, 0.0)

    assert spent(allowance, 1000, 2.0) == 20


def test_silence_saves_up_no_more_than_five_seconds_worth() -> None:
    assert spent(Allowance(10, 0.0), 1000, 3600.0) == 50


def test_the_allowed_rate_is_never_too_much() -> None:
    allowance = Allowance(10, 0.0)

    assert all(allowance.spend(number / 10) for number in range(10_000))


class _Recorded(asyncio.Protocol):
    def __init__(self) -> None:
        self.received: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        self.received.append(data)


@pytest.mark.parametrize(
    ("read", "taken"),
    [
        pytest.param(b"\x81", 50, id="a piece of a frame"),
        pytest.param(bytes((0, 0)) * 512, 50, id="many frames of an unfinished message"),
        pytest.param(bytes(4096), 13, id="the largest message"),
    ],
)
async def test_a_read_counts_whether_or_not_it_completes_a_message(read: bytes, taken: int) -> None:
    inner = _Recorded()
    refused: list[bytes] = []
    metered = Metered(
        inner, Allowance(10, 0.0), too_much=lambda: refused.append(read), clock=lambda: 0.0
    )

    for _ in range(100):
        metered.data_received(read)

    assert len(inner.received) == taken
    assert len(refused) == 100 - taken
