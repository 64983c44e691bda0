"""Replicas on one listening socket: starting, draining and ending without a failed request."""

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from pkg.trials.waiting import until
from tests.integration.processes import Replica, Service, Services
from tests.integration.providers import Servers
from tests.unit.api.http_client import RawClient, bid_request, raw_client, request

ANN_200 = b'{"user_id":"ann","amount":200}'


def port_of(service: Service) -> int:
    return int(service.url.rpartition(":")[2])


class KeepAliveClients:
    """Clients that send one request after the other. A lost connection counts as failed, although
    a robust client would retry.
    """

    def __init__(self, service: Service) -> None:
        self.answered = 0
        self.failed: list[str] = []
        self._url = service.url
        self._ended = False

    async def ask_on(self, number: int) -> None:
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(self._url, connector=connector) as client:
            amount = 0
            while not self._ended:
                amount += 1
                body = b'{"user_id":"u","amount":%d}' % amount
                try:
                    async with client.post(f"/api/v1/items/i{number}/bid", data=body) as answer:
                        await answer.read()
                        if answer.status != 201:
                            self.failed.append(str(answer.status))
                except aiohttp.ClientError as error:
                    self.failed.append(repr(error))
                self.answered += 1
                await asyncio.sleep(0.002)

    def end(self) -> None:
        self._ended = True


@asynccontextmanager
async def keep_alive_clients(service: Service, count: int) -> AsyncIterator[KeepAliveClients]:
    clients = KeepAliveClients(service)
    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            tasks.create_task(clients.ask_on(number))
        await until(lambda: clients.answered > count * 2, within_s=10)
        yield clients
        clients.end()


async def draining(replica: Replica) -> bool:
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"{replica.admin_url}/ready") as answer,
    ):
        return "draining" in (await answer.json())["checks"]


async def test_no_request_fails_while_one_of_two_replicas_ends(services: Services) -> None:
    api = await services.api(replicas=2)

    async with keep_alive_clients(api, 16) as clients:
        code = await api.replicas[0].end()
        answered = clients.answered
        await until(lambda: clients.answered > answered + 50, within_s=10)

    assert code == 0
    assert clients.failed == []


async def test_no_request_fails_while_a_replica_is_replaced(services: Services) -> None:
    api = await services.api()

    async with keep_alive_clients(api, 8) as clients:
        newer = await services.api()
        assert await api.replicas[0].end() == 0
        answered = clients.answered
        await until(lambda: clients.answered > answered + 50, within_s=10)

    assert clients.failed == []
    assert newer.replicas[0].process.returncode is None


async def test_idle_connections_are_served_for_a_while_then_closed(
    services: Services,
) -> None:
    api = await services.api(env={"DRAIN_S": "15", "SHUTDOWN_TIMEOUT_S": "30"})
    async with raw_client(port_of(api)) as idle:
        assert (await idle.ask(request("/health"))).status == 200

        api.replicas[0].send(signal.SIGTERM)

        await until(lambda: draining(api.replicas[0]), within_s=5)
        reply = await idle.ask(bid_request(ANN_200))
        assert (reply.status, reply.headers["connection"]) == (201, "close")
        assert await idle.ended()
    assert (
        await asyncio.wait_for(api.replicas[0].process.wait(), timeout=10) == 0
    )  # it was the last


async def test_an_idle_connection_does_not_keep_the_process_alive(services: Services) -> None:
    api = await services.api(env={"DRAIN_S": "0.5", "SHUTDOWN_TIMEOUT_S": "60"})
    async with raw_client(port_of(api)) as idle:
        await idle.ask(request("/health"))
        started = time.monotonic()

        assert await api.replicas[0].end() == 0

        assert time.monotonic() - started > 0.4  # else it would have been killed after 20 s
        assert await idle.ended()


