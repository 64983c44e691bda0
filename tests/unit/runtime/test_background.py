import asyncio

import pytest
from structlog.testing import capture_logs

from pkg.runtime.background import Background, ended, restarting
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


async def test_work_that_fails_is_restarted_with_its_traceback_in_the_log() -> None:
    runs = 0
    told: list[int] = []

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs < 4:
            raise ZeroDivisionError("a defect")

    async def failed(in_a_row: int) -> None:
        told.append(in_a_row)

    with capture_logs() as logged:
        async with asyncio.timeout(10):
            await restarting(work, name="work", failed=failed, first_s=0.01)

    assert (runs, told) == (4, [1, 2, 3])
    assert [(line["task"], line["exc_info"]) for line in logged] == [("work", True)] * 3
    delays = [line["after_s"] for line in logged]
    assert delays[0] <= 0.01 <= delays[2]  # 0.02 to 0.04 s, whatever the jitter


async def test_restarted_work_can_be_cancelled() -> None:
    async def failed(_: int) -> None: ...

    task = asyncio.create_task(restarting(forever, name="work", failed=failed))
    await asyncio.sleep(0)

    await ended(task)

    assert task.cancelled()
