"""A replica of Redis is promoted while the old primary still serves a gateway."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from pkg.auction.item import partition_of
from pkg.trials.waiting import until
from tests.integration.api.relay.fail_over import two_redis
from tests.integration.processes import Service, Services


@dataclass
class Split:
    old: aiohttp.ClientSession
    new: aiohttp.ClientSession
    old_url: str
    new_url: str
    gateways: tuple[Service, Service]


@asynccontextmanager
async def split(services: Services, folder: Path) -> AsyncIterator[Split]:
    """Both have the same past: a bid on ``vase``. Both serve a gateway, on the same NATS."""
    async with two_redis(folder) as pair:
        urls = [f"redis://127.0.0.1:{port}/0" for port in pair.ports]
        await services.archival()
        first = await services.api(env={"REDIS_URL": urls[0]})
        async with aiohttp.ClientSession(first.url) as old:
            assert await bid(old, "vase", 1) == 201
            await pair.cut_replication()
            second = await services.api(env={"REDIS_URL": urls[1]})
            async with aiohttp.ClientSession(second.url) as new:
                yield Split(old, new, urls[0], urls[1], (first, second))


async def bid(gateway: aiohttp.ClientSession, item: str, amount: int) -> int | str:
    """The status; in place of a 503 its code."""
    body = {"user_id": "ann", "amount": amount}
    async with gateway.post(f"/api/v1/items/{item}/bid", json=body) as answer:
        code: str | None = (await answer.json()).get("code")
        return code or answer.status


async def audit(services: Services, redis_url: str) -> tuple[int, dict[str, object]]:
    code, said, log = await services.run(
        "archival", "audit", "--json", env={"REDIS_URL": redis_url}
    )
    assert said, log
    return code, json.loads(said)


@pytest.mark.parametrize("same_item", [True, False])
async def test_the_loser_refuses_bids_and_what_it_accepted_is_kept_apart_and_named(
    services: Services, tmp_path: Path, *, same_item: bool
) -> None:
    theirs = "vase"
    ours = "vase" if same_item else _another_item_of(partition_of("vase", 4))
    async with split(services, tmp_path) as both:
        accepted = 0
        amount = 2

        async def superseded() -> bool:
            nonlocal accepted, amount
            status = await bid(both.old, ours, amount)
            accepted += status == 201
            amount += 1
            return status == "redis_superseded"

        await until(superseded, within_s=20, log=lambda: both.gateways[0].log)
        for number in range(50):
            assert await bid(both.new, theirs, 100_000 + number) == 201
        code, found = await audit(services, both.new_url)
        async with both.old.get("/ready") as answer:
            assert answer.status == 503

        # Bids that the old primary relayed before the new one opened were put back there.
        kept_apart = found["superseded"]
        assert isinstance(kept_apart, int)
        archived = found["archived"]
        assert isinstance(archived, int)
        assert archived + kept_apart == 1 + accepted + 50
        assert (code == 0) == (kept_apart == 0)
        assert found["failing"] == []


async def test_the_old_primary_is_let_in_again_once_it_follows_the_new_one(
    services: Services, tmp_path: Path
) -> None:
    async with two_redis(tmp_path) as pair:
        urls = [f"redis://127.0.0.1:{port}/0" for port in pair.ports]
        await services.archival()
        first = await services.api(env={"REDIS_URL": urls[0]})
        async with aiohttp.ClientSession(first.url) as old:
            assert await bid(old, "vase", 1) == 201
            await pair.cut_replication()
            second = await services.api(env={"REDIS_URL": urls[1]})
            amount = 2

            async def superseded() -> bool:
                nonlocal amount
                amount += 1
                return await bid(old, "vase", amount) == "redis_superseded"

            await until(superseded, within_s=20, log=lambda: first.log)
            await pair.old.replicaof("127.0.0.1", str(pair.ports[1]))
            await asyncio.sleep(0)

            async def follows() -> bool:
                return (await pair.old.info("replication")).get("master_link_status") == "up"

            await until(follows, within_s=20)
            await second.replicas[0].end()
            await pair.old.replicaof("NO", "ONE")

            async def accepted() -> bool:
                return await bid(old, "vase", 500_000) == 201

            await until(accepted, within_s=20, log=lambda: first.log)


def _another_item_of(partition: str) -> str:
    names = (f"chair-{number}" for number in range(1000))
    return next(name for name in names if partition_of(name, 4) == partition)
