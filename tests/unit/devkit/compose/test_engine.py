"""What is asked of an engine that changes meanwhile."""

import pytest

from pkg.devkit.compose.engine import containers
from pkg.devkit.errors import BidkitError
from tests.unit.devkit.compose.standin import Engine


def test_containers_that_come_and_go_too_fast_are_not_taken_for_none(engine: Engine) -> None:
    engine.runs(redis=1)
    engine.will("container inspect", says="Error: No such container: id1")

    with pytest.raises(BidkitError, match="come and go here faster than they can be looked at"):
        containers("any")


def test_one_that_goes_between_two_questions_is_not_missed(engine: Engine) -> None:
    engine.runs(redis=1)
    engine.will("container inspect", says="Error: No such container: id0", times=2)

    assert [one.service for one in containers("any")] == ["redis"]
