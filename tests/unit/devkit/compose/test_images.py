"""When images are built."""

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from pkg.devkit.compose import images
from pkg.devkit.compose.backend import ComposeBackend
from pkg.devkit.compose.project import Project
from pkg.devkit.compose.stack import Stack
from pkg.devkit.compose.state_dir import StateDir, held
from pkg.devkit.errors import BidkitError
from pkg.devkit.home import save
from pkg.devkit.names import API, ARCHIVAL, BROADCAST
from pkg.devkit.signals import Cancellation, Check, no_check
from pkg.devkit.system import Desired
from tests.unit.devkit.compose.doubles import mark_started
from tests.unit.devkit.compose.fake_engine import OWN_IMAGES, FakeEngine


@pytest.fixture
def project(stack: Stack) -> Project:
    return stack.project


def builds(engine: FakeEngine) -> int:
    return sum(line.endswith("archival-worker broadcast-service nats") for line in engine.calls)


def test_images_are_built_once(project: Project, engine: FakeEngine) -> None:
    for _ in range(2):
        images.provide(project, project.configuration(), say=lambda _: None)

    assert builds(engine) == 1


def test_images_that_another_bidkit_has_just_built_are_not_rebuilt(
    project: Project, engine: FakeEngine, tmp_path: Path
) -> None:
    with ExitStack() as another:
        lock = tmp_path / f"bidkit-{os.getuid()}-images"
        another.enter_context(held(lock, within_s=0, busy="busy"))

        def finish_build() -> None:
            engine.add_images(*OWN_IMAGES)
            built = {name: f"sha256:{name}" for name in OWN_IMAGES}
            save(images.BUILT, images.Built(images.fingerprint(), built, images.needed()))
            another.close()

        images.provide(project, project.configuration(), say=lambda _: None, check=finish_build)

    assert builds(engine) == 0


@pytest.fixture
def older(project: Project, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with built images whose code has changed since."""
    images.provide(project, project.configuration(), say=lambda _: None)
    monkeypatch.setattr(images, "fingerprint", lambda: "another")
    return project


def renew(project: Project, check: Check = no_check) -> None:
    images.renew(project, project.configuration(), say=lambda _: None, check=check)


def test_restart_rebuilds_images_of_older_code_once(older: Project, engine: FakeEngine) -> None:
    renew(older)
    renew(older)

    assert builds(engine) == 2


def test_restart_builds_again_after_a_failed_build(older: Project, engine: FakeEngine) -> None:
    engine.set_behaviour("compose build", half=True, error="no space left on device", times=1)
    with pytest.raises(BidkitError, match="the images could not be built"):
        renew(older)

    renew(older)
    renew(older)

    assert builds(engine) == 3


def test_restart_builds_again_after_an_interrupted_build(
    older: Project, engine: FakeEngine
) -> None:
    token = Cancellation()
    engine.set_behaviour("compose build", half=True, during=token.request)
    with pytest.raises(KeyboardInterrupt):
        renew(older, token.check)
    engine.clear_behaviours()

    renew(older)
    renew(older)

    assert builds(engine) == 3


def test_up_builds_again_after_a_failed_build(project: Project, engine: FakeEngine) -> None:
    engine.set_behaviour("compose build", half=True, error="no space left on device", times=1)
    with pytest.raises(BidkitError, match="the images could not be built"):
        images.provide(project, project.configuration(), say=lambda _: None)

    images.provide(project, project.configuration(), say=lambda _: None)

    assert builds(engine) == 2


def test_restart_does_not_replace_images_that_bidkit_did_not_build(
    older: Project, engine: FakeEngine
) -> None:
    engine.add_images(*OWN_IMAGES)

    renew(older)

    assert builds(engine) == 1


def test_only_up_rebuilds_for_another_base_image(
    project: Project, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    images.provide(project, project.configuration(), say=lambda _: None)
    monkeypatch.setenv("PYTHON_IMAGE", "another/python")

    renew(project)
    after_restart = builds(engine)
    images.provide(project, project.configuration(), say=lambda _: None)

    assert (after_restart, builds(engine)) == (1, 2)


@pytest.mark.parametrize(("service", "built"), [(ARCHIVAL, 2), ("redis", 1)])
def test_restarted_service_runs_the_current_code(
    older: Project,
    engine: FakeEngine,
    state_dir: StateDir,
    compose: ComposeBackend,
    service: str,
    built: int,
) -> None:
    mark_started(state_dir)
    Stack(state_dir).remember(Desired(replicas={API: 0, BROADCAST: 0, ARCHIVAL: 1}))
    engine.add_running(archival_worker=1, redis=1)
    said: list[str] = []

    compose.restart(service, say=said.append)

    assert builds(engine) == built
    assert ("building images, as the code has changed or they are missing" in said) == (built == 2)


def test_restart_of_a_service_without_replicas_builds_nothing(
    older: Project, engine: FakeEngine, state_dir: StateDir, compose: ComposeBackend
) -> None:
    mark_started(state_dir)
    Stack(state_dir).remember(Desired(replicas={API: 0, BROADCAST: 0, ARCHIVAL: 0}))
    engine.add_running(redis=1)
    said: list[str] = []

    compose.restart(ARCHIVAL, say=said.append)

    assert builds(engine) == 1
    assert said == ["archival-worker has 0 replicas; there is nothing to restart"]
