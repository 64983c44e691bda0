"""The worker with a real stream and a real database, including outages of both."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import asyncpg
import msgspec
import pytest
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError

from pkg.archival.consumer import ACK_WAIT_S
from pkg.archival.intake import Reader
from pkg.archival.store import Connection
from pkg.auction.events import Batch, decode_watermark, encode_batch
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.auction.subjects import (
    ARCHIVE_CONSUMER,
    NO_PARTITION,
    STREAM,
    archived_subject,
    events_subject,
)
from pkg.trials.waiting import until
from tests.integration.archival.auction import Chain, Item, publish
from tests.integration.archival.conftest import Workers
from tests.integration.archival.looking import (
    connected,
    consumer,
    everything_acknowledged,
    holds,
)
from tests.integration.providers import Servers, Stores
from tests.integration.system.next_release import next_worker

PG_AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)


_WAITS_FOR_BIDS = "SELECT pid FROM pg_locks WHERE NOT granted AND relation = 'bids'::regclass"


async def inconsistent_items(archive: Connection) -> list[str]:
    """Items whose seqs are not exactly 1, 2, 3 … or whose count is wrong."""
    rows = await archive.fetch(
        "SELECT item_id FROM bids JOIN items ON id = item_id GROUP BY item_id, items.seq, bid_count"
        " HAVING count(*) <> max(bids.seq) OR items.seq <> max(bids.seq) OR bid_count <> count(*)"
    )
    return [row["item_id"] for row in rows]


async def test_published_bids_are_archived_and_acknowledged(
    stores: Stores, archive: Connection, workers: Workers
) -> None:
    workers.start()
    chain, item = Chain(), Item("lamp")

    await publish(stores.nats_url, *(chain.batch(item.bids(50)) for _ in range(10)))

    await until(lambda: holds(archive, 500), within_s=10)
    await until(lambda: everything_acknowledged(stores.nats_url), within_s=5)
    assert await inconsistent_items(archive) == []


async def test_worker_creates_missing_schema_stream_and_consumer(
    stores: Stores, workers: Workers
) -> None:
    workers.start()

    made = await until(lambda: consumer(stores.nats_url), within_s=10, forgiving=(NotFoundError,))

    assert made.config.ack_wait == 5
    assert made.config.max_deliver == -1
    assert made.config.max_ack_pending == 50_000
    await publish(stores.nats_url, Chain().batch(Item("lamp").bids(3)))
    archive = await asyncpg.connect(stores.postgres_url)
    await until(lambda: holds(archive, 3), within_s=10)
    await archive.close()


async def test_consumer_with_other_settings_is_updated(
    stores: Stores, archive: Connection, workers: Workers
) -> None:
    """As the previous release's, whose ack wait was 90 s."""
    await publish(stores.nats_url, Chain().batch(Item("lamp").bids(3)))
    async with connected(stores.nats_url) as client:
        await client.jetstream().pull_subscribe("", durable=ARCHIVE_CONSUMER, stream=STREAM)

    workers.start()

    await until(lambda: holds(archive, 3), within_s=10)
    info = await consumer(stores.nats_url)
    assert (info.config.ack_wait, info.config.max_ack_pending) == (5, 50_000)


async def test_lone_bid_is_archived_at_once(
    stores: Stores, archive: Connection, workers: Workers
) -> None:
    chain, item = Chain(), Item("lamp")
    workers.start()
    await publish(stores.nats_url, chain.batch(item.bids(1)))
    await until(lambda: holds(archive, 1), within_s=10)
    took_s = []

    for count in range(2, 7):
        began = time.monotonic()
        await publish(stores.nats_url, chain.batch(item.bids(1)))
        await until(partial(holds, archive, count), within_s=10)
        took_s.append(time.monotonic() - began)

    assert min(took_s) < 1, took_s  # a busy machine may delay some, but not all


