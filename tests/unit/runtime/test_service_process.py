"""Exit codes and the one sentence about bad settings, as an orchestrator sees them."""

import pytest

from tests.unit.runtime.programs import run

STORES = {"REDIS_URL": "redis://127.0.0.1:1", "NATS_URL": "nats://127.0.0.1:1"}

PROGRAM = """
import asyncio, sys
from dataclasses import dataclass
from pkg.runtime import service_process
from pkg.runtime.settings.sections import LogSettings
async def main(settings, stop):
    match sys.argv[1]:
        case "fine": return None
        case "failed": return service_process.EXIT_FAILED
        case "raises": raise ZeroDivisionError("a defect")
        case "stopped":
            import os, signal
            os.kill(os.getpid(), getattr(signal, sys.argv[2]))
            await asyncio.wait_for(stop.wait(), 5)
sys.exit(service_process.run("sample", LogSettings, main))
"""


@pytest.mark.parametrize("arguments", [[], ["serve"], ["relay"]])
def test_bad_settings_are_one_sentence_and_exit_code_2(arguments: list[str]) -> None:
    ended = run("-m", "pkg.api", *arguments, env={"PARTITIONS": "many"})

    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(ended.stderr.splitlines()) == 1
    for name in ("REDIS_URL", "NATS_URL", "PARTITIONS"):
        assert name in ended.stderr


def test_an_unknown_command_is_told_the_usage_and_exits_2() -> None:
    ended = run("-m", "pkg.api", "bake", env=STORES)

    assert ended.returncode == 2
    assert ended.stderr.startswith("usage:")


def test_an_address_that_cannot_be_bound_exits_1() -> None:
    ended = run("-m", "pkg.api", env=STORES | {"SERVER_ADDR": "fd:77"})

    assert ended.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["fine"], 0),
        (["failed"], 1),
        (["raises"], 1),
        (["stopped", "SIGTERM"], 0),
        (["stopped", "SIGINT"], 0),
    ],
)
def test_exit_codes(arguments: list[str], code: int) -> None:
    assert run("-c", PROGRAM, *arguments).returncode == code
