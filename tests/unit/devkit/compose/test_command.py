"""Ending long commands; shell scripts replace compose."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from pkg.devkit.compose import command
from pkg.devkit.compose.command import ComposeFailed, run
from pkg.devkit.errors import NotReady
from tests.unit.devkit.compose.doubles import are_gone, await_fact, concurrently


def fail() -> None:
    raise NotReady("it keeps ending.")


def test_ending_a_command_ends_its_children(tmp_path: Path) -> None:
    # Like docker, which does not pass signals on to its plugin.
    started = tmp_path / "started"
    wrapped = ("sh", "-c", f"trap : TERM; sh -c 'echo >{started}; exec sleep 60'")

    def check() -> None:
        # Until then the child inherits the ignored signal.
        await_fact(started.exists, seen=lambda: "no process")
        fail()

    began = time.monotonic()

    with pytest.raises(NotReady):
        run(wrapped, environment=os.environ, check=check)

    assert time.monotonic() - began < 10


@pytest.fixture
def pids(tmp_path: Path) -> Iterator[Path]:
    """A file for the pids of processes that a test starts; they are killed afterwards."""
    file = tmp_path / "pid"
    yield file
    for pid in file.read_text().split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def test_child_that_ignores_sigterm_is_killed(pids: Path) -> None:
    deaf = f"(trap '' TERM; exec sleep 40) & echo $! > {pids}.new; mv {pids}.new {pids}; wait"

    def check() -> None:
        await_fact(pids.exists, seen=lambda: "no process")
        fail()

    began = time.monotonic()

    with pytest.raises(NotReady):
        run(("sh", "-c", deaf), environment=os.environ, check=check)

    await_fact(lambda: are_gone(pids), seen=pids.read_text)
    assert time.monotonic() - began < 10


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, even if the test run ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press_ctrl_c(times: int = 1) -> None:
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)  # simultaneous signals are merged


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("before", [0, 1])
def test_repeated_interrupts_do_not_leave_a_command_that_ignores_sigterm_running(
    pids: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    """The command is being ended after a first Ctrl-C or after the check has failed."""
    monkeypatch.setattr(command, "ENDS_WITHIN_S", 1.0)
    asked = tmp_path / "asked"
    deaf = f"trap 'echo >{asked}' TERM; echo $$ >{pids}.new; mv {pids}.new {pids}; "
    deaf += "while :; do sleep 0.1; done"

    def user() -> None:
        await_fact(pids.exists, seen=lambda: "no process")
        press_ctrl_c(before)
        await_fact(asked.exists, seen=lambda: "no SIGTERM")
        press_ctrl_c(3)

    def check() -> None:
        if pids.exists() and not before:
            fail()

    with pytest.raises(KeyboardInterrupt), concurrently(user):
        run(("sh", "-c", deaf), environment=os.environ, check=check)

    assert are_gone(pids)


@pytest.mark.parametrize(
    ("code", "outcome"), [(0, nullcontext()), (3, pytest.raises(ComposeFailed))]
)
def test_command_has_ended_even_if_its_child_keeps_the_output_open(
    pids: Path, code: int, outcome: AbstractContextManager[object]
) -> None:
    left = f"sleep 40 & echo $! > {pids}; echo done; exit {code}"
    began = time.monotonic()

    with outcome:
        run(("sh", "-c", left), environment=os.environ)

    assert time.monotonic() - began < 8
    assert not are_gone(pids)


def test_error_keeps_the_last_lines() -> None:
    with pytest.raises(ComposeFailed, match="docker failed: 20") as caught:
        run(("sh", "-c", "seq 20; exit 3"), environment=os.environ)

    assert caught.value.lines == [str(n) for n in range(9, 21)]


def test_session_that_must_not_be_signalled_counts_as_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """macOS refuses signals to a zombie."""

    def refused(_: int, __: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "killpg", refused)
    with subprocess.Popen(["true"], start_new_session=True) as process:
        command.end(process)

    assert process.returncode == 0
