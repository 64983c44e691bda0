"""When images are built, and by whom."""

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from pkg.devkit.compose import images
from pkg.devkit.compose.place import Place, held
from pkg.devkit.compose.project import Project
from pkg.devkit.process.home import save
from pkg.devkit.system import Desired
from tests.unit.devkit.compose.standin import OWN_IMAGES, Engine


@pytest.fixture
def project(
    place: Place, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Project:
    monkeypatch.setattr(images, "BUILT", tmp_path / "images.json")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return Project(place, Desired())


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
            save(images.BUILT, images.Built(images.fingerprint(), built))
            another.close()

        images.provide(project, project.configuration(), say=lambda _: None, look=is_done)

    assert builds(engine) == 0
