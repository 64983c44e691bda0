"""Long commands that a check ends, with shell scripts in place of compose."""

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
from tests.unit.devkit.compose.doubles import are_gone, await_fact, meanwhile


def hopeless() -> None:
    raise NotReady("it keeps ending.")


def test_what_a_command_has_started_ends_with_it(tmp_path: Path) -> None:
    # As docker does: it starts its plugin and does not pass signals on to it.
    started = tmp_path / "started"
    wrapped = ("sh", "-c", f"trap : TERM; sh -c 'echo >{started}; exec sleep 60'")

    def check() -> None:
        # Until then the child inherits the ignored signal.
        await_fact(started.exists, seen=lambda: "no process")
        hopeless()

    began = time.monotonic()

    with pytest.raises(NotReady):
        run(wrapped, environment=os.environ, check=check)

    assert time.monotonic() - began < 10


@pytest.fixture
def pids(tmp_path: Path) -> Iterator[Path]:
    """A file for the pids of what a test's command starts; they are killed afterwards."""
    file = tmp_path / "pid"
    yield file
    for pid in file.read_text().split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def test_a_child_that_ignores_sigterm_and_outlives_its_command_ends_too(pids: Path) -> None:
    deaf = f"(trap '' TERM; exec sleep 40) & echo $! > {pids}.new; mv {pids}.new {pids}; wait"

    def check() -> None:
        await_fact(pids.exists, seen=lambda: "no process")
        hopeless()

    began = time.monotonic()

    with pytest.raises(NotReady):
        run(("sh", "-c", deaf), environment=os.environ, check=check)

    await_fact(lambda: are_gone(pids), seen=pids.read_text)
    assert time.monotonic() - began < 10


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C interrupts, even if the test run ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def ask(times: int = 1) -> None:
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)  # signals that come at once are one


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("before", [0, 1])
def test_repeated_interrupts_do_not_leave_a_command_that_ignores_sigterm_running(
    pids: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    """It is being ended because of the first Ctrl-C, or of what the check has raised."""
    monkeypatch.setattr(command, "ENDS_WITHIN_S", 1.0)
    asked = tmp_path / "asked"
    deaf = f"trap 'echo >{asked}' TERM; echo $$ >{pids}.new; mv {pids}.new {pids}; "
    deaf += "while :; do sleep 0.1; done"

    def person() -> None:
        await_fact(pids.exists, seen=lambda: "no process")
        ask(before)
        await_fact(asked.exists, seen=lambda: "nobody asked it to end")
        ask(3)

    def check() -> None:
        if pids.exists() and not before:
            hopeless()

    with pytest.raises(KeyboardInterrupt), meanwhile(person):
        run(("sh", "-c", deaf), environment=os.environ, check=check)

    assert are_gone(pids)


@pytest.mark.parametrize(
    ("code", "outcome"), [(0, nullcontext()), (3, pytest.raises(ComposeFailed))]
)
def test_a_command_has_ended_although_its_child_holds_the_output(
    pids: Path, code: int, outcome: AbstractContextManager[object]
) -> None:
    left = f"sleep 40 & echo $! > {pids}; echo done; exit {code}"
    began = time.monotonic()

    with outcome:
        run(("sh", "-c", left), environment=os.environ)

    assert time.monotonic() - began < 8
    assert not are_gone(pids)


def test_a_failure_keeps_the_last_lines() -> None:
    with pytest.raises(ComposeFailed, match="docker failed: 20") as caught:
        run(("sh", "-c", "seq 20; exit 3"), environment=os.environ)

    assert caught.value.lines == [str(n) for n in range(9, 21)]


def test_a_session_that_may_not_be_signalled_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """macOS refuses signals to a process that has ended and was not waited for."""

    def refused(_: int, __: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "killpg", refused)
    with subprocess.Popen(["true"], start_new_session=True) as process:
        command.end(process)

    assert process.returncode == 0
