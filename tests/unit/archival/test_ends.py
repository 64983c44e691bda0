"""How the worker and its commands end when a task swallows a cancellation.

Before Python 3.12, ``wait_for`` does that if it finishes or times out at the same moment.
"""

import asyncio
from collections.abc import Awaitable, Callable
from types import ModuleType

import pytest

from pkg.archival import app
from pkg.archival.audit import command as audit
from pkg.archival.audit.command import AuditOptions, run_audit
from pkg.archival.intake import Reader
from pkg.archival.restore import command as restore
from pkg.archival.restore.command import RestoreOptions, run_restore
from pkg.archival.settings import ArchivalSettings, AuditSettings, RestoreSettings
from pkg.runtime.nats_link import NatsLink, _Client
from pkg.runtime.settings.loading import load

STORES = {
    "POSTGRES_URL": "postgresql://bidding@db/bidding",
    "NATS_URL": "nats://nats",
    "REDIS_URL": "redis://redis",
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


def _audit(stop: asyncio.Event) -> Awaitable[int]:
    options = AuditOptions(as_json=False, every_item=False, wait_s=0)
    return run_audit(load(AuditSettings, STORES), stop, options=options)


def _restore(stop: asyncio.Event) -> Awaitable[int]:
    options = RestoreOptions(dry_run=False, yes=True, as_json=False)
    return run_restore(load(RestoreSettings, STORES), stop, options=options)


@pytest.mark.parametrize(
    ("work", "code", "said"),
    [
        (swallows_a_cancellation, 1, "interrupted"),
        (fails_when_cancelled, 1, "interrupted"),
        (finishes_when_cancelled, 0, ""),
    ],
)
@pytest.mark.parametrize(
    ("module", "run"), [(audit, _audit), (restore, _restore)], ids=["audit", "restore"]
)
async def test_a_stopped_command_ends_and_reports_whether_it_was_interrupted(
    module: ModuleType,
    run: Callable[[asyncio.Event], Awaitable[int]],
    work: Callable[..., Awaitable[int]],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, run.__name__, work)
    monkeypatch.setattr(module, "CANCEL_COMMAND_AGAIN_S", 0.1)
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, stop.set)

    async with asyncio.timeout(10):
        assert await run(stop) == code

    complaint = capsys.readouterr().err
    assert complaint.partition(": ")[2].startswith(said)
    assert bool(complaint) is bool(said)
