"""A run of compose, on commands in its stead."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import FrameType

import pytest

from pkg.devkit.compose import command
from pkg.devkit.compose.command import ComposeFailed, run
from pkg.devkit.compose.project import Project
from pkg.devkit.compose.stack import Stack
from pkg.devkit.compose.state_dir import StateDir
from pkg.devkit.errors import NotReady
from pkg.devkit.system import Desired
from tests.unit.devkit.compose.standin import Engine, are_gone, await_fact, meanwhile, was_started


def hopeless() -> None:
    raise NotReady("it keeps ending.")


def test_when_the_look_fails_compose_is_ended_before_anybody_hears_of_it(
    state_dir: StateDir, engine: Engine
) -> None:
    was_started(state_dir)
    engine.will("compose up", lingers_s=60)

    def look() -> None:
        engine.awaits_call("compose up lingers")
        hopeless()

    began = time.monotonic()

    with pytest.raises(NotReady):
        Stack(state_dir).start(look)

    assert engine.calls[-1] == "compose up was ended"
    assert time.monotonic() - began < 10


def test_what_a_command_starts_ends_with_it(tmp_path: Path) -> None:
    # As docker's own command is: it starts the plugin, and hands no signal on to it.
    started = tmp_path / "started"
    wrapped = ("sh", "-c", f"trap : TERM; sh -c 'echo >{started}; exec sleep 60'")

    def look() -> None:
        # Before that it would be deaf for a moment, as what starts it is.
        await_fact(started.exists, seen=lambda: "no process")
        hopeless()

    began = time.monotonic()

    with pytest.raises(NotReady):
        run(wrapped, environment=os.environ, look=look)

    assert time.monotonic() - began < 10


@pytest.fixture
def pids(tmp_path: Path) -> Iterator[Path]:
    """A file for the number of what a test's command starts beside itself; ended afterwards."""
    file = tmp_path / "pid"
    yield file
    for pid in file.read_text().split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def test_what_is_left_of_a_command_and_deaf_ends_too(pids: Path) -> None:
    deaf = f"(trap '' TERM; exec sleep 40) & echo $! > {pids}.new; mv {pids}.new {pids}; wait"

    def look() -> None:
        await_fact(pids.exists, seen=lambda: "no process")
        hopeless()

    began = time.monotonic()

    with pytest.raises(NotReady):
        run(("sh", "-c", deaf), environment=os.environ, look=look)

    await_fact(lambda: are_gone(pids), seen=pids.read_text)
    assert time.monotonic() - began < 10


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """It interrupts, also where the tests themselves were told to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def ask(times: int = 1) -> None:
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)  # signals that come at once are one


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("before", [0, 1])
def test_however_often_a_person_asks_nothing_is_left_of_a_command_that_is_deaf(
    pids: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    """It is being ended for the first Ctrl-C, or for what the look has raised."""
    monkeypatch.setattr(command, "ENDS_WITHIN_S", 1.0)
    asked = tmp_path / "asked"
    deaf = f"trap 'echo >{asked}' TERM; echo $$ >{pids}.new; mv {pids}.new {pids}; "
    deaf += "while :; do sleep 0.1; done"

    def person() -> None:
        await_fact(pids.exists, seen=lambda: "no process")
        ask(before)
        await_fact(asked.exists, seen=lambda: "nobody asked it to end")
        ask(3)

    def look() -> None:
        if pids.exists() and not before:
            hopeless()

    with pytest.raises(KeyboardInterrupt), meanwhile(person):
        run(("sh", "-c", deaf), environment=os.environ, look=look)

    assert are_gone(pids)


@pytest.mark.usefixtures("ctrl_c")
def test_a_command_that_has_just_been_started_is_ended_too(pids: Path) -> None:
    starting = f"echo $$ >{pids}.new; mv {pids}.new {pids}; exec sleep 40"

    def profile(frame: FrameType, event: str, _: object) -> None:
        if event == "return" and frame.f_code is subprocess.Popen.__init__.__code__:
            sys.setprofile(None)
            await_fact(pids.exists, seen=lambda: "no process")
            ask()

    sys.setprofile(profile)
    with pytest.raises(KeyboardInterrupt):
        run(("sh", "-c", starting), environment=os.environ)

    await_fact(lambda: are_gone(pids), seen=pids.read_text)


@pytest.mark.parametrize(
    ("code", "outcome"), [(0, nullcontext()), (3, pytest.raises(ComposeFailed))]
)
def test_a_command_at_its_end_is_not_waited_for_though_something_holds_its_output(
    pids: Path, code: int, outcome: AbstractContextManager[object]
) -> None:
    left = f"sleep 40 & echo $! > {pids}; echo done; exit {code}"
    began = time.monotonic()

    with outcome:
        run(("sh", "-c", left), environment=os.environ)

    assert time.monotonic() - began < 8
    assert not are_gone(pids)


def test_a_failure_is_told_by_the_last_lines() -> None:
    with pytest.raises(ComposeFailed, match="docker failed: 20") as caught:
        run(("sh", "-c", "seq 20; exit 3"), environment=os.environ)

    assert caught.value.lines == [str(n) for n in range(9, 21)]


def test_only_what_is_scaled_is_touched(state_dir: StateDir, engine: Engine) -> None:
    Project(state_dir, Desired()).up({"api-gateway": 2})

    assert len(engine.ids()) == len(engine.ids("api-gateway")) == 2


def test_where_a_session_that_has_just_ended_may_not_be_told_anything_it_is_at_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a Mac, where nobody may signal what has ended and was not waited for."""

    def refused(_: int, __: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "killpg", refused)
    with subprocess.Popen(["true"], start_new_session=True) as process:
        command.end(process)

    assert process.returncode == 0
