"""Long commands of docker and terraform: heard line by line, and ended early by a check."""

import contextlib
import os
import queue
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import IO

from pkg.devkit.errors import BidkitError, MissingServer
from pkg.devkit.signals import Check, no_check, signals_deferred

CHECK_EVERY_S = 0.3
_LAST_LINES = 12
_LAST_WORDS_WITHIN_S = 2.0

Hear = Callable[[str], None]


class CommandFailed(BidkitError):  # noqa: N818 - see errors.py
    """A command ended with a code other than 0. What it had done stays."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n  ".join(lines) or "it ended without a word")
        self.lines = list(lines)


def run(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    check: Check = no_check,
    hear: Hear | None = None,
    stop: signal.Signals = signal.SIGTERM,
    ends_within_s: float = 10.0,
    given: str = "",
) -> str:
    """Its output, both streams. Raises CommandFailed with the last lines, or what `check` raises,
    once the command has been ended with the signal `stop`.

    The command has a session of its own: Ctrl-C at the terminal reaches it through `check` alone.
    """
    lines: deque[str] = deque(maxlen=4000)
    heard: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    try:
        process = subprocess.Popen(
            command,
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise MissingServer(f"the command {command[0]} is not on PATH; install it.") from None
    assert process.stdin is not None  # noqa: S101 - PIPE above
    assert process.stdout is not None  # noqa: S101
    Thread(target=_read, args=(process.stdout, heard), daemon=True).start()
    try:
        with contextlib.suppress(BrokenPipeError), process.stdin as writing:
            writing.write(given.encode())
        while (line := _next(heard, process)) is not None:
            if line:
                lines.append(line)
                if hear:
                    hear(line)
            check()
        code = process.wait()
    except BaseException:  # interrupted too: nobody else would end the command
        _end(process, stop, ends_within_s)
        raise
    if code:
        raise CommandFailed(list(lines)[-_LAST_LINES:])
    return "\n".join(lines)


def _read(output: IO[bytes], heard: "queue.SimpleQueue[str | None]") -> None:
    with output:
        for line in output:
            heard.put(line.decode(errors="replace").rstrip())
    heard.put(None)


def _next(heard: "queue.SimpleQueue[str | None]", process: subprocess.Popen[bytes]) -> str | None:
    """Empty if it has said nothing for a while; None after its last line."""
    # A process that it left behind may keep its output open.
    ended = process.poll() is not None
    try:
        return heard.get(timeout=_LAST_WORDS_WITHIN_S if ended else CHECK_EVERY_S)
    except queue.Empty:
        return None if ended else ""


def _end(process: subprocess.Popen[bytes], stop: signal.Signals, within_s: float) -> None:
    """First only the command itself, as Terraform ends its providers when its own work is done."""
    with signals_deferred():
        process.send_signal(stop)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(within_s)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(within_s)
