"""A replica of Redis is promoted while the old primary still serves a gateway."""

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pkg.auction.item import partition_of
from pkg.devkit.ports import free_ports
from pkg.trials.waiting import until
from tests.integration.api.relay.fail_over import two_redis
from tests.integration.api.relay.recovering import metric
from tests.integration.processes import Service, Services


async def bid(gateway: aiohttp.ClientSession, item: str, amount: int) -> int | str:
    """The status; in place of a 503 its code."""
    body = {"user_id": "ann", "amount": amount}
    async with gateway.post(f"/api/v1/items/{item}/bid", json=body) as answer:
        code: str | None = (await answer.json()).get("code")
        return code or answer.status


async def audit(services: Services, redis_url: str) -> tuple[int, dict[str, Any]]:
    code, said, log = await services.run(
        "archival", "audit", "--json", env={"REDIS_URL": redis_url}
    )
    assert said, log
    return code, json.loads(said)


@pytest.mark.parametrize("same_item", [True, False])
async def test_the_loser_refuses_bids_and_what_it_accepted_is_kept_apart_and_named(
    services: Services, tmp_path: Path, *, same_item: bool
) -> None:
    ours = "vase" if same_item else _another_item_of(partition_of("vase", 4))
    async with two_redis(tmp_path) as pair:
        urls = [f"redis://127.0.0.1:{port}/0" for port in pair.ports]
        await services.archival()
        first = await services.api(env={"REDIS_URL": urls[0]})
        async with aiohttp.ClientSession(first.url) as old:
            assert await bid(old, "vase", 1) == 201
            await until(lambda: _relays(first), within_s=20, log=lambda: first.log)
            await pair.cut_replication()
            bidding = asyncio.create_task(_until_superseded(old, ours))
            _, second_url = await _on_its_own_port(services, urls[1])
            async with aiohttp.ClientSession(second_url) as new:
                accepted = await asyncio.wait_for(bidding, timeout=30)
                for number in range(50):
                    assert await bid(new, "vase", 1_000_000 + number) == 201
            async with old.get("/ready") as answer:
                ready = answer.status
        # Bids that the old primary relayed before the new one was opened were put back there.
        code, found = await audit(services, urls[1])

    assert ready == 503
    assert accepted > 100
    assert found["archived"] + found["superseded"] == 1 + accepted + 50
    assert (code == 0) == (found["superseded"] == 0)
    assert found["failing"] == []


async def _relays(gateway: Service) -> bool:
    """A replica that ends within the stream's very first batch would need restore."""
    return await metric(gateway, "bid_relay_events_total") > 0


async def _on_its_own_port(services: Services, redis_url: str) -> tuple[Service, str]:
    """Otherwise it would share the first gateway's."""
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    env = {"REDIS_URL": redis_url, "SERVER_ADDR": address}
    return await services.api(env=env), f"http://{address}"


async def _until_superseded(gateway: aiohttp.ClientSession, item: str) -> int:
    """Bids as fast as it can; returns how many were accepted."""
    accepted = 0
    for amount in itertools.count(2):
        status = await bid(gateway, item, amount)
        if status == "redis_superseded":
            return accepted
        accepted += status == 201
    raise AssertionError


async def test_the_old_primary_is_let_in_again_once_it_follows_the_new_one(
    services: Services, tmp_path: Path
) -> None:
    async with two_redis(tmp_path) as pair:
        urls = [f"redis://127.0.0.1:{port}/0" for port in pair.ports]
        await services.archival()
        first = await services.api(env={"REDIS_URL": urls[0]})
        async with aiohttp.ClientSession(first.url) as old:
            assert await bid(old, "vase", 1) == 201
            await until(lambda: _relays(first), within_s=20, log=lambda: first.log)
            await pair.cut_replication()
            second, _ = await _on_its_own_port(services, urls[1])
            amount = 2

            async def superseded() -> bool:
                nonlocal amount
                amount += 1
                return await bid(old, "vase", amount) == "redis_superseded"

            await until(superseded, within_s=20, log=lambda: first.log)
            await pair.old.replicaof("127.0.0.1", str(pair.ports[1]))

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
