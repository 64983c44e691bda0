import asyncio

import pytest
from structlog.testing import capture_logs

from pkg.runtime.background import Background
from pkg.trials.waiting import until


async def forever() -> None:
    await asyncio.Event().wait()


async def fails() -> None:
    await asyncio.sleep(0)
    raise ZeroDivisionError("a defect")


async def test_work_that_fails_turns_readiness_red_and_stops_the_process() -> None:
    stop = asyncio.Event()
    with capture_logs() as logs:
        async with Background(stop) as background:
            background.start(forever(), name="steady")
            assert background.probe() is None

            background.start(fails(), name="weak")

            await asyncio.wait_for(stop.wait(), timeout=5)
            assert (background.probe(), background.died) == ("failed", "weak")
    assert [line["task"] for line in logs if line["log_level"] == "error"] == ["weak"]


async def test_work_that_ends_without_an_error_is_a_defect_too() -> None:
    stop = asyncio.Event()

    async def ends() -> None: ...

    async with Background(stop) as background:
        background.start(ends(), name="short")
        await asyncio.wait_for(stop.wait(), timeout=5)

        assert background.died == "short"


async def test_a_part_that_dies_is_told_by_the_whole() -> None:
    stop = asyncio.Event()
    async with Background(stop) as whole, Background(stop) as part:
        whole.adopt(part)

        part.start(fails(), name="weak")

        await until(lambda: whole.died == "weak", within_s=5)
        assert whole.probe() == "failed"


async def test_leaving_ends_the_last_started_first_and_is_no_death() -> None:
    stop = asyncio.Event()
    ended: list[str] = []

    async def work(name: str) -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0.01)
            ended.append(name)

    async with Background(stop) as background:
        for name in ("store", "relay"):
            background.start(work(name), name=name)
        await asyncio.sleep(0)

    assert ended == ["relay", "store"]
    assert background.died is None
    assert not stop.is_set()


async def test_work_that_fails_at_its_end_is_told_and_does_not_keep_the_others() -> None:
    stop = asyncio.Event()
    ended: list[str] = []

    async def steady() -> None:
        try:
            await forever()
        finally:
            ended.append("steady")

    async def clumsy() -> None:
        try:
            await forever()
        finally:
            raise ZeroDivisionError("while ending")

    with capture_logs() as logs:
        async with Background(stop) as background:
            background.start(steady(), name="steady")
            background.start(clumsy(), name="clumsy")
            await asyncio.sleep(0)

    assert ended == ["steady"]
    assert [line["task"] for line in logs] == ["clumsy"]


async def test_an_error_of_the_body_still_ends_the_work() -> None:
    stop = asyncio.Event()
    background = Background(stop)

    async def body() -> None:
        async with background:
            background.start(forever(), name="steady")
            raise LookupError

    with pytest.raises(LookupError):
        await body()

    assert all(task.done() for task in background._tasks)
