"""Ends a process whose event loop stands still.

Docker and systemd start again what ended, not what hangs; so what hangs ends itself, and leaves the
stack of what held it up. (Kubernetes, ECS and bidkit's processes also ask from outside.)
"""

import asyncio
import faulthandler
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pkg.runtime import logs

EXIT_STUCK = 70
SAID_WITHIN_S = 3.0
"""For the last words; then it ends without them."""

_EVERY_S = 1.0

log = logs.get("watchdog")


@contextmanager
def watchdog(loop: asyncio.AbstractEventLoop, *, stuck_after_s: float) -> Iterator[None]:
    """While inside, a loop that runs nothing for so many seconds ends the process. 0: never.

    Only seconds count in which this process itself ran: after a pause of the whole of it, or of its
    machine, the loop has its full time again. What keeps the interpreter's lock is not noticed.
    """
    if not stuck_after_s:
        yield
        return
    every_s = min(_EVERY_S, stuck_after_s / 4)
    beats = 0
    left = threading.Event()

    def beat() -> None:
        nonlocal beats
        beats += 1
        if not left.is_set():
            loop.call_later(every_s, beat)

    def watch() -> None:
        seen, missed = -1, 0
        while not left.wait(every_s):
            missed = missed + 1 if beats == seen else 0
            seen = beats
            if missed * every_s >= stuck_after_s:
                # The loop may hang on its log, which is then no place for last words.
                last_resort = threading.Timer(SAID_WITHIN_S, os._exit, (EXIT_STUCK,))
                last_resort.daemon = True
                last_resort.start()
                log.critical("the event loop stands still; ending", seconds=stuck_after_s)
                faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
                os._exit(EXIT_STUCK)

    loop.call_soon(beat)
    thread = threading.Thread(target=watch, name="watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        left.set()
        thread.join()
