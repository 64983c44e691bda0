"""RDS and ElastiCache are real servers, and a failure to start one is an error."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.request import urlopen
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from pkg.devkit.docker_cli import ask
from pkg.trials.waiting import until
from tests.integration.cloud.conftest import SHORTENED
from tests.integration.cloud.emulated import Emulated, emulated

pytestmark = pytest.mark.timeout(1000)  # builds the image


@pytest.fixture(scope="module")
def taken() -> Iterator[Emulated]:
    """An emulator whose ports for stores others have, and whose PostgreSQL has no image."""
    with ExitStack() as opened:
        ports = []
        for _ in range(2):
            listening = opened.enter_context(socket.create_server(("", 0)))
            ports.append(str(listening.getsockname()[1]))
        settings = {
            **SHORTENED,
            "RDS_BASE_PORT": ports[0],
            "ELASTICACHE_BASE_PORT": ports[1],
            "POSTGRES_IMAGE": "bidding-system/nobody-made-this:1",
        }
        yield opened.enter_context(emulated(settings))


def ca_of(emulator: Emulated) -> str:
    url = f"{emulator.url}/_ministack/elasticache/ca.pem"
    with urlopen(url, timeout=10) as answer:  # noqa: S310 - http
        text: str = answer.read().decode()
        return text


async def redis(emulator: Emulated) -> dict[str, Any]:
    """Its endpoint."""
    await until(emulator.answers, within_s=30)
    client = emulator.client("elasticache")
    name = f"r{uuid4().hex[:10]}"
    client.create_replication_group(
        ReplicationGroupId=name,
        ReplicationGroupDescription="a test",
        Engine="redis",
        EngineVersion="7.1",
        CacheNodeType="cache.t3.micro",
        TransitEncryptionEnabled=True,
        AuthToken="0123456789abcdef",
    )
    found = client.describe_replication_groups(ReplicationGroupId=name)["ReplicationGroups"][0]
    endpoint: dict[str, Any] = found["NodeGroups"][0]["PrimaryEndpoint"]
    return endpoint


async def test_redis_is_encrypted_by_the_ca_that_the_emulator_hands_out(
    image: None, taken: Emulated
) -> None:
    endpoint = await redis(taken)
    context = ssl.create_default_context(cadata=ca_of(taken))

    async def encrypted() -> bool:
        with (
            socket.create_connection((endpoint["Address"], endpoint["Port"]), timeout=2) as raw,
            context.wrap_socket(raw, server_hostname=endpoint["Address"]) as secured,
        ):
            secured.sendall(b"PING\r\n")
            return b"NOAUTH" in secured.recv(100)

    assert await until(encrypted, within_s=20, forgiving=(OSError,))


async def test_taken_port_matters_to_no_store_and_ports_are_on_loopback(
    image: None, taken: Emulated
) -> None:
    endpoint = await redis(taken)

    assert endpoint["Address"] not in {"localhost", "127.0.0.1", ""}
    assert endpoint["Port"] == 6379
    published = [line for each in taken.containers() for line in ask("port", each).splitlines()]
    assert published
    assert [line for line in published if "-> 127.0.0.1:" not in line] == []


async def test_database_without_a_container_has_failed(image: None, taken: Emulated) -> None:
    await until(taken.answers, within_s=30)
    rds = taken.client("rds")
    rds.create_db_instance(
        DBInstanceIdentifier="lost",
        Engine="postgres",
        EngineVersion="15",
        DBInstanceClass="db.t3.micro",
        AllocatedStorage=20,
        MasterUsername="bidding",
        MasterUserPassword="a-password-of-a-test",
    )

    def status() -> str:
        found = rds.describe_db_instances(DBInstanceIdentifier="lost")["DBInstances"]
        return str(found[0]["DBInstanceStatus"])

    await until(lambda: status() == "failed", within_s=30, what="it has failed", log=taken.log)


async def test_redis_without_a_container_is_refused(image: None) -> None:
    settings = {**SHORTENED, "REDIS_IMAGE": "bidding-system/nobody-made-this:1"}
    with emulated(settings) as lost:
        with pytest.raises(ClientError, match="could not start the container"):
            await redis(lost)
        groups = lost.client("elasticache").describe_replication_groups()["ReplicationGroups"]
        assert groups == []
