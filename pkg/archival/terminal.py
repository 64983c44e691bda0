"""What the commands share at the terminal: lines of progress and a question."""

import asyncio
import sys
import time
from collections.abc import Callable

_SHOW_EVERY_S = 1.0


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