async def test_two_workers_on_one_stream_archive_each_bid_once(
    stores: Stores, archive: Connection, workers: Workers
) -> None:
    items = [Item(f"item-{number}") for number in range(10)]
    chains = [Chain(f"p0{number}") for number in range(4)]
    batches = [
        chains[turn % 4].batch([item.bid() for item in items for _ in range(3)])
        for turn in range(100)
    ]
    for _ in range(2):
        workers.start(archive_batch_messages=5)

    await publish(stores.nats_url, *batches, *batches[:20])

    await until(lambda: holds(archive, 3000), within_s=20)
    await until(lambda: everything_acknowledged(stores.nats_url), within_s=5)
    assert await inconsistent_items(archive) == []
    marks = await archive.fetch("SELECT last_n FROM watermarks ORDER BY partition")
    assert [row["last_n"] for row in marks] == [25, 25, 25, 25]
    assert await archive.fetchval("SELECT count(*) FROM dead_letters") == 0


async def test_redelivery_of_everything_changes_nothing(
    stores: Stores, archive: Connection, workers: Workers
) -> None:
    """As after lost acknowledgements. The test deletes the consumer to cause it."""
    chain, item = Chain(), Item("lamp")
    workers.start()
    await publish(stores.nats_url, *(chain.batch(item.bids(20)) for _ in range(10)))
    await until(lambda: everything_acknowledged(stores.nats_url), within_s=10)

    async with connected(stores.nats_url) as client:
        await client.jetstream().delete_consumer(STREAM, ARCHIVE_CONSUMER)

    await until(lambda: everything_acknowledged(stores.nats_url), within_s=10)
    info = await consumer(stores.nats_url)
    assert info.delivered is not None
    assert info.delivered.consumer_seq == 10
    assert await holds(archive, 200)
    assert await inconsistent_items(archive) == []


async def test_message_another_client_gave_back_is_archived(
    stores: Stores, archive: Connection, workers: Workers
) -> None:
    await publish(stores.nats_url, Chain().batch(Item("lamp").bids(3)))
    async with connected(stores.nats_url) as client:
        pull = await client.jetstream().pull_subscribe("", durable=ARCHIVE_CONSUMER, stream=STREAM)
        (message,) = await pull.fetch(1)
        workers.start()
        await message.nak()
        await client.flush()

        await until(lambda: holds(archive, 3), within_s=10)

    await until(lambda: everything_acknowledged(stores.nats_url), within_s=5)


async def test_messages_of_a_long_transaction_are_not_redelivered(
    stores: Stores, archive: Connection, workers: Workers
) -> None:
    """Here it waits for a lock, for longer than the ack wait. Its session is kept, too."""
    chain, item = Chain(), Item("lamp")
    workers.start()
    await publish(stores.nats_url, chain.batch(item.bids(1)))
    await until(lambda: everything_acknowledged(stores.nats_url), within_s=10)
    async with archive.transaction():
        await archive.execute("LOCK TABLE bids IN EXCLUSIVE MODE")
        await publish(stores.nats_url, *(chain.batch(item.bids(2)) for _ in range(5)))

        waiting = await until(lambda: archive.fetchval(_WAITS_FOR_BIDS), within_s=5)
        await asyncio.sleep(2 * ACK_WAIT_S)

        assert await archive.fetchval(_WAITS_FOR_BIDS) == waiting
    await until(lambda: holds(archive, 11), within_s=10)
    await until(lambda: everything_acknowledged(stores.nats_url), within_s=5)
    info = await consumer(stores.nats_url)
    assert info.delivered is not None
    assert info.delivered.consumer_seq == 6


async def test_garbage_does_not_block_later_messages(
    stores: Stores, archive: Connection, workers: Workers
) -> None:
    chain, item = Chain(), Item("lamp")
    first, second = chain.batch(item.bids(2)), chain.batch(item.bids(2))
    workers.start()

    await publish(stores.nats_url, first, ("bid.events.p00", b"\x00garbage"), second)

    await until(lambda: holds(archive, 4), within_s=10)
    await until(lambda: everything_acknowledged(stores.nats_url), within_s=5)
    assert await archive.fetchval("SELECT payload FROM dead_letters") == b"\x00garbage"


class TooLargeEpochs(Reader):
    """Lets through what PostgreSQL cannot hold."""

    def batch(self, data: bytes) -> Batch:
        batch = super().batch(data)
        return msgspec.structs.replace(batch, epoch=2**63) if b"poison" in data else batch


