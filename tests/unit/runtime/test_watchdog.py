"""A process that hangs ends itself; one that does not hang goes on."""

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

def block_loop(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end: pass

async def main(settings, stop):
    match sys.argv[1]:
        case "hangs": block_loop(20)
        case "hangs on its log":
            while True: print("x" * 1000, file=sys.stderr)
        case "waits": await asyncio.sleep(2)
        case "hangs now and then":
            for _ in range(8):
                block_loop(0.2)
                await asyncio.sleep(0.3)
        case "is paused":
            subprocess.Popen(["sh", "-c", f"sleep 2; kill -CONT {os.getpid()}"])
            os.kill(os.getpid(), signal.SIGSTOP)
            await asyncio.sleep(0.5)
sys.exit(service_process.run("sample", Settings, main))
"""
STUCK_AFTER = {"STUCK_AFTER_S": "0.8", "PATH": "/usr/bin:/bin"}


def test_hanging_process_exits_and_dumps_its_stack() -> None:
    result = run("-c", PROGRAM, "hangs", env=STUCK_AFTER)

    assert result.returncode == EXIT_STUCK
    assert "block_loop" in result.stderr
    assert "the event loop stands still" in result.stdout + result.stderr


def test_process_that_hangs_on_its_log_exits_without_logging() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "hangs on its log"],
        cwd=ROOT,
        env=STUCK_AFTER,
        stderr=subprocess.PIPE,
    ) as process:
        # Nobody reads the pipe until the process has ended.
        assert process.wait(timeout=20) == EXIT_STUCK


@pytest.mark.parametrize("how", ["waits", "hangs now and then", "is paused"])
def test_process_that_does_not_hang_is_left_alone(how: str) -> None:
    assert run("-c", PROGRAM, how, env=STUCK_AFTER).returncode == 0


def test_setting_0_disables_the_watchdog() -> None:
    program = PROGRAM.replace("block_loop(20)", "block_loop(2)")

    assert run("-c", program, "hangs", env={**STUCK_AFTER, "STUCK_AFTER_S": "0"}).returncode == 0
