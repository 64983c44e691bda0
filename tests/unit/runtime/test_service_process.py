"""Exit codes, and the message about bad settings, as an orchestrator sees them."""

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
def test_bad_settings_print_one_line_and_exit_2(arguments: list[str]) -> None:
    result = run("-m", "pkg.api", *arguments, env={"PARTITIONS": "many"})

    assert (result.returncode, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    for name in ("REDIS_URL", "NATS_URL", "PARTITIONS"):
        assert name in result.stderr


def test_unknown_command_prints_the_usage_and_exits_2() -> None:
    result = run("-m", "pkg.api", "bake", env=STORES)

    assert result.returncode == 2
    assert result.stderr.startswith("usage:")


def test_address_that_cannot_be_bound_exits_1() -> None:
    result = run("-m", "pkg.api", env=STORES | {"SERVER_ADDR": "fd:77"})

    assert result.returncode == 1


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
def test_result_of_main_decides_the_exit_code(arguments: list[str], code: int) -> None:
    assert run("-c", PROGRAM, *arguments).returncode == code
