"""The compose backend's files in bidkit's home, and the names derived from that home.

compose/lock           held while something is started or stopped
compose/operation      held while a service is scaled or restarted
compose/running        exists from `up` until `down` is done; contains the id of that `up`
compose/stopping       held by `down` from its start
compose/desired.json   what should run; kept after `down`
compose/override.json  the same as a compose file on top of compose.yaml
secrets/               the stores' passwords; kept as long as the volumes
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from pkg.devkit.errors import BidkitError
from pkg.devkit.settings import PROJECT
from pkg.devkit.signals import Check, no_check

STOPPING = "stopping"
"""The lock that makes `check_wanted` fail everywhere while it is held."""

_TRY_EVERY_S = 0.1
_STOPPED = "the system was stopped meanwhile."


@dataclass(frozen=True, slots=True)
class StateDir:
    home: Path

    @property
    def project(self) -> str:
        """Unique to the home, so that one home never stops or deletes another's system."""
        return f"bidding-{_mark(self.home)}"

    @property
    def image_tag(self) -> str:
        """Unique to the checkout, so that a home never starts another checkout's code."""
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
        """An override that has not been checked yet."""
        return self.folder / "proposed.json"

    @property
    def secrets(self) -> Path:
        return self.home / "secrets"

    @property
    def is_wanted(self) -> bool:
        """Whether a system was started here and nobody is stopping it."""
        return self.running.exists() and not self._is_being_stopped

    def check_wanted(self, run: str | None = None) -> None:
        """Raises BidkitError when the system is being or has been stopped.

        With `run`, also when the system running now was started by another `up`.
        """
        if not self.is_wanted or (run and not self.runs(run)):
            raise BidkitError(_STOPPED)

    def begin_run(self) -> str:
        """Returns an id that tells this system from those started here later."""
        run = uuid4().hex
        self.running.write_text(run)
        return run

    def runs(self, run: str) -> bool:
        """Whether the system here is still the one with this id."""
        try:
            return self.running.read_text() == run
        except FileNotFoundError:
            return False

    def check_not_being_stopped(self) -> None:
        """For an `up` that has not started anything yet. Raises BidkitError."""
        if self._is_being_stopped:
            raise BidkitError(_STOPPED)

    @property
    def _is_being_stopped(self) -> bool:
        return _is_held(self.folder / STOPPING)

    def lock(
        self,
        name: str = "lock",
        *,
        within_s: float,
        busy: str = "another bidkit is still busy here.",
        check: Check = no_check,
    ) -> AbstractContextManager[None]:
        """Held until the block, or our process, ends. Raises BidkitError with the text `busy` after
        `within_s`, or what `check` raises.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        return held(self.folder / name, within_s=within_s, busy=busy, check=check)


def _mark(folder: Path) -> str:
    return hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]


@contextmanager
def held(file: Path, *, within_s: float, busy: str, check: Check = no_check) -> Iterator[None]:
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
            check()
            time.sleep(_TRY_EVERY_S)
        yield
    finally:
        os.close(descriptor)


def _is_held(file: Path) -> bool:
    """Delays another process that wants the lock by one retry at most."""
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
