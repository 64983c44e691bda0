"""How the worker and its commands end when a task swallows a cancellation.

Before Python 3.12, ``wait_for`` does that if it finishes or times out at the same moment.
"""

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from pkg.archival import app, terminal
from pkg.archival.intake import Reader
from pkg.archival.settings import ArchivalSettings
from pkg.runtime.nats_link import NatsLink, _Client
from pkg.runtime.settings.loading import load

STORES = {
    "POSTGRES_URL": "postgresql://bidding@db/bidding",
    "NATS_URL": "nats://nats",
}


async def swallows_a_cancellation(*_: object) -> int:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await asyncio.Event().wait()
    return 0


async def finishes_when_cancelled(*_: object) -> int:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return 0
    return 1


async def fails_when_cancelled(*_: object) -> int:
    try:
        await asyncio.Event().wait()
    finally:
        raise ConnectionResetError


async def test_worker_that_fails_ends_the_process_though_another_task_swallows_a_cancellation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class FailingWorker:
        def __init__(self, *_: object, **__: object) -> None: ...

        async def run(self) -> None:
            await asyncio.sleep(0)
            raise ZeroDivisionError("a defect")

    monkeypatch.setattr(app, "Worker", FailingWorker)
    monkeypatch.setattr(app, "watch_backlog", swallows_a_cancellation)
    settings = load(ArchivalSettings, STORES | {"ADMIN_ADDR": "127.0.0.1:0"})

    with pytest.raises(ExceptionGroup) as failed:
        async with asyncio.timeout(10):
            await app._work(settings, asyncio.Event(), NatsLink(_Client()), Reader())

    assert failed.group_contains(ZeroDivisionError)


@pytest.mark.parametrize(
    ("work", "code", "said"),
    [
        (swallows_a_cancellation, 1, ["interrupted"]),
        (fails_when_cancelled, 1, ["interrupted"]),
        (finishes_when_cancelled, 0, []),
    ],
)
async def test_a_stopped_command_ends_and_reports_whether_it_was_interrupted(
    work: Callable[[], Coroutine[None, None, int]],
    code: int,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(terminal, "CANCEL_COMMAND_AGAIN_S", 0.1)
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, stop.set)
    heard: list[str] = []

    async with asyncio.timeout(10):
        ended_with = await terminal.run_command(
            work(), stop, interrupted=lambda: heard.append("interrupted")
        )

    assert (ended_with, heard) == (code, said)
