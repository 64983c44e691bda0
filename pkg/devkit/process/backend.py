"""The process backend: bidkit's verbs as requests to a supervisor on this machine."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import ClassVar

import msgspec

from pkg.devkit import log_files as logs
from pkg.devkit.backend import BackendName, LogLine, Options, Say, Watcher, refuse_change
from pkg.devkit.errors import BidkitError, NotReady, NotRunning, error_of
from pkg.devkit.home import Home
from pkg.devkit.names import API, ARCHIVAL, SERVICES, STORES
from pkg.devkit.nats_users import RESTORE
from pkg.devkit.process.control import Control, StoppedMeanwhile, forget_supervisor
from pkg.devkit.process.postgres import PostgresServer
from pkg.devkit.process.records import end_leftovers
from pkg.devkit.process.serve import AlreadyRunning, Failure, serve
from pkg.devkit.process.servers import delete_tree
from pkg.devkit.process.supervisor import Supervisor
from pkg.devkit.process.workloads import service_command, service_environment
from pkg.devkit.readiness import is_settled
from pkg.devkit.service_settings import STORES_STOP_WITHIN_S, stop_within_s
from pkg.devkit.settings import PROJECT
from pkg.devkit.system import SystemStatus

READY_WITHIN_S = 90.0
_LOOK_EVERY_S = 0.05


class ProcessBackend:
    name: ClassVar[BackendName] = BackendName.PROCESS
    parts: ClassVar[tuple[str, ...]] = (*SERVICES, *STORES)

    def __init__(self, home: Home) -> None:
        self._home = home
        self._control = Control(home)

    def up(self, options: Options, *, detach: bool, watcher: Watcher) -> None:
        try:
            if detach:
                self._detach(options)
            else:
                if not asyncio.run(self._foreground(options, watcher)):
                    raise KeyboardInterrupt
                return
        except AlreadyRunning:
            now = self._control.status()
            refuse_change(options, now, self.settings())
            if now.ready:
                watcher.already(now)
                return
            watcher.event("the system is already running, but not ready")
        self._see_ready(watcher)

    def down(self, *, volumes: bool, say: Say) -> None:
        was_running = self._stop(say)
        say("Everything is stopped." if was_running else "Nothing was running.")
        if volumes:
            some = self._home.data.exists() or self._home.desired.exists()
            with self._home.lock() as ours:
                if not ours:
                    raise BidkitError(
                        "somebody has just started the system again; nothing deleted."
                    )
                PostgresServer(data=self._home.data / "postgres", port=0).discard()
                delete_tree(self._home.data)
                self._home.desired.unlink(missing_ok=True)
                self._home.nats_users.unlink(missing_ok=True)
            say(
                "All data on process is deleted."
                if some
                else "There was no data on process to delete."
            )

    def status(self) -> SystemStatus:
        return self._control.status()

    def settings(self) -> dict[str, dict[str, str]]:
        return {service: self._control.environment(service) for service in SERVICES}

    def scale(self, replicas: Mapping[str, int], *, say: Say) -> None:
        self._control.scale(dict(replicas), say=say)

    def restart(self, service: str, *, say: Say) -> None:
        self._control.restart(service, say=say)

    def logs(self, services: tuple[str, ...], *, last: int, follow: bool) -> Iterator[LogLine]:
        alive: set[str] | None = None
        with contextlib.suppress(NotRunning):
            alive = self.status().replicas
        return logs.read(self._home, services, last=last, follow=follow, alive=alive)

    def audit(self, arguments: tuple[str, ...]) -> int:
        return self._run_archival("audit", arguments, user=ARCHIVAL)

    def restore(self, arguments: tuple[str, ...]) -> int:
        return self._run_archival("restore", arguments, user=RESTORE)

    def redrive(self, arguments: tuple[str, ...]) -> int:
        return self._run_archival("redrive", arguments, user=ARCHIVAL)

    def _run_archival(self, command: str, arguments: tuple[str, ...], *, user: str) -> int:
        ran = subprocess.run(
            service_command(ARCHIVAL, command, *arguments),
            env=service_environment(self._control.environment(user)),
            cwd=PROJECT,
            check=False,
        )
        return ran.returncode

    async def _foreground(self, options: Options, watcher: Watcher) -> bool:
        """Returns False if it was interrupted before everything was ready."""

        async def started(supervisor: Supervisor) -> None:
            deadline = time.monotonic() + READY_WITHIN_S
            while not self._settled(supervisor.status(), watcher, deadline):
                await asyncio.sleep(_LOOK_EVERY_S)

        whole = await serve(self._home, options, event=watcher.event, started=started)
        with contextlib.suppress(OSError):  # the terminal may be gone
            watcher.event("Everything is stopped.")
        return whole

    def _detach(self, options: Options) -> None:
        """Returns when the supervisor answers."""
        self._home.folder.mkdir(parents=True, exist_ok=True)
        complaints = self._home.folder / "supervisor.stderr"
        reading, writing = os.pipe()
        with complaints.open("wb") as stderr, os.fdopen(reading, "rb") as told:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pkg.devkit.process.serve", str(writing)],
                env={
                    **os.environ,
                    "PYTHONPATH": str(PROJECT),
                    "BIDKIT_HOME": str(self._home.folder),
                },
                stdin=subprocess.PIPE,
                stdout=stderr,
                stderr=stderr,
                cwd=PROJECT,
                pass_fds=(writing,),
                start_new_session=True,
            )
            os.close(writing)
            assert process.stdin is not None  # noqa: S101 - PIPE above
            process.stdin.write(msgspec.json.encode(options))
            process.stdin.close()
            line = told.readline()
        if not line:
            last = logs.tail(complaints, 1) or ["it left no word"]
            raise BidkitError(f"bidkit's supervisor died: {last[0]} (all in {complaints}).")
        failure = msgspec.json.decode(line, type=Failure | None)
        # It outlives us on purpose, so the warning about an unwaited child is wrong.
        process.returncode = 0
        if failure:
            if failure.already_running:
                raise AlreadyRunning(failure.message)
            raise error_of(failure.code, failure.message)

    def _see_ready(self, watcher: Watcher) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        try:
            while not self._settled(self._control.status(), watcher, deadline):
                time.sleep(_LOOK_EVERY_S)
        except NotReady as error:
            raise NotReady(
                f"{error} Everything else keeps running; `bidkit down` stops it."
            ) from error

    def _settled(self, now: SystemStatus, watcher: Watcher, deadline: float) -> bool:
        if not is_settled(now, watcher, deadline=deadline, last_words=self._last_words):
            return False
        watcher.ready(now)
        return True

    def _last_words(self, replica: str) -> str | None:
        last = logs.tail(self._home.log(replica), 1)
        return last[0] if last else None

    def _stop(self, say: Say) -> bool:
        with self._home.lock() as ours:
            if ours:
                left = end_leftovers(self._home.processes)
                forget_supervisor(self._home)
                if left:
                    say(f"ended what an earlier run had left: {', '.join(left)}")
                return bool(left)
        shown: set[str] = set()
        environment: dict[str, str] = {}
        with contextlib.suppress(StoppedMeanwhile):  # another `down` is nearly done
            environment = self._control.environment(API)
            self._control.stop()
        within_s = stop_within_s(environment) + STORES_STOP_WITHIN_S
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            with self._home.lock() as ours:
                if ours:
                    for name in sorted(shown):
                        say(f"{name} is stopped")
                    return True
            try:
                running = {
                    replica.name
                    for service in self._control.status().services
                    for replica in service.replicas
                    if replica.pid
                }
            except (NotRunning, StoppedMeanwhile):
                running = set()
            for name in sorted(shown - running):
                say(f"{name} is stopped")
            shown = running
            time.sleep(_LOOK_EVERY_S)
        raise BidkitError(f"the system has not stopped in {within_s:g} s.")
