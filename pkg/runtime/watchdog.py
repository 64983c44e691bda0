"""Ends a process whose event loop hangs.

Docker and systemd restart a process that exited, not one that hangs. So a hanging process dumps its
stacks and exits. (Kubernetes, ECS and bidkit's process backend also probe from outside.)
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
DUMP_WITHIN_S = 3.0
"""Limit for the last log line and the stack dump. The process then exits without them."""

_EVERY_S = 1.0

log = logs.get("watchdog")


@contextmanager
def watchdog(loop: asyncio.AbstractEventLoop, *, stuck_after_s: float) -> Iterator[None]:
    """Ends the process if the loop runs nothing for ``stuck_after_s`` seconds; 0 disables it.

    Only time during which the process ran counts: after the process or its machine was paused, the
    loop has its full time again. Code that holds the GIL is not noticed.
    """
    if not stuck_after_s:
        yield
        return
    every_s = min(_EVERY_S, stuck_after_s / 4)
    beats = 0
    exited = threading.Event()

    def beat() -> None:
        nonlocal beats
        beats += 1
        if not exited.is_set():
            loop.call_later(every_s, beat)

    def watch() -> None:
        seen, missed = -1, 0
        while not exited.wait(every_s):
            missed = missed + 1 if beats == seen else 0
            seen = beats
            if missed * every_s >= stuck_after_s:
                # If the loop hangs on writing its log, so will this thread.
                last_resort = threading.Timer(DUMP_WITHIN_S, os._exit, (EXIT_STUCK,))
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
        exited.set()
        thread.join()
