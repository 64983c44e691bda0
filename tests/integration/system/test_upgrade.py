"""An upgrade in the wrong order, under load: a gateway of the next release beside our worker."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import aiohttp
import pytest

from pkg.archival.store import Connection
from pkg.auction.item import partition_names, partition_of
from pkg.runtime.background import ended
from pkg.trials.waiting import until
from tests.integration.processes import Service, Services
from tests.integration.providers import Stores
from tests.integration.system.next_release import PARTITIONS, next_relay, next_worker

BIDDERS = 4
VERSION_2, SHINY, UNTOUCHED = "p01", "p02", "p03"
WAITING = "bid_archive_unknown_version"


def item_of(partition: str) -> str:
    names = (f"item-{number}" for number in range(1000))
    return next(name for name in names if partition_of(name, PARTITIONS) == partition)


@dataclass
class Load:
    """Bids on one item of each partition, again and again."""

    accepted: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(partition_names(PARTITIONS), 0)
    )

    async def bid(self, api: Service, partition: str) -> None:
        item, cents = item_of(partition), 0
        async with aiohttp.ClientSession(api.url) as client:
            while True:
                cents += 1
                body = f'{{"user_id":"ann","amount":{cents / 100:.2f}}}'
                async with client.post(f"/api/v1/items/{item}/bid", data=body) as answer:
                    assert answer.status == 201, await answer.text()
                    self.accepted[partition] += 1


@asynccontextmanager
async def under_load(api: Service) -> AsyncIterator[Load]:
    load = Load()
    bidders = [asyncio.create_task(load.bid(api, name)) for name in load.accepted]
    try:
        yield load
        assert not any(bidder.done() for bidder in bidders)
    finally:
        for bidder in bidders:
            await ended(bidder)


@pytest.mark.timeout(180)
async def test_events_of_the_next_release_wait_for_its_worker_and_nothing_else_does(
    services: Services, stores: Stores, archive: Connection
) -> None:
    relay = await services.relay()
    api = await services.api(env={"RELAY_ENABLED": "false"})
    worker = await services.archival()

    async with under_load(api) as load:
        await until(partial(archived, archive, 100), within_s=20, log=lambda: worker.log)
        await relay.replicas[0].end()

        # The gateway was rolled first: the wrong order.
        async with next_relay(stores, version_2=VERSION_2, shiny=SHINY):
            for name in (VERSION_2, SHINY):
                await until(partial(waits, worker, name), within_s=20, log=lambda: worker.log)
            stopped_at = await watermarks(archive)
            goes_on = await archived_of(archive, UNTOUCHED) + 100
            await until(partial(archived_of_reaches, archive, UNTOUCHED, goes_on), within_s=20)
        assert "partition p01 holds events of version 2: roll the archival-worker" in worker.log
        assert "partition p02 holds events of kind 'shiny': roll the archival-worker" in worker.log
        assert await readiness(worker) == (200, "stopped: p01, p02")

        # Rolled back: our relay goes on after what it cannot read.
        await services.relay()
        at_least = await archived_of(archive, VERSION_2) + 100
        await until(partial(archived_of_reaches, archive, VERSION_2, at_least), within_s=20)
        still_at = await watermarks(archive)
        assert [still_at[name] for name in (VERSION_2, SHINY)] == [
            stopped_at[name] for name in (VERSION_2, SHINY)
        ]
        assert still_at[UNTOUCHED] > stopped_at[UNTOUCHED]

        async with next_worker(stores):
            for name in (VERSION_2, SHINY):
                await until(partial(goes_on_from, archive, name, still_at[name]), within_s=60)
            await until(partial(waits_for_nobody, worker), within_s=60, log=lambda: worker.log)

    code, report, complaints = await services.run("archival", "audit", "--json")
    assert code == 0, report + complaints
    assert json.loads(report)["dead_letters_in_all"] == 0
    assert json.loads(report)["archived"] >= sum(load.accepted.values())


async def archived(archive: Connection, count: int) -> bool:
    return bool(await archive.fetchval("SELECT count(*) >= $1 FROM bids", count))


async def archived_of(archive: Connection, partition: str) -> int:
    count: int = await archive.fetchval(
        "SELECT count(*) FROM bids WHERE item_id = $1", item_of(partition)
    )
    return count


async def archived_of_reaches(archive: Connection, partition: str, count: int) -> bool:
    return await archived_of(archive, partition) >= count


async def watermarks(archive: Connection) -> dict[str, tuple[int, int]]:
    rows = await archive.fetch("SELECT partition, last_ms, last_n FROM watermarks")
    return {row["partition"]: (row["last_ms"], row["last_n"]) for row in rows}


async def goes_on_from(archive: Connection, partition: str, mark: tuple[int, int]) -> bool:
    return (await watermarks(archive))[partition] > mark


async def waiting(worker: Service) -> dict[str, float]:
    async with aiohttp.ClientSession(worker.url) as client, client.get("/metrics") as answer:
        samples = [line for line in (await answer.text()).splitlines() if line.startswith(WAITING)]
    return {line.split('"')[1]: float(line.split(" ")[-1]) for line in samples}


async def waits(worker: Service, partition: str) -> bool:
    return (await waiting(worker)).get(partition, 0) > 0


async def waits_for_nobody(worker: Service) -> bool:
    return not any((await waiting(worker)).values())


async def readiness(worker: Service) -> tuple[int, str]:
    async with aiohttp.ClientSession(worker.url) as client, client.get("/ready") as answer:
        return answer.status, (await answer.json())["checks"]["partitions"]
