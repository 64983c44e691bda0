"""Restore as an operator runs it: with the system running, killed half-way, on a terminal."""

import asyncio
import json
import os
import pty
import signal
import sys
from collections.abc import Sequence

import aiohttp
from redis.asyncio import Redis

from pkg.archival.store import Connection
from pkg.auction.events import decode_batch
from pkg.auction.item import partition_names
from pkg.auction.keys import meta_key, outbox_key
from pkg.auction.subjects import STREAM
from pkg.devkit.nats_users import RESTORE
from pkg.devkit.process.probes import service_says
from pkg.stores.redis_meta import RUN_ID
from pkg.trials.waiting import until
from tests.integration.archival.auction import PARTITIONS, publish
from tests.integration.archival.looking import connected, everything_acknowledged, holds
from tests.integration.archival.past import Past, archive_batches, everything_in, items_in
from tests.integration.processes import ROOT, Service, Services
from tests.integration.providers import Stores

MANY = [f"item-{number}" for number in range(20_000)]

_PRINTS_ITS_MEMORY = """
import psutil, runpy, sys
sys.argv[:] = ["restore", "restore", "--yes"]
try:
    runpy.run_module("pkg.archival", run_name="__main__", alter_sys=True)
finally:
    sys.stdout.write("\\n%d" % psutil.Process().memory_info().rss)
"""


async def bid(api: Service, item: str, amount: int) -> tuple[int, str]:
    """The HTTP status, and the error code if the bid was refused."""
    body = {"user_id": f"user-{amount % 5}", "amount": amount}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{api.url}/api/v1/items/{item}/bid", json=body) as response,
    ):
        return response.status, (await response.json()).get("code", "")


async def bid_up(api: Service, items: Sequence[str], amounts: Sequence[int]) -> None:
    for amount in amounts:
        answers = await asyncio.gather(*(bid(api, item, amount) for item in items))
        assert {status for status, _ in answers} == {201}


async def wants_restore(api: Service) -> bool:
    async with aiohttp.ClientSession() as session, session.get(f"{api.url}/metrics") as response:
        return "\nbid_restore_needed 1" in await response.text()


async def flush(stores: Stores) -> None:
    async with Redis.from_url(stores.redis_url) as redis:
        await redis.flushall()


async def relayed(stores: Stores) -> bool:
    """Whether the outboxes are empty: everything is in JetStream and archived."""
    async with Redis.from_url(stores.redis_url) as redis:
        return not [1 for name in partition_names(PARTITIONS) if await redis.xlen(outbox_key(name))]


async def anything_open(stores: Stores) -> bool:
    async with Redis.from_url(stores.redis_url) as redis:
        return any(
            [await redis.hexists(meta_key(name), RUN_ID) for name in partition_names(PARTITIONS)]
        )


def environment(stores: Stores) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **stores.environment_of(RESTORE)}


async def test_running_system_resumes_after_a_flush_and_a_restore(
    stores: Stores, services: Services
) -> None:
    items = [f"lot-{number}" for number in range(12)]
    api, _ = await services.api(), await services.archival()
    await bid_up(api, items, range(1, 9))
    await until(lambda: relayed(stores), within_s=10)
    before = await items_in(stores.redis_url)
    await flush(stores)
    refused = await bid(api, items[0], 100)
    await until(lambda: wants_restore(api), within_s=10)
    why = await service_says(api.replicas[0].admin_port)

    asked, _, _ = await services.run("archival", "restore")
    code, said, _ = await services.run("archival", "restore", "--yes", "--json")

    assert asked == 1  # there is no terminal, and Redis stays closed
    assert why == "/ready says 503: redis recovering, recovery waits for restore"
    assert refused == (503, "redis_recovering")
    assert (code, json.loads(said)["plan"]["items_to_put_back"]) == (0, 12), said
    assert await items_in(stores.redis_url) == before
    await api.replicas[0].becomes_ready()
    await bid_up(api, items, range(100, 105))
    code, table, _ = await services.run("archival", "audit")
    assert code == 0, table