async def test_message_that_postgres_cannot_hold_becomes_a_dead_letter_without_the_others(
    stores: Stores, archive: Connection, workers: Workers
) -> None:
    """A check that is missing in the reader must not stop the archive."""
    chains = [Chain(f"p0{number}") for number in range(4)]
    items = [Item(f"lamp-{number}") for number in range(4)]
    poison = encode_batch("p02", prev=BEGINNING, last=OutboxId(1, 1), events=[b'"poison"'])
    await publish(
        stores.nats_url,
        *(chain.batch(item.bids(5)) for chain, item in zip(chains, items, strict=True)),
        (events_subject("p02"), poison),
        *(chain.batch(item.bids(5)) for chain, item in zip(chains, items, strict=True)),
    )

    workers.start(reader=TooLargeEpochs())

    await until(lambda: holds(archive, 40), within_s=20)
    await until(lambda: everything_acknowledged(stores.nats_url), within_s=5)
    rows = await archive.fetch("SELECT reason, partition, payload FROM dead_letters")
    assert [tuple(row) for row in rows] == [("undecodable", "p02", poison)]


async def test_outages_of_postgres_at_the_start_and_later_lose_nothing(
    servers: Servers, stores: Stores, workers: Workers
) -> None:
    chain, item = Chain(), Item("lamp")
    servers.stop("postgres")
    workers.start()
    await publish(stores.nats_url, *(chain.batch(item.bids(10)) for _ in range(20)))
    servers.start("postgres")
    archive = await asyncpg.connect(stores.postgres_url)
    await until(lambda: holds(archive, 200), within_s=15)
    await archive.close()

    servers.kill("postgres")
    await publish(stores.nats_url, *(chain.batch(item.bids(10)) for _ in range(20)))
    servers.start("postgres")

    archive = await asyncpg.connect(stores.postgres_url)
    await until(lambda: holds(archive, 400), within_s=15, forgiving=PG_AWAY)
    await until(lambda: everything_acknowledged(stores.nats_url), within_s=5)
    assert await inconsistent_items(archive) == []
    await archive.close()


async def test_sessions_terminated_in_transactions_lose_nothing(
    stores: Stores, archive: Connection, workers: Workers
) -> None:
    chain, item = Chain(), Item("lamp")
    await publish(stores.nats_url, *(chain.batch(item.bids(20)) for _ in range(100)))
    workers.start(archive_batch_messages=2, archive_linger_ms=0)

    ended = 0
    while ended < 4 and not await holds(archive, 2000):
        ended += await archive.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name = 'archival-worker' AND datname = current_database()"
            " AND state <> 'idle'"
        )
        await asyncio.sleep(0.01)

    await until(lambda: holds(archive, 2000), within_s=20)
    assert ended == 4
    await until(lambda: everything_acknowledged(stores.nats_url), within_s=5)
    assert await inconsistent_items(archive) == []


async def test_nats_that_lost_its_disk_gets_a_new_stream_and_consumer(
    servers: Servers, stores: Stores, archive: Connection, workers: Workers
) -> None:
    chain, item = Chain(), Item("lamp")
    workers.start()
    await publish(stores.nats_url, chain.batch(item.bids(5)))
    await until(lambda: holds(archive, 5), within_s=10)

    servers.stop("nats")
    servers.discard_data("nats")
    servers.start("nats")
    await until(lambda: consumer(stores.nats_url), within_s=10, forgiving=(NotFoundError,))
    await publish(stores.nats_url, chain.batch(item.bids(5)))

    await until(lambda: holds(archive, 10), within_s=10)
    assert await archive.fetchval("SELECT count(*) FROM watermark_islands") == 0


async def test_worker_continues_after_the_stream_is_deleted_and_recreated(
    stores: Stores, archive: Connection, workers: Workers
) -> None:
    chain, item = Chain(), Item("lamp")
    workers.start()
    await publish(stores.nats_url, chain.batch(item.bids(5)))
    await until(lambda: holds(archive, 5), within_s=10)

    async with connected(stores.nats_url) as client:
        await client.jetstream().delete_stream(STREAM)
    await publish(stores.nats_url, chain.batch(item.bids(5)))

    await until(lambda: holds(archive, 10), within_s=15)


@asynccontextmanager
async def announced(nats_url: str) -> AsyncIterator[list[tuple[str, OutboxId]]]:
    """The watermarks announced from now on, as they arrive."""
    watermarks: list[tuple[str, OutboxId]] = []

    async def receive(message: Msg) -> None:
        if message.subject != archived_subject(NO_PARTITION):
            watermarks.append(decode_watermark(message.data)[:2])

    async with connected(nats_url) as client:
        await client.subscribe("bid.archived.*", cb=receive)
        await client.flush()
        yield watermarks


