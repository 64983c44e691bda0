"""Long compose commands, which a check can end early together with all they started."""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections import deque
from collections.abc import Mapping, Sequence
from threading import Thread
from typing import IO

from pkg.devkit.docker_cli import failure
from pkg.devkit.errors import BidkitError
from pkg.devkit.signals import Check, no_check, signals_deferred

CHECK_EVERY_S = 0.3
ENDS_WITHIN_S = 10.0
"""From SIGTERM to SIGKILL."""

_CHILDREN_END_WITHIN_S = 1.0
"""After the command itself; they got SIGTERM when it did."""

_LAST_WORDS_WITHIN_S = 2.0
"""How long to read on after the command; a process it left behind may keep its output open."""

_NONE = 0  # not delivered; tells whether any process would receive it
_TRY_EVERY_S = 0.05
_LAST_LINES = 12
_PORT_TAKEN = re.compile(
    r"port is already allocated"  # by another container
    r"|bind.*address already in use"  # by a process
    r"|ports are not available"  # by one outside the engine's virtual machine
)


class ComposeFailed(BidkitError):  # noqa: N818 - see errors.py
    """A compose command failed. What it had started may be running."""

    def __init__(self, said: str) -> None:
        self.lines = [line.strip() for line in said.splitlines() if line.strip()]
        super().__init__(str(failure(said)))

    @property
    def is_impatient(self) -> bool:
        """Compose stopped waiting for a container that others depend on."""
        return any("dependency failed to start" in line for line in self.lines)

    @property
    def taken_port(self) -> str | None:
        """The line about a port that is already in use, if that was the failure."""
        return next((line for line in self.lines if _PORT_TAKEN.search(line)), None)


def run(command: Sequence[str], *, environment: Mapping[str, str], check: Check = no_check) -> None:
    """Raises ComposeFailed, or what `check` raises once the command has been ended.

    The command has a session of its own: Ctrl-C at the terminal reaches it through `check` alone.
    """
    lines: deque[str] = deque(maxlen=_LAST_LINES)
    # No `with`: leaving it would wait for every process that holds the output.
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
        wait(process, check)
    except BaseException:
        end(process)
        raise
    reader.join(_LAST_WORDS_WITHIN_S)
    if process.returncode:
        raise ComposeFailed("\n".join(lines.copy()))


def wait(process: subprocess.Popen[bytes], check: Check) -> int:
    """Returns the exit code."""
    while (code := process.poll()) is None:
        check()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(CHECK_EVERY_S)
    return code


def _read(output: IO[bytes], lines: deque[str]) -> None:
    with output:
        lines.extend(line.decode(errors="replace").rstrip() for line in output)


def end(process: subprocess.Popen[bytes], *, within_s: float | None = None) -> None:
    """Ends the process and all it started; it must lead a session of its own.

    The whole session gets the signal, as docker does not pass it on to its compose plugin.
    """
    limit_s = ENDS_WITHIN_S if within_s is None else within_s
    with signals_deferred():
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
    """Returns whether any process of its session is left."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):  # macOS raises the latter once all have ended
        return False
    return True
