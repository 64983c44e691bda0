"""A Redis that answers but refuses bids is noticed, and so is that it takes them again."""

from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit

import aiohttp
import pytest
from redis.asyncio import Redis

from pkg.auction.bid import Strategy
from pkg.stores.redis_meta import Executes
from pkg.trials.waiting import until
from tests.integration.processes import Service, Services
from tests.integration.providers import Stores

Step = Callable[[Redis], Awaitable[object]]

USER = "limited"
REFUSED, ACCEPTED = "Redis refuses bids", "Redis accepts bids again"


def config(name: str, value: str) -> Step:
    return lambda redis: redis.config_set(name, value)


def as_user(redis: Executes, *rules: str) -> Awaitable[object]:
    return redis.execute_command("ACL", "SETUSER", USER, *rules)


def acl(rule: str) -> Step:
    return lambda redis: as_user(redis, rule)


FAULTS: dict[str, tuple[Step, Step]] = {
    "OOM": (config("maxmemory", "1"), config("maxmemory", "512mb")),
    "NOREPLICAS": (config("min-replicas-to-write", "1"), config("min-replicas-to-write", "0")),
    "NOPERM": (acl("-@scripting"), acl("+@scripting")),
}


@pytest.fixture
async def limited_url(stores: Stores, redis: Redis) -> AsyncIterator[str]:
    """Redis' URL for a user of its own, whose permissions a test may change."""
    await as_user(redis, "on", ">secret", "~*", "&*", "+@all")
    where = urlsplit(stores.redis_url)
    yield f"redis://{USER}:secret@{where.hostname}:{where.port}/0"
    for _, repair in FAULTS.values():
        await repair(redis)
    await redis.acl_deluser(USER)


@pytest.mark.parametrize(
    ("strategy", "word"),
    [
        *((Strategy.LUA, word) for word in FAULTS),
        *((Strategy.OPTIMISTIC, word) for word in ("OOM", "NOREPLICAS")),
    ],
)
async def test_refused_bids_are_logged_once_counted_and_told_by_readiness(
    limited_url: str, redis: Redis, services: Services, strategy: Strategy, word: str
) -> None:
    refuse, repair = FAULTS[word]
    api = await services.api(env={"REDIS_URL": limited_url, "BID_STRATEGY": strategy})
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
