"""The bench on containers: one compose stack for the whole run, emptied for each row."""

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pkg.devkit import docker_cli, views
from pkg.devkit.compose.command import ComposeFailed
from pkg.devkit.compose.edge import await_passing
from pkg.devkit.compose.engine import Engine, compose_version
from pkg.devkit.compose.images import provide
from pkg.devkit.compose.passwords import make_passwords
from pkg.devkit.compose.project import Project
from pkg.devkit.compose.state_dir import StateDir
from pkg.devkit.home import Home, save
from pkg.devkit.names import API, ARCHIVAL, BROADCAST, NATS, POSTGRES, REDIS, SERVICES, STORES
from pkg.devkit.ports import free_ports
from pkg.devkit.settings import PROJECT
from pkg.devkit.signals import no_check
from pkg.devkit.system import Desired
from pkg.trials.crowd.ledger import Ledger
from pkg.trials.crowd.pace import BASE, SHORTENED
from pkg.trials.crowd.viewers import Viewers
from pkg.trials.faults.containers.container import Container
from pkg.trials.faults.containers.services import ContainerServices
from pkg.trials.faults.containers.stores import Address, ContainerStores
from pkg.trials.faults.row import Row
from pkg.trials.faults.trial import Trial

REPLICAS = {API: 2, BROADCAST: 2, ARCHIVAL: 1}
STORE_PORTS = {REDIS: 6379, NATS: 4222, POSTGRES: 5432}
HEARTBEAT_S = 4.0
"""Viewers ping because a disconnected service closes no connection, and the edge waits for over
a minute.
"""
_HOME_PREFIX = "bidkit-faults-compose-"
_TRIES = 3
_ID_CHARACTERS = 12


class ContainerBackend:
    def __init__(self, project: Project, desired: Desired, state_dir: StateDir) -> None:
        (network,) = project.engine.networks(project.name)
        name = docker_cli.ask("network", "inspect", "-f", "{{.Name}}", network).strip()
        self._desired = desired
        self.containers: dict[str, list[Container]] = {}
        for found in project.containers():
            one = Container(found, network=name)
            self.containers.setdefault(one.service, []).append(one)
        self.stores = ContainerStores(
            redis=self.containers[REDIS][0],
            nats=self.containers[NATS][0],
            postgres=self.containers[POSTGRES][0],
            addresses={
                store: Address(
                    desired.store_ports[store],
                    (state_dir.secrets / f"{store}_password").read_text(encoding="utf-8"),
                )
                for store in STORES
            },
        )
        self.services = ContainerServices(
            project, desired.edge_port, *(self.containers[service] for service in SERVICES)
        )

    @asynccontextmanager
    async def trial(self, row: Row, *, short: bool, logs: Path | None) -> AsyncIterator[Trial]:
        """Repairs what an earlier row left broken, then runs as `Backend` says."""
        await self.services.kill()
        await self.stores.renew()
        await self.containers["edge"][0].start()
        await self.services.start()
        # The edge notices healthy gateways a moment later. Bids refused until then would count as
        # costs of the fault.
        await asyncio.to_thread(await_passing, self._desired, check=no_check)
        try:
            yield Trial(
                stores=self.stores,
                services=self.services,
                ledger=Ledger(),
                viewers=Viewers(self.services.broadcast_port, heartbeat_s=HEARTBEAT_S),
                short=short,
                containers=self.containers,
            )
        finally:
            if logs is not None:
                await asyncio.to_thread(self._keep_logs, logs / row.name)

    def _keep_logs(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for one in self.services.all:
            text = "\n".join(one.lines())
            (folder / f"{one.name}.log").write_text(f"{text}\n", encoding="utf-8")


@asynccontextmanager
async def container_backend(*, short: bool) -> AsyncIterator[ContainerBackend]:
    """Runs the stack while the block runs; afterwards only images are left."""
    await asyncio.to_thread(_check_engine)
    await asyncio.to_thread(end_leftovers)
    home = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix=_HOME_PREFIX))
    with _owner(home).lock() as ours:
        assert ours  # noqa: S101 - the folder was made a moment ago, by us
        async with _stack(home, short=short) as backend:
            yield backend


