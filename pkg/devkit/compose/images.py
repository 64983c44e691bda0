"""The images the system needs: the stores' and the base are fetched, the services' are built."""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from pkg.devkit.backend import Say
from pkg.devkit.compose import engine
from pkg.devkit.compose.command import ComposeFailed, Look, nobody
from pkg.devkit.compose.place import held
from pkg.devkit.compose.project import Project
from pkg.devkit.errors import BidkitError
from pkg.devkit.home import load, save
from pkg.devkit.settings import PROJECT

BUILT_WITHIN_S = 900.0
BUILT = PROJECT / ".bidkit" / "images.json"
"""What this checkout's images were built of, whichever home asked for them."""

PYTHON_IMAGE = "python:3.11-slim"
SERVER_IMAGES = {
    "REDIS_IMAGE": "redis:7-alpine",
    "NATS_IMAGE": "nats:2-alpine",
    "POSTGRES_IMAGE": "postgres:15-alpine",
    "HAPROXY_IMAGE": "haproxy:2.6-alpine",
}
"""As in compose.yaml, which a test compares."""

SOURCES = (
    "compose/Dockerfile",
    "compose/nats.Dockerfile",
    ".dockerignore",
    "requirements/runtime.txt",
    "pkg/auction",
    "pkg/runtime",
    "pkg/api",
    "pkg/broadcast",
    "pkg/archival",
)
"""What the services' images are made of."""


class Built(msgspec.Struct, frozen=True):
    sources: str
    images: dict[str, str]
    bases: list[str] = []
    finished: bool = True
    """Else some of these names may stand for older images: this checkout's, whatever they are."""


def needed() -> list[str]:
    """What must be here or in reach before anything can be built and started."""
    images = {**SERVER_IMAGES, "PYTHON_IMAGE": PYTHON_IMAGE}
    return [os.environ.get(name) or default for name, default in images.items()]


def provide(
    project: Project, configuration: dict[str, Any], *, say: Say, look: Look = nobody
) -> None:
    """Fetch what is missing, build what is missing or older than the code.

    Raises BidkitError with the last lines of what went wrong, or what `look` raises meanwhile.
    """
    services: dict[str, Any] = configuration["services"]
    bought = {name: one["image"] for name, one in services.items() if "build" not in one}
    lacking = set(engine.missing_images(list(bought.values())))
    if lacking:
        say(f"fetching {', '.join(sorted(lacking))}")
        names = [name for name, image in bought.items() if image in lacking]
        _told("the images could not be fetched", lambda: project.pull(names, look=look))
    own = _Own(project, services)
    if not own.are_current():
        own.build(say=say, look=look)


def renew(project: Project, configuration: dict[str, Any], *, say: Say, look: Look) -> None:
    """Build again what was built of older code; other images, as somebody gave, stay as they are.

    Raises as `provide` does.
    """
    own = _Own(project, configuration["services"])
    if own.are_of_older_code():
        own.build(say=say, look=look)


class _Own:
    """The images that are built of this checkout."""

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

    def build(self, *, say: Say, look: Look) -> None:
        # Two builds at once would do the same work twice and take each other's tags.
        lock = Path(tempfile.gettempdir()) / f"bidkit-{os.getuid()}-images"
        busy = "another bidkit is still building images."
        with held(lock, within_s=BUILT_WITHIN_S, busy=busy, look=look):
            if self.are_current():  # by now: whoever had the lock has built them
                return
            say("building images, as the code has changed or they are missing")
            # First: a build that ends half-way has taken some names, and leaves no word of it.
            ours = dict.fromkeys(self._images, "")
            save(BUILT, Built(self._sources, ours, needed(), finished=False))
            _told(
                "the images could not be built",
                lambda: self._project.build(self._services, look=look),
            )
            save(BUILT, Built(self._sources, engine.image_ids(self._images), needed()))

    def _built(self) -> Built | None:
        """What we know of them, unless somebody has given others since they were all built."""
        built = load(BUILT, Built)
        if built is None or built.images.keys() != set(self._images):
            return None
        if built.finished and engine.image_ids(self._images) != built.images:
            return None
        return built


def fingerprint() -> str:
    """Of everything in this checkout that goes into the services' images."""
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


def _told(what: str, work: Callable[[], None]) -> None:
    try:
        work()
    except ComposeFailed as error:
        last = "\n  ".join(error.lines)
        raise BidkitError(f"{what}; it ended with:\n  {last}") from error
