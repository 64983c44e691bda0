"""Stores whose certificates a private authority signed: every process trusts it, and no other."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from redis.asyncio import Redis

from pkg.auction.departed import bits_of
from pkg.auction.item import partition_of
from pkg.auction.keys import departed_key, item_key, meta_key
from pkg.devkit.ports import free_ports
from pkg.devkit.process.servers import NatsServer
from pkg.stores.redis_meta import DEPARTURES
from pkg.trials.waiting import until
from tests.integration.processes import Service, Services
from tests.integration.providers import Stores
from tests.integration.tls import Authority, Certificate, in_front_of

UNVERIFIED = "CERTIFICATE_VERIFY_FAILED"

pytestmark = [
    pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl"),
    pytest.mark.timeout(120),
]


@dataclass(frozen=True)
class Secured:
    """The stores of `stores`, but NATS, behind TLS."""

    urls: Mapping[str, str]
    nats: NatsServer

    def trusting(self, pem: Path | None) -> dict[str, str]:
        names = ("REDIS_CA_FILE", "NATS_CA_FILE", "POSTGRES_CA_FILE")
        return {**self.urls, **(dict.fromkeys(names, str(pem)) if pem else {})}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("authorities")


@pytest.fixture(scope="module")
def ours(folder: Path) -> Authority:
    return Authority(folder, "ours")


@pytest.fixture(scope="module")
def another(folder: Path) -> Authority:
    return Authority(folder, "another")


def postgres_url(stores: Stores, port: int, sslmode: str) -> str:
    parts = urlsplit(stores.postgres_url)
    user = parts.netloc.rpartition("@")[0]
    return f"postgresql://{user}@localhost:{port}{parts.path}?sslmode={sslmode}"


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port
    return port


def secured(
    stores: Stores, nats: NatsServer, certificate: Certificate, *, sslmode: str = "require"
) -> Iterator[Secured]:
    """NATS has to have the same certificate."""
    with (
        in_front_of(port_of(stores.redis_url), certificate) as redis,
        in_front_of(port_of(stores.postgres_url), certificate, asks=True) as postgres,
    ):
        urls = {
            "REDIS_URL": f"rediss://localhost:{redis}/0",
            "NATS_URL": f"tls://localhost:{nats.port}",
            "POSTGRES_URL": postgres_url(stores, postgres, sslmode),
        }
        yield Secured(urls, nats)


def nats_with(certificate: Certificate, data: Path, stores: Stores) -> NatsServer:
    (port,) = free_ports(1)
    server = NatsServer(data=data, port=port, users=stores.nats_users)
    server.prepare()
    with (data / "nats-server.conf").open("a") as configuration:
        configuration.write(
            f'tls {{ cert_file: "{certificate.pem}", key_file: "{certificate.key}" }}\n'
        )
    return server


@pytest.fixture
async def nats(ours: Authority, stores: Stores, tmp_path: Path) -> AsyncIterator[NatsServer]:
    server = nats_with(ours.signs("localhost"), tmp_path / "nats-over-tls", stores)
    launch = server.launch()
    process = await asyncio.create_subprocess_exec(
        *launch.argv,
        **launch.options(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    async def listens() -> bool:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.close()
        return True

    try:
        await until(listens, within_s=15, forgiving=(OSError,))
        yield server
    finally:
        process.kill()
        await process.wait()


@pytest.fixture
def over_tls(stores: Stores, nats: NatsServer, ours: Authority) -> Iterator[Secured]:
    yield from secured(stores, nats, ours.signs("localhost"))


async def checks(service: Service) -> dict[str, str]:
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"{service.replicas[0].admin_url}/ready") as answer,
    ):
        found = (await answer.json())["checks"]
    assert isinstance(found, dict)
    return found


async def refuses(service: Service, *, times: int = 1) -> None:
    replica = service.replicas[0]
    await until(
        lambda: replica.log.count(UNVERIFIED) >= times, within_s=20, log=lambda: replica.log
    )


async def test_every_process_works_if_it_trusts_the_authority(
    services: Services, over_tls: Secured, ours: Authority
) -> None:
    trust = over_tls.trusting(ours.pem)
    api, broadcast, worker = await asyncio.gather(
        services.api(env={**trust, "BID_STRATEGY": "optimistic"}),
        services.broadcast(env=trust),
        services.archival(env=trust),
    )
    async with aiohttp.ClientSession(api.url) as client:
        for strategy, amount in (("lua", 1), ("optimistic", 2)):
            async with client.post(
                "/api/v1/items/vase/bid",
                json={"user_id": "ann", "amount": amount},
                headers={"X-Bid-Strategy": strategy},
            ) as answer:
                assert answer.status == 201

    for service in (api, broadcast, worker):
        assert set((await checks(service)).values()) == {"ok"}
    code, said, complaint = await services.run("archival", "audit", env=trust)
    assert code == 0, said + complaint
    assert "vase" in said or "1 item" in said
    code, said, complaint = await services.run("archival", "redrive", "--yes", env=trust)
    assert code == 0, said + complaint


async def test_a_lookup_for_an_item_that_may_have_left_checks_the_archive_s_certificate_too(
    services: Services, stores: Stores, over_tls: Secured, ours: Authority
) -> None:
    """The worker answers lookups on a connection of its own."""
    trust = over_tls.trusting(ours.pem)
    trust["POSTGRES_URL"] = trust["POSTGRES_URL"].replace("=require", "=verify-full")
    api, _ = await asyncio.gather(services.api(env=trust), services.archival(env=trust))
    partition = partition_of("vase", 4)
    async with Redis.from_url(stores.redis_url) as redis:
        await redis.hset(meta_key(partition), DEPARTURES, 1)
        for bit in bits_of(item_key(partition, "vase")):
            await redis.setbit(departed_key(partition), bit, 1)

    async with (
        aiohttp.ClientSession(api.url) as client,
        client.get("/api/v1/items/vase") as answer,
    ):
        assert (answer.status, (await answer.json())["seq"]) == (200, 0)


async def test_restore_reads_all_stores_if_it_trusts_the_authority(
    services: Services, over_tls: Secured, ours: Authority
) -> None:
    trust = over_tls.trusting(ours.pem)
    worker = await services.archival(env=trust)
    await worker.replicas[0].end()

    _, said, complaint = await services.run("archival", "restore", "--yes", env=trust)

    assert UNVERIFIED not in said + complaint
    assert "From the archive: 0 of 0 items" in said + complaint
    assert "From JetStream: 0 newer bids" in said + complaint


@pytest.mark.parametrize("trusts", ["the system's", "another"])
async def test_stores_of_an_unknown_authority_are_refused(
    services: Services, over_tls: Secured, another: Authority, trusts: str
) -> None:
    trust = over_tls.trusting(another.pem if trusts == "another" else None)
    # Without an authority, sslmode=require checks nothing, as libpq.
    trust["POSTGRES_URL"] = trust["POSTGRES_URL"].replace("=require", "=verify-full")
    if trusts != "another":
        trust["POSTGRES_URL"] += f"&sslrootcert={another.pem}"
    patient = {"START_GRACE_S": "0.2", "REDIS_TIMEOUT_S": "2"}

    api = await services.api(env={**trust, **patient}, wait=False)
    worker = await services.archival(env={**trust, **patient}, wait=False)
    audit = await services.run("archival", "audit", env=trust)
    redrive = await services.run("archival", "redrive", "--yes", env=trust)

    for service, expected in ((api, {"redis", "nats"}), (worker, {"postgres", "nats"})):
        await refuses(service, times=2)
        down = {name for name, state in (await checks(service)).items() if state != "ok"}
        assert down >= expected
    for code, _, complaint in (audit, redrive):
        assert code != 0
        assert UNVERIFIED in complaint


async def test_commands_refuse_a_postgresql_of_another_authority_than_its_own(
    services: Services, over_tls: Secured, ours: Authority, another: Authority
) -> None:
    """One store's authority does not vouch for another store."""
    trust = {**over_tls.trusting(ours.pem), "POSTGRES_CA_FILE": str(another.pem)}
    worker = await services.archival()
    await worker.replicas[0].end()

    for command in (
        ["audit"],
        ["redrive", "--yes"],
        ["restore", "--yes"],
        ["restore", "--empty", "--yes"],
    ):
        code, said, complaint = await services.run("archival", *command, env=trust)

        assert code != 0
        assert UNVERIFIED in said + complaint, command


