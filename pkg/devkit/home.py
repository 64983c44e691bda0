"""A local system's directory and the files that bidkit keeps there.

lock              held by the supervisor while it lives: tells whether a system runs
supervisor.json   the supervisor's process and its address
processes.json    what it started, for clean-up if the supervisor dies
desired.json      what should run; `down` keeps it
nats-users.json   passwords of NATS' users, on processes; kept as long as the data
data/STORE        the stores' data (postgres.elsewhere: says where PostgreSQL's is instead)
logs/REPLICA.log  logs of this run; logs/previous has those of the run before
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from pkg.devkit.errors import UnusableData

State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class Home:
    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def desired(self) -> Path:
        return self.folder / "desired.json"

    @property
    def nats_users(self) -> Path:
        return self.folder / "nats-users.json"

    @property
    def supervisor(self) -> Path:
        return self.folder / "supervisor.json"

    @property
    def processes(self) -> Path:
        return self.folder / "processes.json"

    def log(self, replica: str) -> Path:
        return self.logs / f"{replica}.log"

    @contextmanager
    def lock(self) -> Iterator[bool]:
        """Whether we hold the lock. It is released with the block, or when our process ends.

        Children do not inherit it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(descriptor)


def load(file: Path, kind: type[State]) -> State | None:
    """None if there is no such file."""
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:
        raise UnusableData(f"{file} cannot be read ({error}); delete it and try again.") from error


def save(file: Path, state: object) -> None:
    """Writes atomically: neither a reader nor a crash ever sees half of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    writing = file.with_name(f".{file.name}.{os.getpid()}")
    writing.touch(mode=0o600)  # it may hold secrets
    writing.write_bytes(msgspec.json.format(msgspec.json.encode(state), indent=2) + b"\n")
    writing.replace(file)
