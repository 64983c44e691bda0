"""The system's images: the stores' are pulled, our own are built when the code changes."""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from pkg.devkit.backend import Say
from pkg.devkit.compose.command import ComposeFailed
from pkg.devkit.compose.project import Project
from pkg.devkit.compose.state_dir import held
from pkg.devkit.errors import BidkitError
from pkg.devkit.home import load, save
from pkg.devkit.settings import PROJECT
from pkg.devkit.signals import Check, no_check

BUILT_WITHIN_S = 900.0
BUILT = PROJECT / ".bidkit" / "images.json"
"""What this checkout's images were built from, shared by all its homes."""

PYTHON_IMAGE = "python:3.11-slim"
SERVER_IMAGES = {
    "REDIS_IMAGE": "redis:7-alpine",
    "NATS_IMAGE": "nats:2-alpine",
    "POSTGRES_IMAGE": "postgres:15-alpine",
    "HAPROXY_IMAGE": "haproxy:2.6-alpine",
}
"""A test compares them with compose.yaml."""

SOURCES = (
    "compose/Dockerfile",
    "compose/nats.Dockerfile",
    ".dockerignore",
    "requirements/runtime.txt",
    "pkg/__init__.py",
    "pkg/auction",
    "pkg/runtime",
    "pkg/stores",
    "pkg/api",
    "pkg/broadcast",
    "pkg/archival",
)
"""What goes into our own images."""


class Built(msgspec.Struct, frozen=True):
    sources: str
    images: dict[str, str]
    bases: list[str] = []
    finished: bool = True
    """While False, each of these names may stand for an old or a new build of this checkout."""


def needed() -> list[str]:
    """Images that must be present or pullable before anything can be built and started."""
    images = {**SERVER_IMAGES, "PYTHON_IMAGE": PYTHON_IMAGE}
    return [os.environ.get(name) or default for name, default in images.items()]


def provide(
    project: Project, configuration: dict[str, Any], *, say: Say, check: Check = no_check
) -> None:
    """Pulls missing images; builds our own if any is missing or older than the code.

    Raises BidkitError with the last lines of the failure, or what `check` raises.
    """
    services: dict[str, Any] = configuration["services"]
    pulled = {name: one["image"] for name, one in services.items() if "build" not in one}
    missing = set(project.engine.missing_images(list(pulled.values())))
    if missing:
        say(f"fetching {', '.join(sorted(missing))}")
        names = [name for name, image in pulled.items() if image in missing]
        _explained("the images could not be fetched", lambda: project.pull(names, check=check))
    own = _Own(project, services)
    if not own.are_current():
        own.build(say=say, check=check)


def renew(project: Project, configuration: dict[str, Any], *, say: Say, check: Check) -> None:
    """Rebuilds our own images if they were built from older code. Raises as `provide` does.

    Images that somebody else tagged with our names are left alone.
    """
    own = _Own(project, configuration["services"])
    if own.are_of_older_code():
        own.build(say=say, check=check)


class _Own:
    """The images built from this checkout."""

    def __init__(self, project: Project, services: dict[str, Any]) -> None:
        self._project = project
        self._services = sorted(name for name, one in services.items() if "build" in one)
        self._images = [services[name]["image"] for name in self._services]
        self._sources = fingerprint()

    def are_current(self) -> bool:
        built = self._built()
        return (
            built is not None
            and built.finished
            and (built.sources, built.bases) == (self._sources, needed())
        )

    def are_of_older_code(self) -> bool:
        built = self._built()
        return built is not None and not (built.finished and built.sources == self._sources)

    def build(self, *, say: Say, check: Check) -> None:
        # Two builds at once would repeat the work and overwrite each other's tags.
        lock = Path(tempfile.gettempdir()) / f"bidkit-{os.getuid()}-images"
        busy = "another bidkit is still building images."
        with held(lock, within_s=BUILT_WITHIN_S, busy=busy, check=check):
            if self.are_current():  # whoever held the lock has built them
                return
            say("building images, as the code has changed or they are missing")
            # Saved first: a build that breaks off may have retagged some images.
            ours = dict.fromkeys(self._images, "")
            save(BUILT, Built(self._sources, ours, needed(), finished=False))
            _explained(
                "the images could not be built",
                lambda: self._project.build(self._services, check=check),
            )
            save(
                BUILT, Built(self._sources, self._project.engine.image_ids(self._images), needed())
            )

    def _built(self) -> Built | None:
        """The record of the last build; None when the images are not, or no longer, from it."""
        built = load(BUILT, Built)
        if built is None or built.images.keys() != set(self._images):
            return None
        if built.finished and self._project.engine.image_ids(self._images) != built.images:
            return None
        return built


def fingerprint() -> str:
    """A hash of everything in this checkout that goes into our own images."""
    digest = hashlib.sha256()
    for file in _files():
        digest.update(f"{file.relative_to(PROJECT)}\0{file.stat().st_mode & 0o111}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _files() -> Iterator[Path]:
    for name in SOURCES:
        path = PROJECT / name
        if path.is_dir():
            yield from sorted(
                file
                for file in path.rglob("*")
                if file.is_file() and "__pycache__" not in file.parts
            )
        elif path.exists():
            yield path


def _explained(what: str, work: Callable[[], None]) -> None:
    try:
        work()
    except ComposeFailed as error:
        last = "\n  ".join(error.lines)
        raise BidkitError(f"{what}; it ended with:\n  {last}") from error
