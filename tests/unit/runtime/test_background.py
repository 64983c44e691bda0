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


async def test_failed_task_makes_the_process_unready_and_stops_it() -> None:
    stop = asyncio.Event()
    with capture_logs() as logs:
        async with Background(stop) as background:
            background.start(forever(), name="steady")
            assert background.probe() is None

            background.start(fails(), name="failing")

            await asyncio.wait_for(stop.wait(), timeout=5)
            assert (background.probe(), background.died) == ("failed", "failing")
    assert [line["task"] for line in logs if line["log_level"] == "error"] == ["failing"]


async def test_task_that_ends_without_an_error_counts_as_failed() -> None:
    stop = asyncio.Event()

    async def ends() -> None: ...

    async with Background(stop) as background:
        background.start(ends(), name="short")
        await asyncio.wait_for(stop.wait(), timeout=5)

        assert background.died == "short"


async def test_failure_in_an_adopted_part_is_reported_by_the_whole() -> None:
    stop = asyncio.Event()
    async with Background(stop) as whole, Background(stop) as part:
        whole.adopt(part)

        part.start(fails(), name="failing")

        await until(lambda: whole.died == "failing", within_s=5)
        assert whole.probe() == "failed"


async def test_exit_ends_tasks_in_reverse_order_and_reports_no_failure() -> None:
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


async def test_task_that_fails_while_ending_is_logged_and_the_others_still_end() -> None:
    stop = asyncio.Event()
    ended: list[str] = []

    async def steady() -> None:
        try:
            await forever()
        finally:
            ended.append("steady")

    async def failing() -> None:
        try:
            await forever()
        finally:
            raise ZeroDivisionError("while ending")

    with capture_logs() as logs:
        async with Background(stop) as background:
            background.start(steady(), name="steady")
            background.start(failing(), name="failing")
            await asyncio.sleep(0)

    assert ended == ["steady"]
    assert [line["task"] for line in logs] == ["failing"]


async def test_error_in_the_body_still_ends_the_tasks() -> None:
    stop = asyncio.Event()
    background = Background(stop)

    async def body() -> None:
        async with background:
            background.start(forever(), name="steady")
            raise LookupError

    with pytest.raises(LookupError):
        await body()

    assert all(task.done() for task in background._tasks)