async def test_a_certificate_for_another_host_is_refused(
    services: Services, stores: Stores, ours: Authority, nats: NatsServer
) -> None:
    for impostor in secured(stores, nats, ours.signs("elsewhere.test")):
        trust = impostor.trusting(ours.pem)
        redrive = await services.run("archival", "redrive", "--yes", env=trust)
        audit = await services.run("archival", "audit", env=trust)
        api = await services.api(env={**trust, "START_GRACE_S": "0.2"}, wait=False)

        await refuses(api)
        assert (await checks(api))["redis"] != "ok"
    for code, _, complaint in (redrive, audit):
        assert code != 0
        assert UNVERIFIED in complaint
        assert "elsewhere.test" in complaint or "Hostname mismatch" in complaint


async def test_verify_ca_asks_for_no_host_name(
    services: Services, stores: Stores, ours: Authority, nats: NatsServer
) -> None:
    worker = await services.archival()
    await worker.replicas[0].end()

    for renamed in secured(stores, nats, ours.signs("elsewhere.test"), sslmode="verify-ca"):
        trust = renamed.trusting(ours.pem)
        code, _, complaint = await services.run("archival", "redrive", "--yes", env=trust)

    assert code == 0, complaint


async def test_nats_without_tls_gets_no_password_from_a_tls_url(
    services: Services, stores: Stores
) -> None:
    url = f"tls://localhost:{port_of(stores.nats_url)}"

    api = await services.api(env={"NATS_URL": url, "START_GRACE_S": "0.2"}, wait=False)

    replica = api.replicas[0]
    await until(lambda: "offers no TLS" in replica.log, within_s=20, log=lambda: replica.log)
    assert (await checks(api))["nats"] == "down"


async def test_an_authority_that_cannot_be_read_ends_the_process_with_a_sentence(
    services: Services, stores: Stores, tmp_path: Path
) -> None:
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("no certificate")
    port = port_of(stores.postgres_url)
    urls = {"POSTGRES_URL": postgres_url(stores, port, "require"), "NATS_URL": "tls://localhost:1"}

    code, _, complaint = await services.run(
        "archival",
        env={**urls, "POSTGRES_CA_FILE": str(nothing), "NATS_CA_FILE": str(tmp_path / "missing")},
    )

    assert code == 2
    assert "POSTGRES_CA: holds no certificate in PEM form" in complaint
    assert "cannot read NATS_CA_FILE" in complaint
    assert complaint.count("\n") == 1
