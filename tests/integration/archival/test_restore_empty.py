"""``restore --empty`` declares a Redis new only if no other store holds a bid."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from pkg.archival.restore.command import RestoreOptions, run_restore
from pkg.archival.settings import RestoreSettings
from pkg.archival.store import Connection
from pkg.auction.item import partition_names
from pkg.auction.keys import meta_key
from pkg.auction.subjects import STREAM
from pkg.devkit.nats_users import RESTORE
from pkg.stores.redis_meta import RUN_ID, SUPERSEDED, SYSTEM
from pkg.stores.system import adopt_system, name_stream
from tests.integration.archival.auction import PARTITIONS, publish
from tests.integration.archival.past import Past, archive_batches, everything_in, items_in
from tests.integration.archival.test_restore import is_open, put
from tests.integration.processes import Services
from tests.integration.providers import Stores

Restore = Callable[..., Awaitable[tuple[int, dict[str, Any]]]]
NAMES = partition_names(PARTITIONS)


@pytest.fixture
def restore(stores: Stores, capsys: pytest.CaptureFixture[str]) -> Restore:
    """`await restore(empty=True)` returns the exit code and the JSON."""

    async def run(
        *, empty: bool = True, dry_run: bool = False, yes: bool = True
    ) -> tuple[int, dict[str, Any]]:
        settings = RestoreSettings(
            redis_url=stores.redis_url,
            postgres_url=stores.postgres_url,
            **stores.nats_of(RESTORE),
        )
        options = RestoreOptions(dry_run=dry_run, yes=yes, as_json=True, empty=empty)
        capsys.readouterr()
        code = await run_restore(settings, asyncio.Event(), options=options)
        said = capsys.readouterr().out
        start = said.find("{\n")
        return code, json.JSONDecoder().raw_decode(said, start)[0] if start >= 0 else {}

    return run


async def name(stores: Stores, system: str) -> None:
    async with stores.nats_administrator() as administrator:
        await name_stream(administrator.jetstream(), system)


async def systems(stores: Stores) -> set[bytes | str | None]:
    async with Redis.from_url(stores.redis_url) as redis:
        return {await redis.hget(meta_key(name), SYSTEM) for name in NAMES}


async def test_a_redis_is_declared_new_where_no_other_store_holds_a_bid(
    stores: Stores, restore: Restore
) -> None:
    """Even if no archival-worker has ever run: then the archive has no schema."""
    code, said = await restore()

    assert (code, said["declared_new"]) == (0, True)
    assert await is_open(stores)
    [system] = await systems(stores)
    assert system


async def test_a_declared_redis_takes_bids_without_an_archive(
    stores: Stores, services: Services
) -> None:
    code, said, _ = await services.run("archival", "restore", "--empty", "--yes")

    await services.api(declared_new=False)
    again, _, _ = await services.run("archival", "restore", "--empty", "--yes")
    assert (code, again) == (0, 0), said
    assert "declared new" in said


@pytest.mark.parametrize("held_by", ["archive", "stream"])
async def test_it_refuses_where_restore_would_bring_bids_back(
    stores: Stores, archive: Connection, restore: Restore, held_by: str
) -> None:
    batches = Past().bid(["vase"], bids=3)
    if held_by == "archive":
        await archive_batches(archive, batches)
    else:
        await publish(stores.nats_url, *batches)

    code, said = await restore()

    assert (code, said["declared_new"]) == (1, False)
    assert "run restore without --empty" in said["why_not"]
    assert not await is_open(stores)


async def test_bids_that_were_removed_from_the_stream_do_not_bar_it(
    stores: Stores, archive: Connection, restore: Restore
) -> None:
    """Restore could not bring them back, and by itself Redis never opens."""
    await publish(stores.nats_url, *Past().bid(["vase"], bids=3))
    async with stores.nats_administrator() as administrator:
        await administrator.jetstream().purge_stream(STREAM)

    code, _ = await restore()

    assert code == 0
    assert await is_open(stores)


async def test_a_redis_with_items_is_not_declared_new(
    stores: Stores, archive: Connection, restore: Restore
) -> None:
    await put(stores, "vase", seq=1, price=100, bidder="ann", count=1, event_id="e")

    code, said = await restore()

    assert (code, said["why_not"]) == (
        1,
        "Redis is not empty: it holds items. Nothing was written.",
    )


async def test_a_dry_run_and_a_missing_terminal_write_nothing(
    stores: Stores, archive: Connection, restore: Restore
) -> None:
    assert (await restore(dry_run=True))[0] == 0
    assert (await restore(yes=False))[0] == 1

    assert await everything_in(stores.redis_url) == {}


async def test_it_is_declared_new_as_the_system_of_the_other_stores(
    stores: Stores, archive: Connection, restore: Restore
) -> None:
    await archive.execute("INSERT INTO system (id) VALUES ('ours')")

    assert (await restore())[0] == 0

    assert await systems(stores) == {b"ours"}


@pytest.mark.parametrize("empty", [True, False])
async def test_stores_of_different_systems_are_refused(
    stores: Stores, archive: Connection, restore: Restore, *, empty: bool
) -> None:
    await archive_batches(archive, Past().bid(["vase"], bids=3))
    await archive.execute("INSERT INTO system (id) VALUES ('ours')")
    await publish(stores.nats_url)
    await name(stores, "theirs")

    code, said = await restore(empty=empty)

    assert code == 1
    assert "different systems (JetStream: theirs, PostgreSQL: ours)" in said["why_not"]
    assert not await is_open(stores)
    assert await items_in(stores.redis_url) == {}


async def test_restore_does_not_open_a_redis_for_which_it_finds_nothing(
    stores: Stores, archive: Connection, restore: Restore
) -> None:
    """PostgreSQL may be the wrong one."""
    code, said = await restore(empty=False)

    assert (code, said["restored"]) == (1, False)
    assert "restore --empty" in said["why_not"]
    assert not await is_open(stores)


async def test_restore_gives_redis_the_system_of_the_archive(
    stores: Stores, archive: Connection, restore: Restore
) -> None:
    await archive_batches(archive, Past().bid(["vase"], bids=3))
    await archive.execute("INSERT INTO system (id) VALUES ('ours')")

    assert (await restore(empty=False))[0] == 0

    assert await systems(stores) == {b"ours"}


async def test_a_superseded_redis_is_restored_only_once_it_is_empty(
    stores: Stores, archive: Connection, restore: Restore
) -> None:
    """It may hold other bids under the same seqs, which restore would take for the archive's."""
    past = Past()
    await archive_batches(archive, past.bid(["vase"], bids=3))
    await put(stores, "vase", seq=5, price=900, bidder="eve", count=5, event_id="e")
    async with Redis.from_url(stores.redis_url) as redis:
        for partition in NAMES:
            await redis.hset(meta_key(partition), RUN_ID, f"{SUPERSEDED}7")
        refused, said = await restore(empty=False)
        still_closed = not await is_open(stores)
        await redis.flushall()

    restored, _ = await restore(empty=False)

    assert (refused, still_closed, restored) == (1, True, 0)
    assert "FLUSHALL" in said["why_not"]
    assert await items_in(stores.redis_url) == past.state


async def test_two_that_declare_at_once_agree_on_the_system(
    stores: Stores, services: Services
) -> None:
    ran = await asyncio.gather(
        *(services.run("archival", "restore", "--empty", "--yes") for _ in range(2))
    )

    assert [code for code, *_ in ran] == [0, 0], ran
    assert len(await systems(stores)) == 1
    async with Redis.from_url(stores.redis_url) as redis:
        system = await adopt_system(redis, NAMES, "another")
    assert await systems(stores) == {system.encode()}
    assert await is_open(stores)
