"""What the gateway makes of Redis' refusals."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from pkg.api.bidding.refusals import OTHER, WORDS_MAX, Refusals, own_words
from pkg.runtime.background import ended
from pkg.trials.waiting import until

OOM = Exception("OOM command not allowed when used memory > 'maxmemory'.")
FEW = Exception("NOREPLICAS Not enough good replicas to write.")


class Accepted:
    """The number of accepted bids, which the test raises."""

    def __init__(self) -> None:
        self.bids = self.asked = 0

    def __call__(self) -> int:
        self.asked += 1
        return self.bids


@asynccontextmanager
async def running(refusals: Refusals, accepted: Accepted) -> AsyncIterator[None]:
    task = asyncio.create_task(refusals.run(accepted))
    try:
        yield
    finally:
        await ended(task)


def test_each_word_is_logged_once_and_every_refusal_is_counted() -> None:
    refusals = Refusals()

    with capture_logs() as logged:
        for error in (OOM, OOM, FEW, OOM):
            refusals.count(error)

    assert [line["why"] for line in logged] == [str(OOM), str(FEW)]
    assert refusals.by_word == {"OOM": 3, "NOREPLICAS": 1}


async def test_bids_count_as_refused_until_one_is_accepted() -> None:
    refusals, accepted = Refusals(look_every_s=0.02), Accepted()
    async with running(refusals, accepted):
        assert refusals.probe() is None

        refusals.count(OOM)

        assert refusals.probe() == "refused"
        with capture_logs() as logged:
            accepted.bids += 1
            await until(lambda: accepting_again(refusals, accepted), within_s=5)
            refusals.count(OOM)
        assert [line["event"] for line in logged] == [
            "Redis accepts bids again",
            "Redis refuses bids",
        ]


def accepting_again(refusals: Refusals, accepted: Accepted) -> bool:
    accepted.bids += 1
    return refusals.probe() is None


async def test_bids_on_other_items_do_not_hide_that_some_are_refused() -> None:
    refusals, accepted = Refusals(look_every_s=0.02), Accepted()
    async with running(refusals, accepted):
        with capture_logs() as logged:
            while accepted.asked < 10:
                refusals.count(OOM)
                accepted.bids += 1
                await asyncio.sleep(0)

    assert len(logged) == 1
    assert refusals.probe() == "refused"


def test_the_number_of_counted_words_is_bounded() -> None:
    refusals = Refusals()

    for number in range(WORDS_MAX + 5):
        refusals.count(Exception(f"WORD{number} why"))

    assert len(refusals.by_word) == WORDS_MAX + 1
    assert refusals.by_word[OTHER] == 5


WRAPPED = "ERR Error running script (call to f_6a86): @user_script:57: "


@pytest.mark.parametrize(
    ("error", "word", "text"),
    [
        ("READONLY You can't write", "READONLY", "READONLY You can't write"),
        (f"{WRAPPED}@user_script: 57: -OOM not allowed", "OOM", "OOM not allowed"),
        (f"{WRAPPED}WRONGTYPE Operation", "WRONGTYPE", "WRONGTYPE Operation"),
        (f"{WRAPPED}@user_script: 57: The user can't run", "ERR", "The user can't run"),
        ("", "ERR", ""),
    ],
    ids=["plain", "redis-6-refused", "redis-6-failed", "redis-6-no-word", "empty"],
)
def test_redis_own_words_are_found_inside_its_scripts_errors(
    error: str, word: str, text: str
) -> None:
    assert own_words(Exception(error)) == (word, text)
