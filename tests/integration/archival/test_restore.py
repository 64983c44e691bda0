"""Restore puts back everything that another store holds, and never lowers a price."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from pkg.archival.restore.command import RestoreOptions, run_restore
from pkg.archival.settings import RestoreSettings
from pkg.archival.store import Connection
from pkg.auction.item import partition_names, partition_of
from pkg.auction.keys import item_key, meta_key, outbox_key
from pkg.auction.outbox import OutboxId
from pkg.devkit.nats_users import RESTORE
from pkg.stores.opening import open_partitions, require_open
from pkg.stores.redis_meta import ARCHIVED_TO, NotOpenError, server_run_id
from pkg.stores.redis_meta import PARTITIONS as RECORDED
from tests.integration.archival.auction import PARTITIONS, publish
from tests.integration.archival.past import Past, archive_batches, everything_in, items_in
from tests.integration.providers import Stores

Restore = Callable[..., Any]
ITEMS = [f"item-{number}" for number in range(60)]


@pytest.fixture
def restore(stores: Stores, capsys: pytest.CaptureFixture[str]) -> Restore:
    """`await restore(yes=True)` returns the exit code, the JSON and the text on stderr."""

    async def run(
        *,
        yes: bool = True,
        dry_run: bool = False,
        **settings: Any,  # noqa: ANN401 - of its class
    ) -> tuple[int, dict[str, Any], str]:
        addresses = {
            "redis_url": stores.redis_url,
            **stores.nats_of(RESTORE),
            "postgres_url": stores.postgres_url,
        }
        options = RestoreOptions(dry_run=dry_run, yes=yes, as_json=True)
        loaded = RestoreSettings(**{**addresses, **settings})
        capsys.readouterr()
        code = await run_restore(loaded, asyncio.Event(), options=options)
        said = capsys.readouterr()
        start = said.out.find("{\n")  # after the log lines
        body = json.JSONDecoder().raw_decode(said.out, start)[0] if start >= 0 else {}
        return code, body, said.err

    return run


async def is_open(stores: Stores) -> bool:
    async with Redis.from_url(stores.redis_url) as redis:
        try:
            await require_open(redis, partition_names(PARTITIONS))
        except NotOpenError:
            return False
    return True


async def open_redis(stores: Stores) -> None:
    async with Redis.from_url(stores.redis_url) as redis:
        await open_partitions(
            redis, partition_names(PARTITIONS), await server_run_id(redis), partitions=PARTITIONS
        )


async def put(stores: Stores, item_id: str, **fields: str | int) -> str:
    key = item_key(partition_of(item_id, PARTITIONS), item_id)
    async with Redis.from_url(stores.redis_url) as redis:
        await redis.hset(key, mapping={name: str(value) for name, value in fields.items()})
    return key


async def test_everything_archived_is_put_back_unchanged_and_redis_is_opened(
    stores: Stores, archive: Connection, restore: Restore
) -> None:
    past = Past()
    batches = [*past.bid(ITEMS, bids=3), *past.bid(ITEMS[:20], bids=4)]
    await publish(stores.nats_url, *batches)
    await archive_batches(archive, batches)

    code, said, _ = await restore()

    assert (code, said["restored"], said["put_back"]) == (0, True, 60)
    assert await items_in(stores.redis_url) == past.state
    assert await is_open(stores)


async def test_bids_that_only_jetstream_holds_are_put_back_after_archived_ones(
    stores: Stores, archive: Connection, restore: Restore
) -> None:
    past = Past()
    archived = past.bid(ITEMS[:30], bids=3)
    tail = [*past.bid(ITEMS, bids=2), *past.bid(ITEMS[:10], bids=1)]
    await publish(stores.nats_url, *archived, *tail)
    await archive_batches(archive, archived)

    code, said, _ = await restore()

    assert (code, said["plan"]["items_to_put_back"], said["plan"]["from_stream"]) == (0, 30, 130)
    assert await items_in(stores.redis_url) == past.state


async def test_bids_archived_beyond_a_hole_are_put_back(
    stores: Stores, archive: Connection, restore: Restore
) -> None:
    past = Past()
    first, hole, beyond = (past.bid(ITEMS, bids=count) for count in (3, 2, 4))
    await publish(stores.nats_url, *first, *hole, *beyond)
    await archive_batches(archive, [*first, *beyond])

    code, said, _ = await restore()

    assert (code, said["put_back"], said["plan"]["from_stream"]) == (0, 60, 0)
    assert await items_in(stores.redis_url) == past.state


async def test_bid_that_the_table_refused_keeps_its_seq(
    stores: Stores, archive: Connection, restore: Restore
) -> None:
    past = Past()
    await archive.execute("ALTER TABLE bids ADD CHECK (seq < 4)")
    await archive_batches(archive, past.bid(["vase"], bids=4))

    code, _, _ = await restore()

    assert code == 0
    assert await items_in(stores.redis_url) == past.state


async def test_new_outbox_entries_follow_all_known_ids(
    stores: Stores, archive: Connection, restore: Restore
) -> None:
    """The highest id is JetStream's in one partition and an archived island's in another."""
    past = Past()
    first, hole, beyond = (past.bid(ITEMS, bids=1) for _ in range(3))
    far = OutboxId(4_000_000_000_000, 7)  # beyond this machine's clock
    past.chains["p01"].at = far
    streamed = past.bid([next(i for i in ITEMS if partition_of(i, 4) == "p01")], bids=1)
    await publish(stores.nats_url, *first, *hole, *streamed)
    await archive_batches(archive, [*first, *beyond])
    island = beyond[2].last
    await archive.execute("UPDATE watermark_islands SET last_ms = $1", far.ms)

    await restore()

    async with Redis.from_url(stores.redis_url) as redis:
        for name in partition_names(PARTITIONS):
            added = OutboxId.parse(await redis.xadd(outbox_key(name), {"e": "{}"}))
            assert added > OutboxId(far.ms, island.n), name
            assert await redis.xlen(outbox_key(name)) == 1


async def test_watermark_is_recorded_for_trimming(
    stores: Stores, archive: Connection, restore: Restore
) -> None:
    past = Past()
    batches = past.bid(ITEMS, bids=1)
    await archive_batches(archive, batches)
    past.bid(ITEMS, bids=1)

    await restore()

    async with Redis.from_url(stores.redis_url) as redis:
        recorded = {
            batch.partition: await redis.hget(meta_key(batch.partition), ARCHIVED_TO)
            for batch in batches
        }
    assert recorded == {batch.partition: str(batch.last).encode() for batch in batches}


async def test_dry_run_shows_the_plan_and_writes_nothing(
    stores: Stores, archive: Connection, restore: Restore
) -> None:
    past = Past()
    archived, tail = past.bid(ITEMS, bids=3), past.bid(ITEMS, bids=2)
    await publish(stores.nats_url, *archived, *tail)
    await archive_batches(archive, archived)
    await put(stores, "item-7", price=100, seq=1, count=1, bidder="ann", event_id="x")
    before = await everything_in(stores.redis_url)

    code, said, _ = await restore(dry_run=True)

    plan = said["plan"]
    assert (code, said["restored"], plan["open"], plan["empty"]) == (0, False, False, False)
    assert (plan["items"], plan["items_to_put_back"]) == (60, 60)
    assert (plan["bids_to_put_back"], plan["from_stream"]) == (179, 120)
    assert await everything_in(stores.redis_url) == before


async def test_without_a_terminal_or_yes_nothing_is_written(
    stores: Stores, archive: Connection, restore: Restore
) -> None:
    await archive_batches(archive, Past().bid(ITEMS, bids=1))

    code, said, _ = await restore(yes=False)

    assert (code, said["restored"]) == (1, False)
    assert "--yes" in said["why_not"]
    assert await everything_in(stores.redis_url) == {}


async def test_higher_price_in_redis_is_kept_and_its_item_listed(
    stores: Stores, archive: Connection, restore: Restore
) -> None:
    past = Past()
    await archive_batches(archive, past.bid(ITEMS, bids=5))
    key = await put(stores, "item-3", price=999, seq=2, count=2, bidder="ann", event_id="x")
    before = (await items_in(stores.redis_url))[key]

    code, said, _ = await restore()

    assert (code, said["put_back"]) == (0, 59)
    assert (said["plan"]["refused"], said["plan"]["refused_items"]) == (1, ["item-3"])
    assert await items_in(stores.redis_url) == {**past.state, key: before}


async def test_open_redis_that_lacks_bids_is_refused_and_unchanged(
    stores: Stores, archive: Connection, restore: Restore
) -> None:
    await archive_batches(archive, Past().bid(ITEMS, bids=5))
    await put(stores, "item-3", price=100, seq=1, count=1, bidder="ann", event_id="x")
    await open_redis(stores)
    before = await everything_in(stores.redis_url)

    code, said, _ = await restore()
    dry_code, dry, _ = await restore(dry_run=True)

    assert (code, said["restored"], dry_code) == (1, False, 0)
    assert "open and accepting bids" in said["why_not"] == dry["why_not"]
    assert await everything_in(stores.redis_url) == before


async def test_open_redis_that_lacks_nothing_is_unchanged(
    stores: Stores, archive: Connection, restore: Restore
) -> None:
    batches = Past().bid(ITEMS, bids=5)
    await publish(stores.nats_url, *batches)
    await archive_batches(archive, batches)
    await restore()
    before = await everything_in(stores.redis_url)

    code, said, _ = await restore()

    assert (code, said["restored"]) == (0, False)
    assert "lacks nothing" in said["why_not"]
    assert await everything_in(stores.redis_url) == before


async def test_redis_that_was_opened_empty_is_closed_and_rebuilt(
    stores: Stores, archive: Connection, restore: Restore
) -> None:
    past = Past()
    await archive_batches(archive, past.bid(ITEMS, bids=2))
    await open_redis(stores)

    code, _, _ = await restore()

    assert code == 0
    assert await items_in(stores.redis_url) == past.state
    assert await is_open(stores)


async def test_without_a_schema_redis_is_not_opened(stores: Stores, restore: Restore) -> None:
    code, _, complaint = await restore()

    assert code == 2
    assert "no schema" in complaint
    assert not await is_open(stores)


@pytest.mark.parametrize("store", ["redis", "nats", "postgres"])
async def test_store_that_is_away_is_named_and_nothing_is_written(
    stores: Stores, archive: Connection, restore: Restore, store: str
) -> None:
    await archive_batches(archive, Past().bid(ITEMS, bids=1))
    scheme = "postgresql" if store == "postgres" else store

    code, _, complaint = await restore(**{f"{store}_url": f"{scheme}://127.0.0.1:1"})

    names = {"redis": "Redis", "nats": "NATS", "postgres": "PostgreSQL"}
    assert code == 2
    assert f"cannot reach {names[store]}" in complaint
    assert await everything_in(stores.redis_url) == {}


async def test_events_of_a_newer_release_are_refused_and_nothing_is_written(
    stores: Stores, archive: Connection, restore: Restore
) -> None:
    """One of them may hold a higher price than those that this release can read."""
    past = Past()
    await archive_batches(archive, past.bid(ITEMS, bids=2))
    newer = past.bid(ITEMS, bids=2)
    await publish(
        stores.nats_url,
        *(
            (f"bid.events.{each.partition}", each.data.replace(b'"v":1', b'"v":2'))
            for each in newer
        ),
    )

    code, _, said = await restore()

    assert code == 2
    assert "the stream holds events of version 2: run the restore of the newer release" in said
    assert await everything_in(stores.redis_url) == {}


@pytest.mark.parametrize("recorded", [True, False])
async def test_different_number_of_partitions_is_refused(
    stores: Stores, archive: Connection, restore: Restore, *, recorded: bool
) -> None:
    """Redis records the number; if that is lost, the archive shows it."""
    if not recorded:
        await archive_batches(archive, Past().bid(ITEMS, bids=1))
    else:
        async with Redis.from_url(stores.redis_url) as redis:
            await redis.hset(meta_key("p00"), RECORDED, "4")
    before = await everything_in(stores.redis_url)

    codes = [(await restore(partitions=other))[0] for other in (2, 8)]

    assert codes == [2, 2]
    assert await everything_in(stores.redis_url) == before


async def test_jetstream_alone_shows_a_different_number_of_partitions(
    stores: Stores, archive: Connection, restore: Restore
) -> None:
    await publish(stores.nats_url, *Past().bid(ITEMS, bids=1))

    code, _, complaint = await restore(partitions=8)

    assert code == 2
    assert "the number has changed" in complaint
    assert await everything_in(stores.redis_url) == {}


async def test_concurrent_restores_give_the_same_result(
    stores: Stores, archive: Connection, restore: Restore
) -> None:
    past = Past()
    archived, tail = past.bid(ITEMS, bids=3), past.bid(ITEMS, bids=2)
    await publish(stores.nats_url, *archived, *tail)
    await archive_batches(archive, archived)

    results = await asyncio.gather(restore(), restore(), restore())

    assert {code for code, _, _ in results} <= {0, 1}
    assert 0 in {code for code, _, _ in results}
    assert await items_in(stores.redis_url) == past.state
    assert await is_open(stores)