async def test_a_request_in_flight_is_answered(servers: Servers, services: Services) -> None:
    api = await services.api(
        env={"DRAIN_S": "0.2", "SHUTDOWN_TIMEOUT_S": "40", "REDIS_TIMEOUT_S": "25"}
    )
    async with raw_client(port_of(api)) as client, raw_client(port_of(api)) as other:
        await other.ask(request("/health"))
        servers.pause("redis")
        try:
            await client.send(bid_request(ANN_200))
            await other.ask(request("/health"))
            api.replicas[0].send(signal.SIGTERM)
            await until(lambda: draining(api.replicas[0]), within_s=5)
            await until(lambda: _is_closed(other), within_s=5)
            # Well past DRAIN_S, the request in flight is still waited for.
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.reader.read(1), timeout=0.7)
        finally:
            servers.resume("redis")

        reply = await client.reply()

        assert (reply.status, reply.headers["connection"]) == (201, "close")
    assert await asyncio.wait_for(api.replicas[0].process.wait(), timeout=20) == 0


async def _is_closed(client: RawClient) -> bool:
    return client.reader.at_eof()


async def test_a_client_that_never_reads_does_not_delay_the_exit_past_the_time_out(
    services: Services,
) -> None:
    api = await services.api(env={"DRAIN_S": "0.2", "SHUTDOWN_TIMEOUT_S": "4"})
    loop = asyncio.get_running_loop()
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.setblocking(False)
        await loop.sock_connect(deaf, ("127.0.0.1", port_of(api)))
        asking = asyncio.create_task(
            loop.sock_sendall(deaf, request(f"/api/v1/items/{'a' * 128}") * 30_000)
        )
        await until(lambda: _stalls(api.replicas[0]), within_s=20)

        assert await api.replicas[0].end() == 0  # killed after 20 seconds otherwise

        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


async def _reads(replica: Replica) -> float:
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"{replica.admin_url}/metrics") as answer,
    ):
        for line in (await answer.text()).splitlines():
            if line.startswith('bid_requests_total{outcome="read"}'):
                return float(line.split()[1])
    return 0.0


async def _stalls(replica: Replica) -> bool:
    """The process has stopped answering a client that does not read."""
    before = await _reads(replica)
    await asyncio.sleep(0.3)
    return 0 < before == await _reads(replica)


async def test_sigint_ends_a_service_like_sigterm(services: Services) -> None:
    api = await services.api()

    assert await api.replicas[0].end(signal.SIGINT) == 0


async def test_an_unready_replica_accepts_no_connection_until_it_is_ready(
    servers: Servers, services: Services
) -> None:
    await services.declare_new()
    servers.stop("redis")
    api = await services.api(env={"START_GRACE_S": "60", "SHUTDOWN_TIMEOUT_S": "60"}, wait=False)
    async with aiohttp.ClientSession() as client:

        async def admin_answers() -> int:
            async with client.get(f"{api.replicas[0].admin_url}/ready") as answer:
                return answer.status

        refused = (aiohttp.ClientError,)
        assert await until(admin_answers, within_s=10, forgiving=refused) == 503
    async with raw_client(port_of(api)) as early:
        await early.send(bid_request(ANN_200))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(early.reader.read(1), timeout=0.7)

        servers.start("redis")

        assert (await early.reply()).status == 201


async def test_an_unready_replica_accepts_after_its_grace_and_answers_503(
    servers: Servers, services: Services
) -> None:
    servers.stop("redis")
    api = await services.api(env={"START_GRACE_S": "0.3"}, wait=False)

    async with raw_client(port_of(api)) as client:
        reply = await client.ask(bid_request(ANN_200))
        ready = await client.ask(request("/ready"))

    assert (reply.status, reply.code) == (503, "redis_unavailable")
    assert ready.status == 503
    assert ready.json["checks"]["redis"] != "ok"
    servers.start("redis")


async def test_a_process_stopped_while_it_waits_for_its_stores_exits_at_once(
    servers: Servers, services: Services
) -> None:
    servers.stop("redis")
    servers.stop("nats")
    api = await services.api(env={"START_GRACE_S": "60"}, wait=False)
    async with aiohttp.ClientSession() as client:

        async def lives() -> bool:
            async with client.get(f"{api.replicas[0].admin_url}/health") as answer:
                return answer.status == 200

        await until(lives, within_s=10, forgiving=(aiohttp.ClientError,))

    assert await asyncio.wait_for(api.replicas[0].end(), timeout=20) == 0
    servers.start("redis")
    servers.start("nats")
