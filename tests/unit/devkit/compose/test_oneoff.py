"""An audit or a restore that is told to end."""

import re
import signal

import pytest

from pkg.devkit.compose.state_dir import StateDir
from tests.unit.devkit.compose.standin import Engine, are_gone, hands_nothing_on, was_started
from tests.unit.devkit.compose.test_signals import INTERRUPTED, begin


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("verb", [("audit",), ("restore", "--yes")])
def test_nothing_of_a_command_goes_on_when_bidkit_has_ended(
    state_dir: StateDir, engine: Engine, verb: tuple[str, ...], number: int
) -> None:
    was_started(state_dir)
    engine.runs(redis=1)
    pids = hands_nothing_on(engine, "run")

    with begin(state_dir, *verb) as bidkit:
        assert bidkit.stdout is not None
        assert bidkit.stdout.readline() == "redis-1  | hello\n"
        for _ in range(2):
            bidkit.send_signal(number)
        bidkit.wait(timeout=30)

    assert bidkit.returncode == INTERRUPTED
    assert are_gone(pids)
    assert removed(engine) == [container(engine)] * 2


def container(engine: Engine) -> str:
    """That of the command."""
    (name,) = (found[1] for line in engine.calls if (found := re.search(r"--name (\S+)", line)))
    return name


def removed(engine: Engine) -> list[str]:
    removal = "rm --force "
    return [line.removeprefix(removal) for line in engine.calls if line.startswith(removal)]