async def test_bids_that_were_never_archived_come_back_from_jetstream(
    stores: Stores, archive: Connection, services: Services
) -> None:
    items = [f"lot-{number}" for number in range(12)]
    api, worker = await services.api(), await services.archival()
    await bid_up(api, items, range(1, 4))
    await until(lambda: everything_acknowledged(stores.nats_url), within_s=10)
    await until(lambda: holds(archive, 36), within_s=10)
    await worker.replicas[0].end()
    await bid_up(api, items, range(4, 9))
    await until(lambda: in_stream(stores, 96), within_s=10)
    before = await items_in(stores.redis_url)
    await flush(stores)
    await until(lambda: wants_restore(api), within_s=10)

    code, said, _ = await services.run("archival", "restore", "--yes", "--json")

    assert (code, json.loads(said)["plan"]["from_stream"]) == (0, 60), said
    assert await items_in(stores.redis_url) == before
    await api.replicas[0].becomes_ready()
    await bid_up(api, items, range(100, 103))
    await services.archival()
    code, table, _ = await services.run("archival", "audit")
    assert code == 0, table
    assert await holds(archive, 12 * 11)


async def in_stream(stores: Stores, events: int) -> bool:
    async with connected(stores.nats_url) as client:
        jetstream = client.jetstream()
        state = (await jetstream.stream_info(STREAM)).state
        batches = [
            decode_batch((await jetstream.get_msg(STREAM, number)).data or b"")
            for number in range(state.first_seq, state.last_seq + 1)
        ]
    return sum(len(batch.events) for batch in batches) == events


async def test_restore_killed_half_way_opens_nothing_and_the_next_run_completes_it(
    stores: Stores, archive: Connection, services: Services
) -> None:
    past = Past()
    archived, tail = past.bid(MANY, bids=1), past.bid(MANY[:500], bids=2)
    await archive_batches(archive, archived)
    await publish(stores.nats_url, *tail)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "pkg.archival", "restore", "--yes"),
        env=environment(stores),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )

    async def some_are_back() -> bool:
        async with Redis.from_url(stores.redis_url) as redis:
            return bool(await redis.dbsize() > 1000)

    await until(some_are_back, within_s=30)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    half = await items_in(stores.redis_url)
    opened = await anything_open(stores)
    code, _, _ = await services.run("archival", "restore", "--yes")

    assert (len(half) < len(MANY), opened, code) == (True, False, 0)
    assert await items_in(stores.redis_url) == past.state
    assert await anything_open(stores)


async def test_memory_does_not_grow_with_the_archive(stores: Stores, archive: Connection) -> None:
    past = Past()

    async def resident_bytes() -> int:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-c", _PRINTS_ITS_MEMORY),
            env=environment(stores),
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await process.communicate()
        assert process.returncode == 0
        await flush(stores)
        return int(said.split()[-1])

    await archive_batches(archive, past.bid(MANY[:1000], bids=1))
    few = await resident_bytes()
    await archive_batches(archive, past.bid(MANY[1000:], bids=1))

    many = await resident_bytes()

    assert many - few < 6 * 1024 * 1024, (few, many)


async def test_restore_asks_on_a_terminal_and_writes_nothing_without_a_yes(
    stores: Stores, archive: Connection
) -> None:
    past = Past()
    await archive_batches(archive, past.bid(["vase"], bids=3))

    async def answered(line: bytes) -> tuple[int, bytes]:
        ours, theirs = pty.openpty()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "pkg.archival", "restore"),
                env=environment(stores),
                stdin=theirs,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
            os.write(ours, line)
            said, _ = await process.communicate()
            return process.returncode or 0, said
        finally:
            os.close(ours)
            os.close(theirs)

    declined, _ = await answered(b"\n")
    untouched = await everything_in(stores.redis_url)
    agreed, said = await answered(b"yes\n")

    assert (declined, untouched, agreed) == (1, {}, 0)
    assert b"1 of 1 items to put back, covering 3 bids" in said
    assert await items_in(stores.redis_url) == past.state


async def test_restore_interrupted_at_the_question_ends_at_once(
    stores: Stores, archive: Connection
) -> None:
    await archive_batches(archive, Past().bid(["vase"], bids=1))
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "pkg.archival", "restore"),
        env=environment(stores),
        stdin=theirs,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    await asyncio.wait_for(process.stderr.readuntil(b"[y/N] "), timeout=20)

    process.send_signal(signal.SIGINT)
    code = await asyncio.wait_for(process.wait(), timeout=20)

    os.close(ours)
    os.close(theirs)
    assert code == 1
    assert await everything_in(stores.redis_url) == {}
