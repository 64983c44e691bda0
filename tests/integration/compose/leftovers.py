"""What a killed run of the tests leaves would run for ever; the next run takes it away."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from pkg.devkit.compose import engine
from pkg.devkit.compose.place import held
from pkg.devkit.home import Home

OWNER = "bidding-tests.owner"
"""Label of a container that is no compose project's: the name it is `owned` by."""

FOLDER = Path(tempfile.gettempdir()) / f"bidding-tests-{os.getuid()}"
NOTHING: dict[str, list[str]] = {"container": [], "volume": [], "network": []}
_SWEPT_WITHIN_S = 120.0


@contextmanager
def owned(name: str) -> Iterator[None]:
    """A compose project, or containers labelled with OWNER, are ours while inside.

    If the block ends with an error, or our process does, they are the next run's to end.
    """
    with ExitStack() as opened:
        with _nobody_sweeping():
            ours = opened.enter_context(Home(FOLDER / name).lock())
        assert ours, f"another run has {name}"
        yield
        with _nobody_sweeping():
            shutil.rmtree(FOLDER / name)


def end_leftovers() -> None:
    """Of owners that live no more: a lock tells, which no reused pid can take for its own."""
    with _nobody_sweeping():
        for place in FOLDER.glob("bidding-*"):
            with Home(place).lock() as free:
                if free:
                    _end(place.name)
                    shutil.rmtree(place)


def remaining(name: str) -> dict[str, list[str]]:
    """Ids of what is there of a compose project, or labelled with OWNER."""
    labels = (f"{engine.PROJECT_LABEL}={name}", f"{OWNER}={name}")
    return {
        "container": [
            each
            for label in labels
            for each in engine.ask("ps", "-aq", "--filter", f"label={label}").split()
        ],
        "volume": engine.volumes(name),
        "network": engine.networks(name),
    }


def _end(name: str) -> None:
    left = remaining(name)
    if left["container"]:
        engine.ask("rm", "-f", "-v", *left["container"], within_s=60)
    for kind in ("volume", "network"):
        if left[kind]:
            engine.ask(kind, "rm", *left[kind])


def _nobody_sweeping() -> AbstractContextManager[None]:
    """Between a place's making and its locking it would look like one without an owner."""
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    return held(
        FOLDER / "sweeping", within_s=_SWEPT_WITHIN_S, busy="another run is still sweeping."
    )
