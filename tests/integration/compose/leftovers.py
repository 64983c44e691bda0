"""Removes containers, volumes and networks of killed test runs."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from pkg.devkit.compose.engine import Engine
from pkg.devkit.compose.state_dir import held
from pkg.devkit.docker_cli import PROJECT_LABEL, ask
from pkg.devkit.errors import BidkitError
from pkg.devkit.home import Home

OWNER = "bidding-tests.owner"
"""Label of containers outside any compose project; its value is the name given to `owned`."""

FOLDER = Path(tempfile.gettempdir()) / f"bidding-tests-{os.getuid()}"
NOTHING: dict[str, list[str]] = {"container": [], "volume": [], "network": []}
_CLEANED_WITHIN_S = 120.0
_GONE_WITHIN_S = 30.0


@contextmanager
def owned(name: str) -> Iterator[None]:
    """Marks a compose project, or containers labelled with OWNER, as ours while the block runs.

    If the block fails or our process is killed, the next run removes them.
    """
    with ExitStack() as opened:
        with _cleanup_lock():
            ours = opened.enter_context(Home(FOLDER / name).lock())
        assert ours, f"another run has {name}"
        yield
        with _cleanup_lock():
            shutil.rmtree(FOLDER / name)


def end_leftovers() -> None:
    """Removes what dead owners left. A lock shows who is alive; a pid may be reused."""
    with _cleanup_lock():
        for folder in FOLDER.glob("bidding-*"):
            with Home(folder).lock() as free:
                if free:
                    _remove(folder.name)
                    shutil.rmtree(folder)


def remaining(name: str) -> dict[str, list[str]]:
    """Ids of all that belongs to a compose project, is labelled with OWNER or in a network NAME."""
    filters = (f"label={PROJECT_LABEL}={name}", f"label={OWNER}={name}", f"network={name}")
    return {
        "container": [
            each for which in filters for each in ask("ps", "-aq", "--filter", which).split()
        ],
        "volume": Engine().volumes(name),
        "network": Engine().networks(name),
    }


def _remove(name: str) -> None:
    for container in remaining(name)["container"]:
        # A killed run's emulator may be removing it at this moment.
        with suppress(BidkitError):
            ask("rm", "-f", "-v", container, within_s=60)
    deadline = time.monotonic() + _GONE_WITHIN_S
    while remaining(name)["container"] and time.monotonic() < deadline:
        time.sleep(0.2)
    left = remaining(name)
    for kind in ("volume", "network"):
        if left[kind]:
            ask(kind, "rm", *left[kind])


def _cleanup_lock() -> AbstractContextManager[None]:
    """Held while folders are made or removed: one not locked yet would look like a leftover."""
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    return held(
        FOLDER / "sweeping", within_s=_CLEANED_WITHIN_S, busy="another run is still cleaning up."
    )
