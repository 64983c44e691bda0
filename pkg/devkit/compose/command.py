"""A run of compose that is looked on, and ended when whoever looks on has seen enough."""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from threading import Thread
from typing import IO

from pkg.devkit.compose.engine import complaint
from pkg.devkit.errors import BidkitError
from pkg.devkit.signals import interrupted_once

LOOK_EVERY_S = 0.3
ENDS_WITHIN_S = 10.0
"""What compose may take to leave off when it is asked to."""

_CHILDREN_END_WITHIN_S = 1.0
"""Once the command itself has ended; they were asked when it was."""

_LAST_WORDS_WITHIN_S = 2.0
"""What a command that has ended wrote is there by then, whoever else holds its output."""

_NONE = 0  # asks only whether anybody would get it
_TRY_EVERY_S = 0.05
_LAST_LINES = 12
_PORT_TAKEN = re.compile(
    r"port is already allocated"  # by another container
    r"|bind.*address already in use"  # by a process
    r"|ports are not available"  # by one outside of the engine's virtual machine
)
Look = Callable[[], object]
"""Called every now and then; what it raises ends the run."""


def nobody() -> None:
    """Looks on and sees nothing."""


class ComposeFailed(BidkitError):  # noqa: N818 - see errors.py
    """Compose gave up. What it had started may be running."""

    def __init__(self, said: str) -> None:
        self.lines = [line.strip() for line in said.splitlines() if line.strip()]
        super().__init__(str(complaint(said)))

    @property
    def is_impatient(self) -> bool:
        """A container that others depend on was not healthy soon enough for compose."""
        return any("dependency failed to start" in line for line in self.lines)

    @property
    def taken_port(self) -> str | None:
        """The line that says so, when a port that was to be published is another's."""
        return next((line for line in self.lines if _PORT_TAKEN.search(line)), None)


def run(command: Sequence[str], *, environment: Mapping[str, str], look: Look = nobody) -> None:
    """Raises ComposeFailed, or what `look` raises, when the command is at its end.

    It has a session of its own: Ctrl-C at the terminal is for bidkit, which tells it by `look`.
    """
    lines: deque[str] = deque(maxlen=_LAST_LINES)
    with interrupted_once() as begun:
        # Closing its output, as a `with` would, waits for the reader, and that for any holder.
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            assert process.stdout is not None  # noqa: S101 - PIPE above
            reader = Thread(target=_read, args=(process.stdout, lines), daemon=True)
            reader.start()
            begun()
            _await(process, look)
        except BaseException:  # an interrupt too: compose must not outlive who looks on
            end(process)
            raise
    reader.join(_LAST_WORDS_WITHIN_S)
    if process.returncode:
        raise ComposeFailed("\n".join(lines.copy()))


def _await(process: subprocess.Popen[bytes], look: Look) -> None:
    while process.poll() is None:
        look()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(LOOK_EVERY_S)


def _read(output: IO[bytes], lines: deque[str]) -> None:
    with output:
        lines.extend(line.decode(errors="replace").rstrip() for line in output)


def end(process: subprocess.Popen[bytes], *, within_s: float | None = None) -> None:
    """With all it started, in the session that it must have of its own: docker's command does not
    hand a signal on to its plugin. No signal that comes meanwhile breaks it off.
    """
    limit_s = ENDS_WITHIN_S if within_s is None else within_s
    with interrupted_once():
        _signal(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(limit_s)
        deadline = time.monotonic() + _CHILDREN_END_WITHIN_S
        while _signal(process, _NONE) and time.monotonic() < deadline:
            time.sleep(_TRY_EVERY_S)
        _signal(process, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(limit_s)


def _signal(process: subprocess.Popen[bytes], number: int) -> bool:
    """Whether there is anything left of its session to get it."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):  # the latter of a Mac, where all have just ended
        return False
    return True
