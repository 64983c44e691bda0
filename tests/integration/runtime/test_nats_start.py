"""terraform/nats/start.sh, which starts NATS in its ECS task, with any password or as a cluster."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import nats.errors
import psutil
import pytest
from nats.aio.client import Client
from nats.js.api import StreamInfo

from pkg.devkit.nats_users import ADMINISTRATOR
from pkg.devkit.nats_users import USERS as USERS_OF_NATS
from pkg.devkit.ports import free_ports
from pkg.devkit.process.wheels import Programs
from pkg.trials.waiting import until

SCRIPT = Path(__file__).parents[3] / "terraform" / "nats" / "start.sh"
USERS = SCRIPT.with_name("users.conf")
ODD_PASSWORD = "n@3/h:8%Zp5 s\"Y\\c'1$F`b{#}[]é;&|<>~!"
PASSWORDS = {
    "NATS_PASSWORD": ODD_PASSWORD,
    "NATS_API_GATEWAY_PASSWORD": f"{ODD_PASSWORD}api-gateway",
    "NATS_BROADCAST_SERVICE_PASSWORD": f"{ODD_PASSWORD}broadcast-service",
    "NATS_ARCHIVAL_WORKER_PASSWORD": f"{ODD_PASSWORD}archival-worker",
    "NATS_RESTORE_PASSWORD": f"{ODD_PASSWORD}restore",
}

pytestmark = pytest.mark.skipif(
    shutil.which("flock") is None, reason="needs flock, which the NATS image has"
)


@contextmanager
def started(folder: Path, number: int) -> Iterator[list[str]]:
    """Yields the URLs of ``number`` servers; more than one form a cluster."""
    free = free_ports(3 * number)
    ports, routes, http_ports = free[::3], free[1::3], free[2::3]
    running = []
    try:
        for index, port in enumerate(ports):
            (folder / str(index)).mkdir(exist_ok=True)
            environment = {
                "PATH": f"{Programs().nats_server().parent}:{os.environ['PATH']}",
                "NATS_NAME": f"nats-{index + 1}",
                **PASSWORDS,
                "NATS_USERS": USERS.read_text(),
                "NATS_ROUTES": " ".join(f"127.0.0.1:{one}" for one in routes if number > 1),
                "NATS_STORE": str(folder / str(index)),
                "NATS_PORT": str(port),
                "NATS_HTTP": str(http_ports[index]),
                "NATS_CLUSTER_PORT": str(routes[index]),
            }
            running.append(
                subprocess.Popen(
                    # As in ECS: the script is an argument, not a file.
                    ["sh", "-c", SCRIPT.read_text()],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
        yield [f"nats://127.0.0.1:{port}" for port in ports]
        assert all(server.poll() is None for server in running)
    finally:
        for server in running:
            server.kill()
            server.wait()


def listening_addresses() -> list[set[tuple[str, int]]]:
    """The addresses on which each NATS server started by this process listens."""
    return [
        {
            (one.laddr.ip, one.laddr.port)
            for one in each.net_connections()
            if one.laddr and one.status == psutil.CONN_LISTEN
        }
        for each in psutil.Process().children()
        if each.name() == "nats-server"
    ]


@asynccontextmanager
async def connected(
    url: str, password: str = ODD_PASSWORD, *, user: str = "bidding"
) -> AsyncIterator[Client]:
    """A client that is closed even if the server refuses it."""
    client = Client()
    try:
        await client.connect(
            url,
            user=user,
            password=password,
            inbox_prefix=f"_INBOX.{user}",
            allow_reconnect=False,
            connect_timeout=10,
        )
        yield client
    finally:
        await client.close()


async def listening(url: str) -> bool:
    _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.close()
    await writer.wait_closed()
    return True


async def test_any_password_works_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    with started(tmp_path, 1) as [url]:
        await until(lambda: listening(url), within_s=15, forgiving=(OSError,))

        with pytest.raises(nats.errors.Error):
            async with connected(url, "another"):
                pytest.fail("a wrong password was accepted")
        async with connected(url) as client:
            await client.jetstream().add_stream(name="S", subjects=["s"])
            await client.jetstream().publish("s", b"kept")

        assert list((tmp_path / "0" / "jetstream").rglob("*.blk"))


@pytest.mark.parametrize("user", sorted(set(USERS_OF_NATS) - {ADMINISTRATOR}))
async def test_each_user_has_its_own_password_and_may_not_do_everything(
    tmp_path: Path, user: str
) -> None:
    with started(tmp_path, 1) as [url]:
        await until(lambda: listening(url), within_s=15, forgiving=(OSError,))

        async with connected(url, f"{ODD_PASSWORD}{user}", user=user) as client:
            with pytest.raises(nats.errors.TimeoutError):
                await client.request("$JS.API.STREAM.NAMES", timeout=0.5)
        with pytest.raises(nats.errors.Error):
            async with connected(url, user=user):
                pytest.fail("the administrator's password was accepted")


async def test_monitoring_page_without_a_password_listens_only_on_loopback(tmp_path: Path) -> None:
    with started(tmp_path, 1) as [url]:
        await until(lambda: listening(url), within_s=15, forgiving=(OSError,))
        port = int(url.rpartition(":")[2])
        (addresses,) = (
            each for each in listening_addresses() if port in {number for _, number in each}
        )

    assert len(addresses) == 2
    assert {number for address, number in addresses if address != "127.0.0.1"} == {port}


async def test_three_servers_form_a_cluster_and_keep_three_copies_of_a_stream(
    tmp_path: Path,
) -> None:
    with started(tmp_path, 3) as urls:
        await until(lambda: listening(urls[0]), within_s=15, forgiving=(OSError,))
        async with connected(urls[0]) as client:
            jetstream = client.jetstream()

            async def replicated_stream() -> StreamInfo:
                await jetstream.add_stream(name="S", subjects=["s"], num_replicas=3)
                await jetstream.publish("s", b"kept")
                return await jetstream.stream_info("S")

            info = await until(replicated_stream, within_s=30, forgiving=(nats.errors.Error,))

        assert info.cluster is not None
        assert len(info.cluster.replicas or []) == 2


async def test_second_server_on_the_same_store_exits(tmp_path: Path) -> None:
    """ECS may start a second server while a host that was cut off still runs the first."""
    with started(tmp_path, 1) as [url]:
        await until(lambda: listening(url), within_s=15, forgiving=(OSError,))
        environment = {
            "PATH": f"{Programs().nats_server().parent}:{os.environ['PATH']}",
            "NATS_NAME": "nats",
            **PASSWORDS,
            "NATS_USERS": USERS.read_text(),
            "NATS_STORE": str(tmp_path / "0"),
            "NATS_STORE_WAIT_S": "1",
        }

        second = await asyncio.to_thread(
            subprocess.run,
            ["sh", "-c", SCRIPT.read_text()],
            env=environment,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

    assert second.returncode == 1
    assert "another server is on" in second.stderr
    # The killed process released the lock.
    with started(tmp_path, 1) as [url]:
        await until(lambda: listening(url), within_s=15, forgiving=(OSError,))
