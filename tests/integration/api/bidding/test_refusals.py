"""A Redis that answers but refuses bids is noticed, and so is that it takes them again."""

from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from redis.asyncio import Redis

from pkg.auction.bid import Strategy
from pkg.trials.waiting import until
from tests.integration.api.conftest import allow
from tests.integration.processes import Service, Services

Step = Callable[[Redis], Awaitable[object]]

REFUSED, ACCEPTED = "Redis refuses bids", "Redis accepts bids again"


def config(name: str, value: str) -> Step:
    return lambda redis: redis.config_set(name, value)


def acl(rule: str) -> Step:
    return lambda redis: allow(redis, rule)


FAULTS: dict[str, tuple[Step, Step]] = {
    "OOM": (config("maxmemory", "1"), config("maxmemory", "512mb")),
    "NOREPLICAS": (config("min-replicas-to-write", "1"), config("min-replicas-to-write", "0")),
    "NOPERM": (acl("-@scripting"), acl("+@scripting")),
}


@pytest.fixture
async def repaired(redis: Redis) -> AsyncIterator[None]:
    yield
    for name in ("OOM", "NOREPLICAS"):
        await FAULTS[name][1](redis)


@pytest.mark.parametrize(
    ("strategy", "word"),
    [
        *((Strategy.LUA, word) for word in FAULTS),
        *((Strategy.OPTIMISTIC, word) for word in ("OOM", "NOREPLICAS")),
    ],
)
@pytest.mark.usefixtures("repaired")
async def test_refused_bids_are_logged_once_counted_and_told_by_readiness(
    limited_user: str,
    redis: Redis,
    services: Services,
    strategy: Strategy,
    word: str,
) -> None:
    refuse, repair = FAULTS[word]
    api = await services.api(env={"REDIS_URL": limited_user, "BID_STRATEGY": strategy})
    async with aiohttp.ClientSession(api.url) as client:
        bids = Bids(client)
        assert (await bids.place(), await ready(client)) == (201, (200, "ok"))

        await refuse(redis)
        answers = [await bids.place() for _ in range(3)]

        assert answers == [503] * 3
        assert await ready(client) == (200, "refused")
        assert await counted(client, word) == 3
        assert [line for line in said(api) if REFUSED in line and word in line] == said(api)
        assert len(said(api)) == 1

        await repair(redis)

        async def accepted_again() -> bool:
            assert await bids.place() == 201
            return await ready(client) == (200, "ok")

        await until(accepted_again, within_s=15, log=lambda: api.log)
        assert len(said(api)) == 2
        assert ACCEPTED in said(api)[1]


class Bids:
    """Bids on one item, each above the last."""

    def __init__(self, client: aiohttp.ClientSession) -> None:
        self._client = client
        self._amount = 0

    async def place(self) -> int:
        self._amount += 1
        body = {"user_id": "ann", "amount": self._amount}
        async with self._client.post("/api/v1/items/vase/bid", json=body) as answer:
            return answer.status


async def ready(client: aiohttp.ClientSession) -> tuple[int, str]:
    async with client.get("/ready") as answer:
        return answer.status, (await answer.json())["checks"]["bids"]


async def counted(client: aiohttp.ClientSession, word: str) -> float:
    async with client.get("/metrics") as answer:
        for line in (await answer.text()).splitlines():
            if line.startswith(f'bid_redis_refusals_total{{error="{word}"}}'):
                return float(line.split()[1])
    return 0.0


def said(api: Service) -> list[str]:
    """Log lines about refused or accepted bids."""
    return [line for line in api.log.splitlines() if REFUSED in line or ACCEPTED in line]
