"""A system whose terminal or output pipe is closed."""

import asyncio
import fcntl
import json
import os
import pty
import signal
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from pkg.trials.waiting import until
from tests.integration.devkit.conftest import Bidkit, alive

pytestmark = pytest.mark.timeout(200)


async def test_closed_terminal_stops_the_system_gracefully(bidkit: Bidkit) -> None:
    with in_a_terminal(bidkit, controlling=True) as (foreground, terminal, shown):
        # Before this line, closing the terminal would interrupt the start.
        await until(lambda: b"Ctrl-C stops it." in shown, within_s=100)
        processes = bidkit.processes()

        close_terminal(terminal)

        await until(lambda: foreground.poll() is not None, within_s=30)
    assert foreground.returncode == 0
    assert alive(processes) == []
    if bidkit.backend == "process":
        log = (bidkit.home / "logs" / "supervisor.log").read_text()
        assert "stopping everything, in order" in log
        assert "hurrying" not in log


async def test_down_stops_a_system_whose_terminal_was_closed(bidkit: Bidkit) -> None:
    with in_a_terminal(bidkit, controlling=False) as (foreground, terminal, _):
        await until(lambda: all_ready(bidkit), within_s=100)
        processes = bidkit.processes()
        close_terminal(terminal)

        ran = bidkit("down")

        await until(lambda: foreground.poll() is not None, within_s=5)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[-1] == "Everything is stopped."
    assert alive(processes) == []


async def test_with_nohup_the_system_outlives_the_terminal(bidkit: Bidkit) -> None:
    foreground = await asyncio.create_subprocess_exec(
        *("nohup", *bidkit.command("up", *bidkit.ports)),
        env=bidkit.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    await until(lambda: all_ready(bidkit), within_s=100)

    foreground.send_signal(signal.SIGHUP)

    assert bidkit("scale", "api=2").code == 0  # a system being stopped would refuse it
    assert all_ready(bidkit)
    assert bidkit("down").code == 0
    assert await asyncio.wait_for(foreground.wait(), 60) == 0


def test_closed_pipe_stops_the_system_gracefully(bidkit: Bidkit) -> None:
    with subprocess.Popen(
        bidkit.command("up", *bidkit.ports),
        env=bidkit.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as foreground:
        assert foreground.stdout is not None
        assert foreground.stderr is not None
        foreground.stdout.readline()
        # Soon: after its last line `up` has nothing to say, and would not notice.
        processes = started(bidkit)

        foreground.stdout.close()

        foreground.wait(timeout=60)
        assert foreground.stderr.read() == b""
    assert foreground.returncode == 0
    assert alive(processes) == []
    assert bidkit("get").code == 3


def started(bidkit: Bidkit) -> list[psutil.Process]:
    """What runs so far. On processes without `bidkit get`, which may take as long as the start."""
    if bidkit.backend != "process":
        return bidkit.processes()
    supervisor = psutil.Process(bidkit.supervisor)
    return [supervisor, *supervisor.children(recursive=True)]


def test_down_and_detached_up_work_with_a_closed_stdout(bidkit: Bidkit) -> None:
    assert run_without_reader(bidkit, "up", "-d", *bidkit.ports) == (0, b"")
    assert all_ready(bidkit)
    processes = bidkit.processes()

    assert run_without_reader(bidkit, "down") == (0, b"")

    assert alive(processes) == []
    assert bidkit("get").code == 3


def run_without_reader(bidkit: Bidkit, *arguments: str) -> tuple[int, bytes]:
    """The exit code and stderr of a verb whose stdout is closed at once."""
    with subprocess.Popen(
        bidkit.command(*arguments),
        env=bidkit.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as ran:
        assert ran.stdout is not None
        assert ran.stderr is not None
        ran.stdout.close()
        return ran.wait(timeout=150), ran.stderr.read()


@contextmanager
def in_a_terminal(
    bidkit: Bidkit, *, controlling: bool
) -> Iterator[tuple["subprocess.Popen[bytes]", int, bytearray]]:
    """Runs `up` in a terminal. Yields the process, the terminal and its output.

    Closing a controlling terminal sends SIGHUP; with another one only writes fail.
    """
    master, slave = pty.openpty()
    shown = bytearray()

    def take_terminal() -> None:
        if controlling:
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    foreground = subprocess.Popen(
        bidkit.command("up", *bidkit.ports),
        env={**bidkit.environment, "TERM": "xterm"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=take_terminal,  # noqa: PLW1509 - one system call
    )
    os.close(slave)
    asyncio.get_running_loop().add_reader(master, lambda: shown.extend(os.read(master, 65536)))
    try:
        yield foreground, master, shown
    finally:
        if foreground.poll() is None:
            foreground.kill()
        foreground.wait()


def close_terminal(terminal: int) -> None:
    asyncio.get_running_loop().remove_reader(terminal)
    os.close(terminal)


def all_ready(bidkit: Bidkit) -> bool:
    ran = bidkit("get", "-o", "json")
    if ran.code:
        return False
    return all(one["ready"] == one["desired"] for one in json.loads(ran.out)["services"])
