"""Which backend a verb acts on: the one that runs this home's system, else the last one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pkg.devkit.backend import Backend, BackendName
from pkg.devkit.cloud.account import DEPLOY, AwsBackend
from pkg.devkit.cloud.backend import CloudBackend
from pkg.devkit.compose.availability import obstacle
from pkg.devkit.compose.backend import ComposeBackend
from pkg.devkit.compose.engine import Engine
from pkg.devkit.compose.project import COMPOSE_FILE
from pkg.devkit.compose.state_dir import StateDir
from pkg.devkit.docker_cli import reason
from pkg.devkit.errors import BadArgument, BidkitError
from pkg.devkit.home import Home
from pkg.devkit.process.backend import ProcessBackend


class Choice:
    """For one home. Its file `backend` names the backend it last ran on."""

    def __init__(self, home: Home, *, compose_file: Path = COMPOSE_FILE) -> None:
        self._home = home
        self._compose_file = compose_file
        self._file = home.folder / "backend"
        self._state_dir = StateDir(home.folder)

    def named(self, name: BackendName) -> Backend:
        match name:
            case BackendName.PROCESS:
                return ProcessBackend(self._home)
            case BackendName.COMPOSE:
                return ComposeBackend(self._home)
            case BackendName.CLOUD:
                return CloudBackend(self._home)
            case BackendName.AWS:
                return AwsBackend(self._home)

    @contextmanager
    def deployment(self) -> Iterator[AwsBackend]:
        """Afterwards, if anything is deployed, verbs act on the account, unless a system runs on
        this machine.
        """
        backend = AwsBackend(self._home)
        try:
            yield backend
        finally:
            if backend.is_known:
                self._chosen(BackendName.AWS)

    def of_verb(self, asked: BackendName | None = None) -> Backend:
        """For verbs that act on a system that runs or ran."""
        return self.named(asked or self._marked() or self._last or BackendName.PROCESS)

    def for_up(self, asked: BackendName | None) -> tuple[Backend, str | None]:
        """The backend, and a sentence: why this one, or that data stays on the other one.

        Raises BidkitError when the home's system runs on another one, or may do so, and when its
        data is on one that cannot be had.
        """
        if asked is BackendName.AWS:
            raise BadArgument(DEPLOY)
        running = self._running(asked)
        if running:
            if asked not in {None, running}:
                keeps = "with its data" if running is BackendName.CLOUD else "its data stays there"
                raise BidkitError(
                    f"the system of this home runs on {running}, not {asked}; "
                    f"`bidkit down` stops it, {keeps}."
                )
            return self.named(running), None
        place = "which keeps no data" if self._last is BackendName.CLOUD else "where its data stays"
        elsewhere = f"it last ran on {self._last}, {place}."
        if asked:
            note = None if self._last in {None, asked} else elsewhere.capitalize()
            return self._chosen(asked), note
        hindered = obstacle(self._compose_file)
        if hindered and self._last is BackendName.COMPOSE and self._state_dir.desired.exists():
            raise BidkitError(
                f"this home's data is in containers' volumes, which are out of reach: {hindered}. "
                "Mend that and try again, or run another system with data of its own: "
                "`bidkit up --on process`."
            )
        name = BackendName.PROCESS if hindered else BackendName.COMPOSE
        reason = f"as {hindered}" if hindered else "as a Docker engine answers"
        note = "." if self._last in {None, name} else f"; {elsewhere}"
        return self._chosen(name), f"Running on {name}, {reason}{note}"

    def _chosen(self, name: BackendName) -> Backend:
        self._home.folder.mkdir(parents=True, exist_ok=True)
        writing = self._file.with_name(f".backend.{os.getpid()}")
        writing.write_text(f"{name}\n")
        writing.replace(self._file)
        return self.named(name)

    @property
    def _last(self) -> BackendName | None:
        try:
            return BackendName(self._file.read_text().strip())
        except (FileNotFoundError, ValueError):
            return None

    def _marked(self) -> BackendName | None:
        if self._state_dir.running.exists():
            # The mark may be outdated: if the engine was lost, processes may have taken over.
            return BackendName.PROCESS if self._runs_processes() else BackendName.COMPOSE
        if self._home.supervisor.exists():
            return BackendName.PROCESS
        return BackendName.CLOUD if CloudBackend.is_marked(self._home) else None

    def _running(self, asked: BackendName | None) -> BackendName | None:
        """What really runs. If the engine does not answer, asking for processes overrules it."""
        if self._runs_processes():
            return BackendName.PROCESS
        if not self._state_dir.running.exists():
            return BackendName.CLOUD if CloudBackend.is_marked(self._home) else None
        try:
            return BackendName.COMPOSE if Engine().containers(self._state_dir.project) else None
        except BidkitError as error:
            if asked:
                return None
            raise BidkitError(
                "this home's system was started on compose, and whether it still runs cannot be "
                f"told: {reason(error)}. Start the engine, or leave that one as it is and "
                "run another with data of its own: `bidkit up --on process`."
            ) from error

    def _runs_processes(self) -> bool:
        if not self._home.folder.exists():
            return False
        with self._home.lock() as free:
            return not free
