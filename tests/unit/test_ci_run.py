"""`.ci/run` around the tests: what they say, how they end, and what they leave on the engine."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.waiting import until

SCRIPT = Path(__file__).resolve().parents[2] / ".ci/run"
SUMMARY = "==== 3 passed in 1.00s ===="

DOCKER = """#!/bin/sh
case $1 in
    ps) cat engine/containers ;;
    volume) cat engine/volumes ;;
    network) cat engine/networks ;;
esac
"""


@dataclass
class Checkout:
    """One with stand-ins: a `bidkit` that is told what to do, a `docker` that reads files."""

    folder: Path

    def __post_init__(self) -> None:
        for name in (".ci", "bin", "engine", "compose"):
            (self.folder / name).mkdir(parents=True)
        shutil.copy(SCRIPT, self.folder / ".ci/run")
        self.engine("containers", "volumes", "networks")
        self.program("bin/docker", DOCKER)
        self.program("bin/sleep", "#!/bin/sh\n")
        self.tests("")

    def engine(self, *kinds: str, line: str = "") -> None:
        for kind in kinds:
            (self.folder / "engine" / kind).write_text(f"{line}\n" if line else "")

    def program(self, name: str, text: str) -> None:
        file = self.folder / name
        file.write_text(text)
        file.chmod(0o755)

    def tests(self, work: str, *, code: int = 0) -> None:
        self.program("bidkit", f"#!/bin/bash\n{work}\necho '{SUMMARY}'\nexit {code}\n")

    @property
    def environment(self) -> dict[str, str]:
        ours = {name: text for name, text in os.environ.items() if name != "CI_REQUIRE"}
        return {**ours, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}

    def run(self) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [self.folder / ".ci/run"],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "group" / "checkout")


def test_the_last_line_and_the_exit_code_are_the_tests(checkout: Checkout) -> None:
    checkout.tests("", code=3)

    ran = checkout.run()

    assert (ran.returncode, ran.stdout.splitlines()[-1], ran.stderr) == (3, SUMMARY, "")


@pytest.mark.parametrize(
    ("kind", "line", "name"),
    [
        (
            "containers",
            "container|bidding-1a-redis-1|bidding-1a|/gone/compose|",
            "bidding-1a-redis-1",
        ),
        ("containers", "container|bidding-edge-1a|||", "bidding-edge-1a"),
        ("containers", "container|vivid_hare|||4194305", "vivid_hare"),
        ("volumes", "volume|bidding-1a_redis-data|bidding-1a||", "bidding-1a_redis-data"),
        ("networks", "network|bidding-1a_default|bidding-1a||", "bidding-1a_default"),
    ],
)
def test_what_tests_leave_is_named_and_fails_the_run(
    checkout: Checkout, kind: str, line: str, name: str
) -> None:
    checkout.tests(f"echo '{line}' >>engine/{kind}")

    ran = checkout.run()

    assert (ran.returncode, ran.stdout.splitlines()[-1]) == (1, SUMMARY)
    assert ran.stderr == f"left by the tests:\n{kind[:-1]} {name}\n"


def test_tests_that_fail_and_leave_something_end_with_their_own_code(checkout: Checkout) -> None:
    checkout.tests("echo 'volume|bidding-1a_redis-data|bidding-1a||' >engine/volumes", code=3)

    ran = checkout.run()

    assert ran.returncode == 3
    assert "volume bidding-1a_redis-data" in ran.stderr


def test_what_was_there_before_is_not_the_tests(checkout: Checkout) -> None:
    checkout.engine("volumes", line="volume|bidding-1a_redis-data|bidding-1a||")

    ran = checkout.run()

    assert (ran.returncode, ran.stderr) == (0, "")


def test_what_others_run_meanwhile_is_not_the_tests(checkout: Checkout, tmp_path: Path) -> None:
    """Another checkout, the tests of one on containers, and who has nothing to do with us."""
    other = Checkout(tmp_path / "other")
    checkout.tests(
        f"""
        echo 'container|bidding-2b-redis-1|bidding-2b|{other.folder}/compose|' >>engine/containers
        echo 'container|vivid_hare|||{os.getpid()}' >>engine/containers
        echo 'container|shop-redis-1|shop|/shop|' >>engine/containers
        echo 'volume|bidding-2b_redis-data|bidding-2b||' >>engine/volumes
        echo 'network|bidding-2b_default|bidding-2b||' >>engine/networks
        """
    )

    ran = checkout.run()

    assert (ran.returncode, ran.stderr) == (0, "")


def test_what_goes_away_meanwhile_is_not_left(checkout: Checkout) -> None:
    checkout.program("bin/sleep", "#!/bin/sh\n: >engine/volumes\n")
    checkout.tests("echo 'volume|bidding-1a_redis-data|bidding-1a||' >engine/volumes")

    ran = checkout.run()

    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_to_the_script_alone_ends_the_tests(
    checkout: Checkout, number: signal.Signals
) -> None:
    checkout.tests("trap 'echo >ended; exit 7' TERM\n>began\nread -t 20 <>fifo")
    os.mkfifo(checkout.folder / "fifo")
    running = await asyncio.create_subprocess_exec(
        checkout.folder / ".ci/run", env=checkout.environment, stdout=subprocess.DEVNULL
    )
    await until((checkout.folder / "began").exists, within_s=10)

    running.send_signal(number)

    assert await asyncio.wait_for(running.wait(), timeout=10) == 7
    assert (checkout.folder / "ended").exists()


def test_tests_take_an_interrupt_as_they_would_by_themselves(checkout: Checkout) -> None:
    checkout.tests("kill -INT $$\ntouch went-on")

    ran = checkout.run()

    assert ran.returncode == 128 + signal.SIGINT
    assert not (checkout.folder / "went-on").exists()


def test_no_empty_array_is_read_as_if_it_were_set() -> None:
    """To a bash before 4.4, which is not there to ask, it is unbound."""
    text = SCRIPT.read_text(encoding="utf-8")

    assert "set -euo pipefail" in text
    assert re.findall(r"\$\{\w+\[[*@]\]\}", text) == []
