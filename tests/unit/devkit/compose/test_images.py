"""When images are built, and by whom."""

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from pkg.devkit.compose import images
from pkg.devkit.compose.backend import ComposeBackend
from pkg.devkit.compose.command import Look, nobody
from pkg.devkit.compose.project import Project
from pkg.devkit.compose.stack import Stack
from pkg.devkit.compose.state_dir import StateDir, held
from pkg.devkit.errors import BidkitError
from pkg.devkit.home import Home, save
from pkg.devkit.names import API, ARCHIVAL, BROADCAST
from pkg.devkit.system import Desired
from tests.unit.devkit.compose.standin import OWN_IMAGES, Engine, meanwhile, was_started


@pytest.fixture
def project(state_dir: StateDir, engine: Engine) -> Project:
    return Project(state_dir, Desired())


def builds(engine: Engine) -> int:
    return sum(line.endswith("archival-worker broadcast-service nats") for line in engine.calls)


def test_images_are_built_once(project: Project, engine: Engine) -> None:
    for _ in range(2):
        images.provide(project, project.configuration(), say=lambda _: None)

    assert builds(engine) == 1


def test_what_another_has_built_meanwhile_is_not_built_again(
    project: Project, engine: Engine, tmp_path: Path
) -> None:
    with ExitStack() as another:
        lock = tmp_path / f"bidkit-{os.getuid()}-images"
        another.enter_context(held(lock, within_s=0, busy="busy"))

        def is_done() -> None:
            engine.holds(*OWN_IMAGES)
            built = {name: f"sha256:{name}" for name in OWN_IMAGES}
            save(images.BUILT, images.Built(images.fingerprint(), built, images.needed()))
            another.close()

        images.provide(project, project.configuration(), say=lambda _: None, look=is_done)

    assert builds(engine) == 0


@pytest.fixture
def older(project: Project, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Built, and the code has changed since."""
    images.provide(project, project.configuration(), say=lambda _: None)
    monkeypatch.setattr(images, "fingerprint", lambda: "another")
    return project


def renew(project: Project, look: Look = nobody) -> None:
    images.renew(project, project.configuration(), say=lambda _: None, look=look)


def test_a_restart_builds_images_of_older_code_again_once(older: Project, engine: Engine) -> None:
    renew(older)
    renew(older)

    assert builds(engine) == 2


def test_images_of_a_build_that_failed_half_way_are_not_taken_for_given_ones(
    older: Project, engine: Engine
) -> None:
    engine.will("compose build", half=True, says="no space left on device", times=1)
    with pytest.raises(BidkitError, match="the images could not be built"):
        renew(older)

    renew(older)
    renew(older)

    assert builds(engine) == 3


def test_images_of_a_build_that_was_interrupted_are_not_taken_for_given_ones(
    older: Project, engine: Engine
) -> None:
    def interrupted() -> None:
        engine.awaits_call("compose build lingers")
        raise KeyboardInterrupt

    engine.will("compose build", half=True, lingers_s=60)
    with pytest.raises(KeyboardInterrupt):
        renew(older, interrupted)
    engine.is_well()

    renew(older)
    renew(older)

    assert builds(engine) == 3


def test_an_up_after_a_build_that_failed_builds_though_the_code_is_as_before(
    project: Project, engine: Engine
) -> None:
    engine.will("compose build", half=True, says="no space left on device", times=1)
    with pytest.raises(BidkitError, match="the images could not be built"):
        images.provide(project, project.configuration(), say=lambda _: None)

    images.provide(project, project.configuration(), say=lambda _: None)

    assert builds(engine) == 2


def test_a_restart_leaves_images_alone_that_were_given(older: Project, engine: Engine) -> None:
    engine.holds(*OWN_IMAGES)

    renew(older)

    assert builds(engine) == 1


def test_a_restart_builds_nothing_for_another_base_alone(
    project: Project, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    images.provide(project, project.configuration(), say=lambda _: None)
    monkeypatch.setenv("PYTHON_IMAGE", "another/python")

    renew(project)
    asked_by_restart = builds(engine)
    images.provide(project, project.configuration(), say=lambda _: None)

    assert (asked_by_restart, builds(engine)) == (1, 2)


@pytest.mark.parametrize(("service", "built"), [(ARCHIVAL, 2), ("redis", 1)])
def test_a_restarted_service_runs_the_code_as_it_is_now(
    older: Project, engine: Engine, state_dir: StateDir, service: str, built: int
) -> None:
    was_started(state_dir)
    Stack(state_dir).remember(Desired(replicas={API: 0, BROADCAST: 0, ARCHIVAL: 1}))
    engine.runs(archival_worker=1, redis=1)
    said: list[str] = []

    ComposeBackend(Home(state_dir.home)).restart(service, say=said.append)

    assert builds(engine) == built
    assert ("building images, as the code has changed or they are missing" in said) == (built == 2)


def test_a_restart_of_a_service_without_replicas_builds_nothing(
    older: Project, engine: Engine, state_dir: StateDir
) -> None:
    was_started(state_dir)
    Stack(state_dir).remember(Desired(replicas={API: 0, BROADCAST: 0, ARCHIVAL: 0}))
    engine.runs(redis=1)
    said: list[str] = []

    ComposeBackend(Home(state_dir.home)).restart(ARCHIVAL, say=said.append)

    assert builds(engine) == 1
    assert said == ["archival-worker has 0 replicas; there is nothing to restart"]


def test_a_down_ends_a_restart_that_is_still_building(
    older: Project, engine: Engine, state_dir: StateDir
) -> None:
    was_started(state_dir)
    Stack(state_dir).remember(Desired(replicas={API: 0, BROADCAST: 0, ARCHIVAL: 1}))
    engine.runs(archival_worker=1)
    engine.will("compose build", lingers_s=30)

    def stop() -> None:
        engine.awaits_call("compose build lingers")
        ComposeBackend(Home(state_dir.home)).down(volumes=False, say=lambda _: None)

    with meanwhile(stop), pytest.raises(BidkitError, match="the system was stopped meanwhile"):
        ComposeBackend(Home(state_dir.home)).restart(ARCHIVAL, say=lambda _: None)

    assert "compose build was ended" in engine.calls
    assert engine.containers() == []
