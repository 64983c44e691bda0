"""REDIS_MIN_REPLICAS protects bids that only the primary has from a fail-over."""

from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pkg.auction.keys import item_key
from pkg.devkit.ports import free_ports
from pkg.trials.waiting import until
from tests.integration.api.relay.fail_over import Pair, two_redis
from tests.integration.api.relay.recovering import P, ask
from tests.integration.processes import Service, Services

pytestmark = pytest.mark.timeout(90)


async def _gateway(services: Services, pair: Pair, *, min_replicas: int) -> Service:
    """Without NATS, from which the primary's bids could be put back."""
    (nobody,) = free_ports(1)
    return await services.api(
        env={
            "REDIS_URL": pair.url,
            "NATS_URL": f"nats://127.0.0.1:{nobody}",
            "REDIS_TIMEOUT_S": "2",
            "REDIS_MIN_REPLICAS": str(min_replicas),
            "RECOVERY_WAIT_S": "1",
        }
    )


async def _seq_after_fail_over(pair: Pair) -> int:
    await pair.lose_primary()
    return int(await pair.new.hget(item_key(P, "vase"), "seq") or 0)


async def test_without_the_setting_a_bid_on_no_replica_is_answered_201_and_lost(
    services: Services, tmp_path: Path
) -> None:
    async with two_redis(tmp_path) as pair:
        api = await _gateway(services, pair, min_replicas=0)
        async with aiohttp.ClientSession(api.url) as client:
            assert await _accepted(client, 100, api)
            await pair.cut_replication()

            assert (await ask(client, 200))[0] == 201

        assert await _seq_after_fail_over(pair) == 1


async def test_with_the_setting_a_bid_on_no_replica_is_not_answered_201(
    services: Services, tmp_path: Path
) -> None:
    async with two_redis(tmp_path) as pair:
        api = await _gateway(services, pair, min_replicas=1)
        async with aiohttp.ClientSession(api.url) as client:
            assert await _accepted(client, 100, api)
            await pair.cut_replication()

            status, body = await ask(client, 200)
            assert (status, body["code"]) == (503, "outcome_unknown")

            assert await _seq_after_fail_over(pair) == 1  # only what was answered 201


async def test_bids_are_accepted_again_once_the_replica_is_back(
    services: Services, tmp_path: Path
) -> None:
    async with two_redis(tmp_path) as pair:
        api = await _gateway(services, pair, min_replicas=1)
        async with aiohttp.ClientSession(api.url) as client:
            assert await _accepted(client, 100, api)
            await pair.cut_replication()
            assert (await ask(client, 200))[0] == 503

            await pair.new.replicaof("127.0.0.1", str(pair.ports[0]))

            assert await _accepted(client, 300, api)


async def _accepted(client: aiohttp.ClientSession, cents: int, api: Service) -> object:
    async def placed() -> Any:  # noqa: ANN401
        status, body = await ask(client, cents)
        # A bid of unknown outcome may have been accepted; its retry is too low then.
        return status == 201 or (status == 200 and body["current_bid"] == cents / 100)

    return await until(placed, within_s=30, log=lambda: api.log)