@asynccontextmanager
async def _stack(home: Path, *, short: bool) -> AsyncIterator[ContainerBackend]:
    state_dir = StateDir(home)
    desired = _desired(short=short)
    project = Project(state_dir, desired)
    try:
        starting = asyncio.create_task(asyncio.to_thread(_up, project, desired, state_dir))
        try:
            await asyncio.shield(starting)
        finally:
            # Compose cannot be cancelled, and containers that it starts after `down` would stay.
            await asyncio.wait([starting])
        yield await asyncio.to_thread(ContainerBackend, project, desired, state_dir)
    finally:
        await asyncio.to_thread(_down, project)
        shutil.rmtree(home)


def _owner(home: Path) -> Home:
    """Its lock is held while this folder's bench runs, and released however that ends."""
    return Home(home / "owner")


def end_leftovers() -> None:
    """Removes the stacks of killed benches."""
    for home in Path(tempfile.gettempdir()).glob(f"{_HOME_PREFIX}*"):
        try:
            if home.stat().st_uid != os.getuid() or not (home / "owner").exists():
                continue  # another user's, or no bench's
        except FileNotFoundError:
            continue  # its bench has just removed it
        with _owner(home).lock() as free:
            if not free:
                continue
            _down(Project(StateDir(home), Desired()))
            shutil.rmtree(home)
            views.complain(f"ended what a killed bench had left: {home.name}")


def _desired(*, short: bool) -> Desired:
    edge, api, broadcast, *stores = free_ports(6)
    settings = {**BASE, **(SHORTENED if short else {})}
    del settings["BID_STRATEGY"], settings["BID_STRATEGY_OVERRIDE"]  # as compose.yaml has them
    return Desired(
        edge_port=edge,
        api_port=api,
        broadcast_port=broadcast,
        replicas=REPLICAS,
        settings=settings,
        store_ports=dict(zip(STORES, stores, strict=True)),
    )


def _override(project: Project, desired: Desired) -> dict[str, Any]:
    """Publishes the stores' ports on loopback, because the bench looks inside them."""
    override = project.override()
    for store, inside in STORE_PORTS.items():
        published = f"127.0.0.1:{desired.store_ports[store]}:{inside}"
        override["services"][store] = {"ports": [published]}
    return override


def _check_engine() -> None:
    """Raises NoEngine."""
    Engine().check_versions()


def _up(project: Project, desired: Desired, state_dir: StateDir) -> None:
    make_passwords(state_dir.secrets)
    save(state_dir.override, _override(project, desired))
    provide(project, project.configuration(), say=views.complain)
    for left in reversed(range(_TRIES)):
        try:
            project.up()
        except ComposeFailed as error:
            if not (left and error.is_impatient):
                raise
        else:
            return


def _down(project: Project) -> None:
    with contextlib.suppress(ComposeFailed):  # it may be stopping already
        project.kill()
    for left in reversed(range(_TRIES)):
        try:
            project.down(volumes=True)
        except ComposeFailed:  # a network may have an endpoint for a moment longer
            if not left:
                raise
        else:
            return


def images() -> str:
    """The images with their ids, and the versions of Docker and compose."""
    project = Project(StateDir(PROJECT / ".bidkit"), Desired())
    names = {one["image"] for one in project.configuration()["services"].values()}
    ids = project.engine.image_ids(sorted(names))
    listed = ", ".join(
        f"{name} {found.removeprefix('sha256:')[:_ID_CHARACTERS]}" for name, found in ids.items()
    )
    return f"{listed}; Docker {docker_cli.engine_version()}, compose {compose_version()}"
