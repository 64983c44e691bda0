"""The real servers: preparation, start, data and stop."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import nats
import psutil
import pytest
from redis.asyncio import Redis

from pkg.devkit.errors import MissingServer, UnusableData
from pkg.devkit.ports import free_ports
from pkg.devkit.process.postgres import PostgresServer
from pkg.devkit.process.servers import NatsServer, RedisServer, Server
from pkg.devkit.process.wheels import Programs
from pkg.trials.waiting import until
from tests.integration.providers import Servers, Stores

ROOT = Path(__file__).resolve().parents[4]

only_as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: only root switches user")


async def test_stores_are_empty_at_the_start_of_a_test(stores: Stores) -> None:
    async with Redis.from_url(stores.redis_url) as redis:
        keys = await redis.dbsize()
    connection = await nats.connect(stores.nats_url)
    streams = await connection.jetstream().streams_info()
    await connection.close()
    database = await asyncpg.connect(stores.postgres_url)
    tables = await database.fetchval("select count(*) from pg_tables where schemaname = 'public'")
    await database.close()

    assert (keys, streams, tables) == (0, [], 0)


async def test_redis_logs_writes_and_does_not_evict(stores: Stores) -> None:
    async with Redis.from_url(stores.redis_url) as redis:
        settings = await redis.config_get("*")

    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "everysec"
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["maxmemory"] == str(512 * 2**20)
    assert settings["save"] == ""


async def test_killed_store_restarts_at_its_address(servers: Servers, stores: Stores) -> None:
    servers.kill("postgres")

    servers.start("postgres")

    database = await asyncpg.connect(stores.postgres_url)
    assert await database.fetchval("select 1") == 1
    await database.close()


def test_error_for_a_missing_program_says_what_to_install(tmp_path: Path) -> None:
    nowhere = Programs(search_path=str(tmp_path))

    for server in (
        RedisServer(data=tmp_path, port=0, programs=nowhere),
        NatsServer(data=tmp_path, port=0, programs=nowhere),
        PostgresServer(data=tmp_path, port=0, programs=nowhere),
    ):
        with pytest.raises(MissingServer, match=r"was not found .* pip install"):
            server.prepare()


def test_programs_on_path_are_used_if_a_wheel_is_missing(tmp_path: Path) -> None:
    program = tmp_path / "redis-server"
    program.touch(mode=0o755)

    assert Programs(search_path=str(tmp_path)).redis_server() == program


def test_unfinished_initdb_is_repeated(folder: Path) -> None:
    server = postgres(folder)
    server.prepare()
    cluster = server.launch().cwd  # outside the folder if its user cannot enter that
    shutil.rmtree(cluster)
    abandoned = cluster.parent / ".postgres-half-made-x"
    abandoned.mkdir()
    (abandoned / "PG_VERSION").touch()

    server.prepare()

    assert (cluster / "global" / "pg_control").is_file()
    assert not abandoned.exists()


def test_incomplete_cluster_is_left_alone(folder: Path) -> None:
    server = postgres(folder)
    server.data.mkdir()
    (server.data / "PG_VERSION").write_text("18\n")

    with pytest.raises(UnusableData, match="global/pg_control is missing"):
        server.prepare()

    assert [path.name for path in server.data.iterdir()] == ["PG_VERSION"]


def test_data_of_another_version_is_left_alone(folder: Path) -> None:
    server = postgres(folder)
    server.prepare()
    (server.launch().cwd / "PG_VERSION").write_text("9.6\n")

    with pytest.raises(UnusableData, match=r"was made by PostgreSQL 9\.6"):
        server.prepare()


@only_as_root
def test_as_root_postgres_keeps_data_elsewhere_if_its_user_cannot_enter_the_folder(
    folder: Path,
) -> None:
    folder.chmod(0o700)
    server = postgres(folder)
    server.prepare()

    with running(server) as process:
        users = {process.username()}

    again = postgres(folder)
    again.prepare()
    elsewhere = Path((folder / "postgres.elsewhere").read_text().strip())
    assert users == {"nobody"}
    assert again.launch().cwd == server.launch().cwd == elsewhere / "cluster"
    assert (elsewhere / "cluster").stat().st_mode & 0o777 == 0o700
    again.discard()
    assert not elsewhere.exists()
    assert not (folder / "postgres.elsewhere").exists()


@only_as_root
def test_missing_data_elsewhere_is_an_error_and_no_new_cluster(folder: Path) -> None:
    folder.chmod(0o700)
    (folder / "postgres.elsewhere").write_text(str(folder / "gone"))

    with pytest.raises(UnusableData, match="which is gone"):
        postgres(folder).prepare()


@only_as_root
def test_unreachable_data_is_an_error_and_no_new_cluster(folder: Path) -> None:
    server = postgres(folder)
    server.prepare()
    if server.launch().cwd != server.data:
        pytest.skip("the user cannot enter the folder of the programs either")
    folder.chmod(0o700)

    with pytest.raises(UnusableData, match="holds data"):
        server.prepare()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals children of a dead parent")
async def test_server_ends_with_the_process_that_started_it(folder: Path) -> None:
    (port,) = free_ports(1)
    program = (
        "import subprocess, time, pathlib\n"
        "from pkg.devkit.process.servers import RedisServer\n"
        f"server = RedisServer(data=pathlib.Path({str(folder)!r}), port={port})\n"
        "server.prepare()\n"
        "launch = server.launch()\n"
        "print(subprocess.Popen(launch.argv, **launch.options(), stdout=-3).pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, env=environment, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    server = psutil.Process(int(await parent.stdout.readline()))

    parent.kill()
    await parent.wait()

    await until(
        lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE, within_s=5
    )


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that every user can enter; those of pytest are private."""
    folder = Path(tempfile.mkdtemp(prefix="bidkit-test-"))
    folder.chmod(0o755)
    yield folder
    postgres(folder).discard()
    shutil.rmtree(folder)


def postgres(folder: Path) -> PostgresServer:
    (port,) = free_ports(1)
    return PostgresServer(data=folder / "postgres", port=port, durable=False)


@contextmanager
def running(server: Server) -> Iterator[psutil.Process]:
    launch = server.launch()
    process = subprocess.Popen(
        launch.argv, **launch.options(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while why := server.unready():
            assert process.poll() is None, why
        yield psutil.Process(process.pid)
    finally:
        process.send_signal(launch.stop_signal)
        process.wait(timeout=10)
