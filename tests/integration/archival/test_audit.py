"""The audit reports what is wrong and passes what is right."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

from pkg.archival.audit.command import AuditOptions, compare
from pkg.archival.audit.report import as_json
from pkg.archival.commit import commit
from pkg.archival.intake import Portion
from pkg.archival.settings import AuditSettings
from pkg.archival.store import Connection
from pkg.auction.item import partition_of
from pkg.auction.keys import item_key, outbox_key
from pkg.auction.outbox import OutboxId
from tests.integration.archival.auction import PARTITIONS, Chain, Event, Item, accept
from tests.integration.processes import Services
from tests.integration.providers import Stores


async def archive_all(archive: Connection, events: Sequence[Event | bytes]) -> None:
    batch = Chain().batch(events)
    portion = Portion()
    portion.add("bid.events.p00", batch.data)
    await commit(archive, portion)


async def audit(
    stores: Stores, *, wait_s: float = 0, progress: Callable[[str], None] = print
) -> tuple[bool, dict[str, Any]]:
    settings = AuditSettings(redis_url=stores.redis_url, postgres_url=stores.postgres_url)
    options = AuditOptions(as_json=True, every_item=False, wait_s=wait_s)
    findings = json.loads(as_json(await compare(settings, options, progress=progress)))
    return findings["ok"], findings


async def only_problem(stores: Stores) -> str:
    """The only problem of the only failing item."""
    ok, findings = await audit(stores)
    assert not ok
    (failing,) = findings["failing"]
    (problem,) = failing["problems"]
    return str(problem)


async def test_passes_where_both_stores_agree(stores: Stores, archive: Connection) -> None:
    items = [Item(f"item-{number}") for number in range(1200)]
    events = [item.bid() for item in items] + items[0].bids(99)
    await accept(stores.redis_url, *events)
    await archive_all(archive, events)

    ok, findings = await audit(stores)

    assert ok
    assert (findings["items"], findings["accepted"]) == (1200, 1299)
    assert findings["kinds"] == {"bid": 1299}


async def test_walks_redis_keys_once_for_all_partitions(
    stores: Stores, archive: Connection
) -> None:
    events = [Item(f"item-{number}").bid() for number in range(20)]
    await accept(stores.redis_url, *events)
    await archive_all(archive, events)
    async with Redis.from_url(stores.redis_url) as redis:
        await redis.config_resetstat()

        ok, findings = await audit(stores)

        assert (ok, findings["items"]) == (True, 20)
        assert (await redis.info("commandstats"))["cmdstat_scan"]["calls"] == 1


async def test_passes_on_empty_stores(stores: Stores, archive: Connection) -> None:
    ok, findings = await audit(stores)

    assert (ok, findings["items"]) == (True, 0)


async def test_finds_a_missing_last_bid(stores: Stores, archive: Connection) -> None:
    events = Item("lamp").bids(5)
    await accept(stores.redis_url, *events)
    await archive_all(archive, events[:4])

    problem = await only_problem(stores)

    assert problem == (
        "1 of 5 not archived, the first is seq 5; 1 is not in the outbox either: lost, "
        "unless the stream has it"
    )


async def test_finds_a_gap(stores: Stores, archive: Connection) -> None:
    events = Item("lamp").bids(9)
    await accept(stores.redis_url, *events)
    await archive_all(archive, [*events[:3], *events[5:]])

    problem = await only_problem(stores)

    assert problem == (
        "2 of 9 not archived, the first is seq 4; 2 are not in the outbox either: lost, "
        "unless the stream has them"
    )


async def test_bids_that_wait_in_the_outbox_are_late_and_not_lost(
    stores: Stores, archive: Connection
) -> None:
    events = Item("lamp").bids(5)
    await accept(stores.redis_url, *events, outbox=True)
    await archive_all(archive, events[:3])

    problem = await only_problem(stores)

    assert problem == "late: 2 of 5 not archived, the first is seq 4; the outbox holds them"


async def test_lost_bid_is_told_from_the_late_ones_of_its_item(
    stores: Stores, archive: Connection
) -> None:
    events = Item("lamp").bids(5)
    await accept(stores.redis_url, *events[:3])
    await accept(stores.redis_url, *events[3:], outbox=True)
    await archive_all(archive, events[:2])

    problem = await only_problem(stores)

    assert problem == (
        "3 of 5 not archived, the first is seq 3; 1 is not in the outbox either: lost, "
        "unless the stream has it"
    )


async def test_finds_an_item_only_redis_has(stores: Stores, archive: Connection) -> None:
    await accept(stores.redis_url, *Item("lamp").bids(3))

    ok, findings = await audit(stores)

    assert (ok, findings["only_in_redis"]) == (False, ["lamp"])


async def test_finds_an_item_only_postgres_has(stores: Stores, archive: Connection) -> None:
    await archive_all(archive, Item("lamp").bids(3))

    ok, findings = await audit(stores)

    assert (ok, findings["only_in_postgres"]) == (False, ["lamp"])


async def test_finds_that_redis_forgot_what_the_archive_has(
    stores: Stores, archive: Connection
) -> None:
    events = Item("lamp").bids(5)
    await accept(stores.redis_url, *events[:3])
    await archive_all(archive, events)

    problem = await only_problem(stores)

    assert problem == "the archive has seq 5, Redis only 3"


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("price", "499", "the last archived amount is 5.00, the price in Redis is 4.99"),
        ("event_id", "another", "the last in Redis is another"),
        ("count", "4", "Redis counts 4 bids of 5 events"),
    ],
)
async def test_finds_a_current_bid_that_differs(
    stores: Stores, archive: Connection, field: str, value: str, problem: str
) -> None:
    events = Item("lamp").bids(5)
    await accept(stores.redis_url, *events)
    await archive_all(archive, events)
    async with Redis.from_url(stores.redis_url) as redis:
        await redis.hset(item_key(partition_of("lamp", PARTITIONS), "lamp"), field, value)

    assert (await only_problem(stores)).endswith(problem)


@pytest.mark.parametrize("cents", [200, 150])
async def test_finds_a_price_that_does_not_rise(
    stores: Stores, archive: Connection, cents: int
) -> None:
    item = Item("lamp")
    events = [item.bid(), item.bid(), item.bid(cents=cents), item.bid()]
    await accept(stores.redis_url, *events)
    await archive_all(archive, events)

    problem = await only_problem(stores)

    assert problem == "the price does not rise at seq 3"


async def test_finds_an_archived_item_that_disagrees_with_its_bids(
    stores: Stores, archive: Connection
) -> None:
    events = Item("lamp").bids(5)
    await accept(stores.redis_url, *events)
    await archive_all(archive, events)
    await archive.execute("UPDATE items SET bid_count = 6")

    problem = await only_problem(stores)

    assert problem == "the archive's item disagrees with its bids"


async def test_dead_letter_accounts_for_its_event_and_is_listed(
    stores: Stores, archive: Connection
) -> None:
    events = Item("lamp").bids(5)
    bad = events[2].json.replace(b'"amount":3.00', b'"amount":3.001')
    await accept(stores.redis_url, *events)
    await archive_all(archive, [*events[:2], bad, *events[3:]])

    ok, findings = await audit(stores)

    assert ok
    (letter,) = findings["dead_letters"]
    assert (letter["reason"], letter["item_id"], letter["seq"]) == ("bad_event", "lamp", 3)


async def test_dead_letter_accounts_for_the_last_event(stores: Stores, archive: Connection) -> None:
    events = Item("lamp").bids(3)
    bad = events[2].json.replace(b'"amount":3.00', b'"amount":3.001')
    await accept(stores.redis_url, *events)
    await archive_all(archive, [*events[:2], bad])

    ok, _ = await audit(stores)

    assert ok


async def test_conflict_is_a_problem(stores: Stores, archive: Connection) -> None:
    events = Item("lamp").bids(3)
    await accept(stores.redis_url, *events)
    await archive_all(archive, [*events, Item("lamp").bid()])

    problem = await only_problem(stores)

    assert problem == "1 seq taken by more than one event"


async def test_item_in_the_wrong_partition_is_listed(stores: Stores, archive: Connection) -> None:
    wrong = next(each for each in ("p00", "p01") if each != partition_of("lamp", PARTITIONS))
    async with Redis.from_url(stores.redis_url) as redis:
        await redis.hset(item_key(wrong, "lamp"), "seq", "1")

    ok, findings = await audit(stores)

    assert (ok, findings["astray"]) == (False, ["lamp"])


async def test_table_lists_failing_items_and_totals(
    stores: Stores, archive: Connection, services: Services
) -> None:
    good, bad = Item("good").bids(2), Item("bad").bids(2)
    await accept(stores.redis_url, *good, *bad, outbox=True)
    await archive_all(archive, [*good, *bad[:1], b"{}"])

    code, said, _ = await services.run("archival", "audit", "--wait", "0")
    _, everything, _ = await services.run("archival", "audit", "--wait", "0", "--all")

    assert code == 1
    lines = said.splitlines()
    assert lines[0].split() == ["ITEM", "SEQ", "ARCHIVED", "DEAD", "PRICE", "PROBLEM"]
    assert lines[1].startswith("bad ")
    assert "1 of 2 not archived, the first is seq 2" in lines[1]
    assert "good " not in said
    assert "bad_event" in said
    assert "Late: 4 events not archived after the wait. The outboxes hold them" in said
    assert said.endswith("Late: 1 item, and nothing is lost; run the audit again.\n")
    assert any(
        line.startswith("good ") and line.endswith(" ok") for line in everything.splitlines()
    )


async def test_json_is_one_object_on_standard_output(
    stores: Stores, archive: Connection, services: Services
) -> None:
    events = Item("lamp").bids(2)
    await accept(stores.redis_url, *events)
    await archive_all(archive, events)

    code, said, complaint = await services.run("archival", "audit", "--json")

    assert (code, complaint) == (0, "")
    assert json.loads(said)["accepted"] == 2


async def test_waits_for_events_on_their_way(stores: Stores, archive: Connection) -> None:
    events = Item("lamp").bids(5)
    partition = partition_of("lamp", PARTITIONS)
    await accept(stores.redis_url, *events, outbox=True)
    async with Redis.from_url(stores.redis_url, decode_responses=True) as redis:
        entries = await redis.xrevrange(outbox_key(partition), count=1)
    waiting = asyncio.Event()
    running = asyncio.create_task(audit(stores, wait_s=20, progress=lambda _: waiting.set()))
    await waiting.wait()

    await archive_all(archive, events)
    last = OutboxId.parse(str((entries or [])[0][0]))
    await archive.execute(
        "INSERT INTO watermarks VALUES ($1, $2, $3) ON CONFLICT (partition)"
        " DO UPDATE SET last_ms = excluded.last_ms, last_n = excluded.last_n",
        partition,
        *last,
    )

    ok, findings = await running
    assert ok, findings
    assert findings["drained"]


async def test_item_whose_bid_arrives_during_the_audit_is_compared_again(
    stores: Stores, archive: Connection
) -> None:
    events = Item("lamp").bids(5)
    await accept(stores.redis_url, *events)
    await archive_all(archive, events[:4])
    compared = asyncio.Event()

    def progress(line: str) -> None:
        if line == "1 item not archived yet":
            compared.set()

    running = asyncio.create_task(audit(stores, wait_s=20, progress=progress))
    await compared.wait()

    await archive_all(archive, events)

    ok, findings = await running
    assert ok, findings


async def test_bids_accepted_during_the_audit_cause_no_false_alarm(
    stores: Stores, archive: Connection
) -> None:
    """The archive lags behind Redis, but may be ahead of a state that was read earlier."""
    items = [Item(f"item-{number}") for number in range(50)]
    chain = Chain()
    over = asyncio.Event()

    async def keep_bidding() -> None:
        while not over.is_set():
            events = [item.bid() for item in items]
            await accept(stores.redis_url, *events)
            portion = Portion()
            portion.add("bid.events.p00", chain.batch(events).data)
            await commit(archive, portion)

    going = asyncio.create_task(keep_bidding())

    results = [await audit(stores, wait_s=20) for _ in range(3)]

    over.set()
    await going
    assert [ok for ok, _ in results] == [True, True, True], results


async def test_bad_settings_and_unreachable_stores_exit_with_2(
    stores: Stores, services: Services
) -> None:
    nowhere = "127.0.0.1:1"
    codes = [
        await services.run("archival", "audit", env=env)
        for env in (
            {"POSTGRES_URL": ""},
            {"POSTGRES_URL": f"postgresql://{nowhere}/none"},
            {"REDIS_URL": f"redis://{nowhere}"},
            {},  # a database without a schema
        )
    ]

    assert [code for code, _, _ in codes] == [2, 2, 2, 2]
    assert not any("Traceback" in complaint for _, _, complaint in codes)
    sentences = [complaint for _, _, complaint in codes]
    assert "POSTGRES_URL" in sentences[0]
    assert "cannot reach PostgreSQL" in sentences[1]
    assert "cannot reach Redis" in sentences[2]
    assert "no schema yet" in sentences[3]
