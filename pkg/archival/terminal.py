"""What the commands share at the terminal: running, saying, progress and a question."""

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

import asyncpg

from pkg.archival.schema import SchemaTooNewError
from pkg.archival.store import AWAY
from pkg.runtime.background import CANCEL_COMMAND_AGAIN_S, ended
from pkg.runtime.service_process import EXIT_FAILED

NO_ARCHIVE = (SchemaTooNewError, asyncpg.UndefinedTableError, *AWAY)
"""What a command cannot work with; ``why_no_archive`` says it."""

_SHOW_EVERY_S = 1.0


async def run_command(
    work: Coroutine[Any, Any, int], stop: asyncio.Event, *, interrupted: Callable[[], None]
) -> int:
    """The exit code of ``work``, which ends when ``stop`` is set: then ``interrupted`` says so."""
    working = asyncio.create_task(work)
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    unfinished = not working.done()
    await ended(working, again_s=CANCEL_COMMAND_AGAIN_S)
    # An error may come from the interruption itself; a result counts despite it.
    if working.cancelled() or (unfinished and working.exception()):
        interrupted()
        return EXIT_FAILED
    return working.result()


def why_no_archive(error: BaseException) -> str:
    """For one of NO_ARCHIVE."""
    if isinstance(error, SchemaTooNewError):
        return str(error)
    if isinstance(error, asyncpg.UndefinedTableError):
        return "the archive has no schema yet; the archival-worker creates it when it starts"
    return f"cannot reach PostgreSQL: {str(error) or type(error).__name__}"


def say(text: str | None) -> None:
    """The outcome, on standard output."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def complain(command: str, line: str) -> None:
    """Everything else, on standard error."""
    sys.stderr.write(f"{command}: {line}\n")
    sys.stderr.flush()


class Progress:
    """Shows lines, at most one a second."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._shown_at = time.monotonic()

    def show(self, line: str) -> None:
        now = time.monotonic()
        if now - self._shown_at >= _SHOW_EVERY_S:
            self._shown_at = now
            self._show(line)


async def agreed(question: str) -> bool:
    """Asks on the terminal. Uses no thread, so that Ctrl-C ends the wait."""
    sys.stderr.write(question)
    sys.stderr.flush()
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str] = loop.create_future()

    def read() -> None:
        if not answer.done():
            answer.set_result(sys.stdin.readline())

    loop.add_reader(sys.stdin.fileno(), read)
    try:
        return (await answer).strip().lower() in {"y", "yes"}
    finally:
        loop.remove_reader(sys.stdin.fileno())
