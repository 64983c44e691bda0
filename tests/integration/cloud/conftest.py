"""One emulator, and one deployment to it, for all tests."""

import asyncio
import os
import shutil
from collections.abc import Iterator

import pytest

from pkg.devkit.cloud.emulator_kinds import KINDS, Kind
from pkg.trials.waiting import until
from tests.integration.cloud.deployment import Deployment, deployed
from tests.integration.cloud.emulated import Emulated, build, emulated
from tests.integration.compose.leftovers import end_leftovers

_ANSWERS_WITHIN_S = 120.0

ALARM_MINUTE_S = 2
SCALING_MINUTE_S = 3

SHORTENED = {"ALARM_MINUTE_S": str(ALARM_MINUTE_S), "SCALING_MINUTE_S": str(SCALING_MINUTE_S)}
"""Settings of the emulator that shorten what AWS takes minutes for."""


_LAST = "test_clean_up.py"
"""It destroys the deployment."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One emulator after the other, each with its own clean-up as the last."""
    names = [kind.name for kind in KINDS]

    def turn(item: pytest.Item) -> tuple[int, bool]:
        parameters = getattr(item, "callspec", None)
        kind = parameters.params.get("emulator", KINDS[0]) if parameters else KINDS[0]
        return names.index(kind.name), item.path.name == _LAST

    items.sort(key=turn)


@pytest.fixture(scope="session")
def image() -> None:
    build()


@pytest.fixture(scope="session", params=KINDS, ids=lambda kind: kind.name)
def emulator(image: None, request: pytest.FixtureRequest) -> Iterator[Emulated]:
    kind: Kind = request.param
    if kind.needs and not os.environ.get(kind.needs):
        pytest.skip(f"{kind.name} needs {kind.needs}")
    end_leftovers()
    with emulated(SHORTENED, kind) as running:
        asyncio.run(
            until(
                running.answers,
                within_s=_ANSWERS_WITHIN_S,
                what="the emulator answers",
                log=running.log,
            )
        )
        yield running


@pytest.fixture(scope="session")
def deployment(
    emulator: Emulated, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """What the guide leads to. One for all tests: each leaves it as it found it."""
    for program in ("terraform", "aws"):
        if not shutil.which(program):
            pytest.skip(f"needs {program}")
    with deployed(emulator, tmp_path_factory.mktemp("deployment")) as running:
        yield running
