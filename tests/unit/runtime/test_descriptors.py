"""The limit of open files, as services that run without their stores set and judge it."""

import asyncio
import resource
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from pkg.devkit.ports import free_ports
from pkg.devkit.process.probes import http_status
from pkg.runtime.descriptors import SPARE
from pkg.trials.waiting import until
from tests.unit.runtime.programs import ROOT

CLIENTS = 400
SETTING = {"api": "MAX_CONNECTIONS", "broadcast": "MAX_VIEWERS"}
TOLD = "the limit of open files cannot hold"


@dataclass
class Running:
    pid: int
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8")

    def limit(self) -> int:
        return int(psutil.Process(self.pid).rlimit(resource.RLIMIT_NOFILE)[0])


@asynccontextmanager
async def running(service: str, folder: Path, *, soft: int, hard: int) -> AsyncIterator[Running]:
    (admin,) = free_ports(1)
    environment = {
        "REDIS_URL": "redis://127.0.0.1:1",
        "NATS_URL": "nats://127.0.0.1:1",
        "POSTGRES_URL": "postgresql://127.0.0.1:1/bidding",
        "ADMIN_ADDR": f"127.0.0.1:{admin}",
        **{name: str(CLIENTS) for name in SETTING.values()},
    }
    if service != "archival":
        environment["SERVER_ADDR"] = "127.0.0.1:0"
    log_file = folder / "log"
    with log_file.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", f'ulimit -Sn {soft}; ulimit -Hn {hard}; exec "$@"', "sh"),
            *(sys.executable, "-m", f"pkg.{service}"),
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        await until(
            lambda: http_status(admin, "/health", timeout_s=2.0),
            within_s=20,
            log=lambda: log_file.read_text(encoding="utf-8"),
        )
        yield Running(process.pid, log_file)
    finally:
        process.kill()
        await process.wait()


@pytest.mark.parametrize("service", ["api", "broadcast", "archival"])
async def test_a_service_raises_its_limit_and_is_silent_if_that_suffices(
    tmp_path: Path, service: str
) -> None:
    async with running(service, tmp_path, soft=256, hard=CLIENTS + SPARE) as one:
        assert one.limit() == CLIENTS + SPARE
        assert TOLD not in one.log


@pytest.mark.parametrize("service", SETTING)
async def test_a_service_that_cannot_hold_its_clients_says_so_at_the_start(
    tmp_path: Path, service: str
) -> None:
    async with running(service, tmp_path, soft=256, hard=CLIENTS + SPARE - 1) as one:
        (line,) = (line for line in one.log.splitlines() if TOLD in line)

    assert f'"{SETTING[service]}": {CLIENTS}' in line
    assert f'"holds": {CLIENTS - 1}' in line
    assert '"level": "warning"' in line