async def test_watermark_is_announced_every_second(
    stores: Stores, archive: Connection, workers: Workers
) -> None:
    batch = Chain("p02").batch(Item("lamp").bids(5))
    workers.start()
    async with announced(stores.nats_url) as watermarks:
        await publish(stores.nats_url, batch)

        await until(lambda: watermarks.count(("p02", batch.last)) >= 3, within_s=5)

    assert {partition for partition, _ in watermarks} == {"p02"}


async def test_watermark_is_announced_right_after_the_commit(
    stores: Stores, archive: Connection, workers: Workers
) -> None:
    chain, item = Chain(), Item("lamp")
    workers.start()
    await publish(stores.nats_url, chain.batch(item.bids(1)))
    await until(lambda: holds(archive, 1), within_s=10)
    took_s = []
    async with announced(stores.nats_url) as watermarks:
        for _ in range(8):
            batch = chain.batch(item.bids(1))
            began = time.monotonic()
            await publish(stores.nats_url, batch)
            await until(partial(watermarks.__contains__, ("p00", batch.last)), within_s=5)
            took_s.append(time.monotonic() - began)

    # With the announcements every second alone, nearly all would take about a second.
    assert sum(each < 0.6 for each in took_s) >= 3, took_s


async def test_watermarks_in_postgres_are_announced_after_a_restart(
    stores: Stores, archive: Connection, workers: Workers
) -> None:
    await archive.execute("INSERT INTO watermarks VALUES ('p03', 17, 4)")
    async with announced(stores.nats_url) as watermarks:
        workers.start()

        await until(lambda: ("p03", OutboxId(17, 4)) in watermarks, within_s=5)


async def test_stopped_worker_hands_its_messages_to_the_next_at_once(
    servers: Servers, stores: Stores, archive: Connection, workers: Workers
) -> None:
    """Without waiting for the ack wait."""
    chain, item = Chain(), Item("lamp")
    first = workers.start()
    await publish(stores.nats_url, chain.batch(item.bids(1)))
    await until(lambda: holds(archive, 1), within_s=10)
    servers.stop("postgres")
    await publish(stores.nats_url, *(chain.batch(item.bids(10)) for _ in range(10)))

    async def taken() -> bool:
        info = await consumer(stores.nats_url)
        return bool(info.num_ack_pending)

    await until(taken, within_s=5)
    code = await workers.stop(first)
    servers.start("postgres")
    workers.start()

    assert code == 0
    archive_again = await asyncpg.connect(stores.postgres_url)
    await until(lambda: holds(archive_again, 101), within_s=10)
    await archive_again.close()


@pytest.mark.timeout(180)
async def test_many_messages_that_wait_for_a_newer_worker_hold_no_other_partition_up(
    stores: Stores, archive: Connection, workers: Workers
) -> None:
    newer, lamp, known, vase = Chain("p01"), Item("lamp"), Chain("p00"), Item("vase")
    waiting = [newer.batch([lamp.bid()]) for _ in range(6000)]
    await publish(stores.nats_url)  # makes the stream
    async with connected(stores.nats_url) as client:
        for batch in waiting:
            data = batch.data.replace(b'"v":1', b'"v":2')
            await client.publish(events_subject(batch.partition), data)
        await client.flush(timeout=30)
    workers.start()

    async def all_wait() -> bool:
        info = await consumer(stores.nats_url)
        return (info.num_pending, info.num_ack_pending) == (0, len(waiting))

    await until(all_wait, within_s=40, forgiving=(NotFoundError,))
    await publish(stores.nats_url, known.batch(vase.bids(3)))

    await until(lambda: holds(archive, 3), within_s=20)
    assert await archive.fetchval("SELECT count(*) FROM dead_letters") == 0
    assert await archive.fetchval("SELECT count(*) FROM watermarks WHERE partition = 'p01'") == 0
    async with next_worker(stores):
        await workers.stop()
        await until(lambda: holds(archive, 6003), within_s=60)
    assert await inconsistent_items(archive) == []
    last = await archive.fetchval("SELECT last_n FROM watermarks WHERE partition = 'p01'")
    assert last == len(waiting)
