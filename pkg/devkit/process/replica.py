"""Keeps one process running: starts it, probes it, restarts it when it ends or hangs."""

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path

from pkg.devkit.backend import Say
from pkg.devkit.errors import NotReady
from pkg.devkit.process.child import Child, Hurry, Usage
from pkg.devkit.process.records import Records
from pkg.devkit.process.workloads import Workload
from pkg.devkit.system import ReplicaStatus
from pkg.runtime.backoff import Backoff

_LOOK_EVERY_S = 0.02
FIRST_RESTART_S = 0.5
RESTART_CAP_S = 30.0
HEALTHY_AFTER_S = 60.0
"""After a run this long, the back-off starts over."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a process is probed, and when it counts as hung."""

    probe_every_s: float = 1.0
    probe_unready_every_s: float = 0.25
    """Once it was ready."""

    probe_starting_every_s: float = 0.05
    unresponsive_after: int = 5
    """Liveness probes in a row that may fail before the process is replaced."""

    unresponsive_stop_s: float = 3.0
    """Time that such a process gets to end by itself."""

    start_limit_s: float = 60.0
    """How long a process may take to answer its first liveness probe, and to get ready."""


class Replica:
    """Owned by a supervisor's task group, in which `run` lives until `stop`."""

    def __init__(
        self,
        name: str,
        workload: Workload,
        *,
        log: Path,
        records: Records,
        hurry: Hurry,
        event: Say,
        patience: Patience,
    ) -> None:
        self.name = name
        self._workload = workload
        self._log = log
        self._records = records
        self._hurry = hurry
        self._event = event
        self._patience = patience
        self._phase = "starting"
        self._why: str | None = None
        self._restarts = 0
        self._bounced = 0
        self._child: Child | None = None
        self._usage: Usage | None = None
        self._wake = asyncio.Event()
        self._stopping = False
        self._bouncing = False
        self._gone = asyncio.Event()

    @property
    def ready(self) -> bool:
        return self._phase == "ready"

    def status(self) -> ReplicaStatus:
        child, usage = self._child, self._usage
        if usage and usage.memory_bytes is None:
            usage.sample()
        return ReplicaStatus(
            name=self.name,
            phase=self._phase,
            ready=self.ready,
            restarts=self._restarts,
            pid=child.pid if child else None,
            port=self._workload.port,
            age_s=child.age_s if child else None,
            cpu_percent=usage.cpu_percent if usage else None,
            memory_bytes=usage.memory_bytes if usage else None,
            why=self._why,
            log=str(self._log),
        )

    async def run(self) -> None:
        backoff = Backoff(FIRST_RESTART_S, RESTART_CAP_S)
        try:
            while not self._stopping:
                began = asyncio.get_running_loop().time()
                end = await self._run_once()
                if self._stopping or self._bouncing:
                    continue
                self._restarts += 1
                if asyncio.get_running_loop().time() - began >= HEALTHY_AFTER_S:
                    backoff.reset()
                delay_s = backoff.next_s()
                self._move("waiting", f"{end}; starts again in {delay_s:g} s")
                self._event(f"{self.name} {self._why}")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), timeout=delay_s)
        finally:
            self._workload.close()
            self._gone.set()

    async def stop(self) -> None:
        """Returns when the process has ended."""
        self._stopping = True
        self._wake.set()
        await self._gone.wait()

    async def bounce(self) -> None:
        """Stops the process, starts it again, and returns when it is ready."""
        before = self._bounced
        self._bouncing = True
        self._wake.set()
        while self._bounced == before and not self._gone.is_set():
            await asyncio.sleep(_LOOK_EVERY_S)
        await self.becomes_ready()

    async def becomes_ready(self) -> None:
        deadline = asyncio.get_running_loop().time() + self._patience.start_limit_s
        while not self.ready:
            if asyncio.get_running_loop().time() > deadline or self._gone.is_set():
                raise NotReady(f"{self.name} did not get ready: {self._why or self._phase}.")
            await asyncio.sleep(_LOOK_EVERY_S)

    def sample(self) -> None:
        if self._usage:
            self._usage.sample()

    async def _run_once(self) -> str:
        """Returns how the process ended: by itself, hung, or because of `stop`."""
        if self._bouncing:
            self._bouncing = False
            self._bounced += 1
        if not self._stopping:
            self._wake.clear()
        self._move("starting", None)
        try:
            child = await Child.start(
                self.name,
                self._workload.launch(),
                log=self._log,
                records=self._records,
                hurry=self._hurry,
            )
        except OSError as error:
            return f"could not be started ({error})"
        self._child, self._usage = child, Usage(child.pid)
        woken = asyncio.create_task(self._wake.wait())
        probing = asyncio.create_task(self._probe(child))
        try:
            await asyncio.wait({child.exit, woken, probing}, return_when=asyncio.FIRST_COMPLETED)
            if child.exit.done():
                return f"ended by itself with {_how(child.exit.result())}"
            if probing.done():
                probing.result()
                await child.stop(within_s=self._patience.unresponsive_stop_s)
                return f"did not answer {self._patience.unresponsive_after} times in a row"
            probing.cancel()
            self._move("stopping", None)
            return f"ended with {_how(await child.stop())}"
        finally:
            woken.cancel()
            probing.cancel()
            if not child.exit.done():  # we were cancelled: bidkit itself is failing
                await child.stop()
            self._child = self._usage = None

    async def _probe(self, child: Child) -> None:
        """Returns when the process has failed too many probes."""
        patience = self._patience
        answered, unanswered = False, 0
        while unanswered < patience.unresponsive_after:
            why = await self._workload.unready()
            if why is None or await self._workload.alive():
                answered, unanswered = True, 0
            elif answered or child.age_s > patience.start_limit_s:
                unanswered += 1
            was_ready = self._phase in {"ready", "unready"}
            self._move("ready" if why is None else "unready" if was_ready else "starting", why)
            if why is None:
                await asyncio.sleep(patience.probe_every_s)
            elif was_ready:
                await asyncio.sleep(patience.probe_unready_every_s)
            else:
                await asyncio.sleep(patience.probe_starting_every_s)

    def _move(self, phase: str, why: str | None) -> None:
        if (phase, why) == (self._phase, self._why):
            return
        was_ready, self._phase, self._why = self.ready, phase, why
        if self.ready != was_ready and phase in {"ready", "unready"}:
            self._event(f"{self.name} is {phase}{f': {why}' if why else ''}")


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"code {code}"
