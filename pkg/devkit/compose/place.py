"""What the compose backend keeps in bidkit's home, and what its project is called.

compose/lock           held while something is started or stopped
compose/operation      held while a service is scaled or restarted
compose/running        there between `up` and the end of a `down`; holds the mark of that `up`
compose/stopping       held by a `down` from when it is asked for
compose/desired.json   what should run; outlives `down`
compose/override.json  what that means for compose, over the project's compose.yaml
secrets/               passwords of the stores; they live as long as the volumes do
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from pkg.devkit.compose.command import Look, nobody
from pkg.devkit.errors import BidkitError
from pkg.devkit.settings import PROJECT

_TRY_EVERY_S = 0.1
_STOPPED = "the system was stopped meanwhile."


@dataclass(frozen=True, slots=True)
class Place:
    home: Path

    @property
    def project(self) -> str:
        """One of its own for each home: what one checkout stops or deletes is never another's."""
        return f"bidding-{_mark(self.home)}"

    @property
    def image_tag(self) -> str:
        """One for each checkout, whichever home runs it: another's code is never started here."""
        return f"checkout-{_mark(PROJECT)}"

    @property
    def folder(self) -> Path:
        return self.home / "compose"

    @property
    def running(self) -> Path:
        return self.folder / "running"

    @property
    def desired(self) -> Path:
        return self.folder / "desired.json"

    @property
    def override(self) -> Path:
        return self.folder / "override.json"

    @property
    def proposed(self) -> Path:
        """An override that is still to be checked."""
        return self.folder / "proposed.json"

    @property
    def secrets(self) -> Path:
        return self.home / "secrets"

    @property
    def is_wanted(self) -> bool:
        """Whether there is a system here that nobody is stopping."""
        return self.running.exists() and not self._is_being_stopped

    def check_wanted(self, run: str | None = None) -> None:
        """Whether the system, and that of the `run`, is wanted here. Raises BidkitError."""
        if not self.is_wanted or (run and not self.runs(run)):
            raise BidkitError(_STOPPED)

    def begin_run(self) -> str:
        """A mark by which this system is told from those that are started here later."""
        run = uuid4().hex
        self.running.write_text(run)
        return run

    def runs(self, run: str) -> bool:
        """Whether the system here is still the one that began with this mark."""
        try:
            return self.running.read_text() == run
        except FileNotFoundError:
            return False

    def check_not_being_stopped(self) -> None:
        """For what is not yet started. Raises BidkitError."""
        if self._is_being_stopped:
            raise BidkitError(_STOPPED)

    @property
    def _is_being_stopped(self) -> bool:
        return _is_held(self._stopping)

    @property
    def _stopping(self) -> Path:
        return self.folder / "stopping"

    @contextmanager
    def being_stopped(self, *, within_s: float, busy: str, look: Look = nobody) -> Iterator[None]:
        """Nothing is wanted here until the block, or our process, ends."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with held(self._stopping, within_s=within_s, busy=busy, look=look):
            yield

    @contextmanager
    def lock(
        self, name: str = "lock", *, within_s: float, busy: str, look: Look = nobody
    ) -> Iterator[None]:
        """Ours until the block, or our process, ends. Raises BidkitError `busy` after a while, and
        what `look` raises while it waits.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with held(self.folder / name, within_s=within_s, busy=busy, look=look):
            yield


def _mark(folder: Path) -> str:
    return hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]


@contextmanager
def held(file: Path, *, within_s: float, busy: str, look: Look = nobody) -> Iterator[None]:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(file, flags, 0o600)
    deadline = time.monotonic() + within_s
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BidkitError(busy) from None
            look()
            time.sleep(_TRY_EVERY_S)
        yield
    finally:
        os.close(descriptor)


def _is_held(file: Path) -> bool:
    """Asked so that whoever wants to hold it is delayed by no more than a try."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)
