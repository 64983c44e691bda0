"""A process that hangs ends itself, and only that one."""

import subprocess
import sys

import pytest

from pkg.runtime.watchdog import EXIT_STUCK
from tests.unit.runtime.programs import ROOT, run

PROGRAM = """
import asyncio, os, signal, subprocess, sys, time
from dataclasses import dataclass
from pkg.runtime import service_process
from pkg.runtime.settings.sections import LogSettings, ServingSettings

@dataclass(frozen=True, kw_only=True)
class Settings(ServingSettings, LogSettings): ...

def held_up(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end: pass

async def main(settings, stop):
    match sys.argv[1]:
        case "hangs": held_up(20)
        case "hangs on its log":
            while True: print("x" * 1000, file=sys.stderr)
        case "waits": await asyncio.sleep(2)
        case "hangs now and then":
            for _ in range(8):
                held_up(0.2)
                await asyncio.sleep(0.3)
        case "is paused":
            subprocess.Popen(["sh", "-c", f"sleep 2; kill -CONT {os.getpid()}"])
            os.kill(os.getpid(), signal.SIGSTOP)
            await asyncio.sleep(0.5)
sys.exit(service_process.run("sample", Settings, main))
"""
STUCK_AFTER = {"STUCK_AFTER_S": "0.8", "PATH": "/usr/bin:/bin"}


def test_a_process_that_hangs_ends_and_says_where() -> None:
    ended = run("-c", PROGRAM, "hangs", env=STUCK_AFTER)

    assert ended.returncode == EXIT_STUCK
    assert "held_up" in ended.stderr
    assert "the event loop stands still" in ended.stdout + ended.stderr


def test_a_process_that_hangs_on_its_log_ends_without_a_word() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "hangs on its log"],
        cwd=ROOT,
        env=STUCK_AFTER,
        stderr=subprocess.PIPE,
    ) as process:
        # Nobody reads, until it has ended.
        assert process.wait(timeout=20) == EXIT_STUCK


@pytest.mark.parametrize("how", ["waits", "hangs now and then", "is paused"])
def test_a_process_that_runs_goes_on(how: str) -> None:
    assert run("-c", PROGRAM, how, env=STUCK_AFTER).returncode == 0


def test_nobody_watches_where_it_is_switched_off() -> None:
    program = PROGRAM.replace("held_up(20)", "held_up(2)")

    assert run("-c", program, "hangs", env={**STUCK_AFTER, "STUCK_AFTER_S": "0"}).returncode == 0
