"""A run of compose, on commands in its stead."""

import os
import time

import pytest

from pkg.devkit.compose.command import ComposeFailed, run
from pkg.devkit.compose.place import Place
from pkg.devkit.compose.project import Project
from pkg.devkit.compose.stack import Stack
from pkg.devkit.errors import NotReady
from pkg.devkit.system import Desired
from tests.unit.devkit.compose.standin import Engine, was_started


def hopeless() -> None:
    raise NotReady("it keeps ending.")


def test_when_the_look_fails_compose_is_ended_before_anybody_hears_of_it(
    place: Place, engine: Engine
) -> None:
    was_started(place)
    engine.will("compose up", lingers_s=60)

    def look() -> None:
        engine.awaits_call("compose up lingers")
        hopeless()

    began = time.monotonic()

    with pytest.raises(NotReady):
        Stack(place).start(look)

    assert engine.calls[-1] == "compose up was ended"
    assert time.monotonic() - began < 10


def test_what_a_command_starts_ends_with_it() -> None:
    # As docker's own command is: it starts the plugin, and hands no signal on to it.
    wrapped = ("sh", "-c", "trap : TERM; sleep 60")
    began = time.monotonic()

    with pytest.raises(NotReady):
        run(wrapped, environment=os.environ, look=hopeless)

    assert time.monotonic() - began < 10


def test_a_failure_is_told_by_the_last_lines() -> None:
    with pytest.raises(ComposeFailed, match="docker failed: 20") as caught:
        run(("sh", "-c", "seq 20; exit 3"), environment=os.environ)

    assert caught.value.lines == [str(n) for n in range(9, 21)]


def test_only_what_is_scaled_is_touched(place: Place, engine: Engine) -> None:
    Project(place, Desired()).up({"api-gateway": 2})

    assert len(engine.ids()) == len(engine.ids("api-gateway")) == 2
