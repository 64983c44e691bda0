"""The archiving transaction: effectively once, nothing dropped, together with the watermark."""

import asyncio

import asyncpg
import pytest

from pkg.archival.commit import ArchivedTo, Committed, commit
from pkg.archival.intake import DeadLetter, Portion, Reason
from pkg.archival.store import Connection
from pkg.auction.ids import uuid7
from pkg.auction.outbox import BEGINNING
from tests.integration.archival.auction import Batch, Chain, Event, Item
from tests.integration.providers import Stores


def portion_of(*batches: Batch) -> Portion:
    portion = Portion()
    for batch in batches:
        portion.add(f"bid.events.{batch.partition}", batch.data)
    return portion


async def archived_seqs(archive: Connection, item_id: str) -> list[int]:
    rows = await archive.fetch("SELECT seq FROM bids WHERE item_id = $1 ORDER BY seq", item_id)
    return [row["seq"] for row in rows]


async def letters(archive: Connection) -> list[tuple[str, str | None, int | None]]:
    rows = await archive.fetch("SELECT reason, item_id, seq FROM dead_letters ORDER BY id")
    return [(row["reason"], row["item_id"], row["seq"]) for row in rows]


async def test_bids_are_archived_as_they_were_published(archive: Connection) -> None:
    item = Item("lamp")
    events = [item.bid(cents=1050), item.bid(cents=999_999_999_999)]

    result = await commit(archive, portion_of(Chain().batch(events)))

    assert result.archived == 2
    rows = await archive.fetch("SELECT *, event_id::text AS id FROM bids ORDER BY seq")
    assert [str(row["amount"]) for row in rows] == ["10.50", "9999999999.99"]
    assert [row["id"] for row in rows] == [event.event_id for event in events]
    assert rows[0]["placed_at"].isoformat() == "2026-09-21T14:13:20.000001+00:00"


async def test_first_bid_creates_the_item_and_later_ones_update_it(archive: Connection) -> None:
    chain, item = Chain(), Item("lamp")
    await commit(archive, portion_of(chain.batch(item.bids(3))))

    await commit(archive, portion_of(chain.batch(item.bids(2))))

    row = await archive.fetchrow("SELECT * FROM items WHERE id = 'lamp'")
    assert row is not None
    assert (row["name"], row["description"], row["status"]) == ("lamp", "", "active")
    assert (row["seq"], row["bid_count"], str(row["current_bid"])) == (5, 5, "5.00")
    assert (row["highest_bidder_id"], str(row["start_price"])) == ("user-5", "0.00")
    assert (row["start_time"].microsecond, row["end_time"]) == (1, None)


async def test_older_batch_adds_to_the_count_and_keeps_the_current_bid(archive: Connection) -> None:
    chain, item = Chain(), Item("lamp")
    older, newer = chain.batch(item.bids(3)), chain.batch(item.bids(2))
    await commit(archive, portion_of(newer))

    await commit(archive, portion_of(older))

    row = await archive.fetchrow("SELECT * FROM items WHERE id = 'lamp'")
    assert row is not None
    assert (row["seq"], row["bid_count"], str(row["current_bid"])) == (5, 5, "5.00")
    assert (row["highest_bidder_id"], row["start_time"].microsecond) == ("user-5", 1)


async def test_redelivery_is_counted_and_changes_nothing(archive: Connection) -> None:
    batch = Chain().batch(Item("lamp").bids(3))
    await commit(archive, portion_of(batch))

    again = await commit(archive, portion_of(batch, batch))

    assert (again.archived, again.duplicates, again.dead_letters) == (0, 6, {})
    assert await archived_seqs(archive, "lamp") == [1, 2, 3]
    assert await archive.fetchval("SELECT bid_count FROM items") == 3
    assert again.archived_to["p00"].watermark == batch.last


async def test_batch_twice_in_one_portion_is_archived_once(archive: Connection) -> None:
    batch = Chain().batch(Item("lamp").bids(3))

    result = await commit(archive, portion_of(batch, batch))

    assert (result.archived, result.duplicates) == (3, 3)


async def test_seq_taken_by_another_event_is_a_dead_letter_once(archive: Connection) -> None:
    chain = Chain()
    await commit(archive, portion_of(chain.batch(Item("lamp").bids(3))))
    rival = chain.batch(Item("lamp").bids(2))

    first = await commit(archive, portion_of(rival))
    again = await commit(archive, portion_of(rival))

    assert (first.archived, first.duplicates) == (0, 0)
    assert first.dead_letters == {"seq_conflict": 2}
    assert again.dead_letters == {}
    assert set(await letters(archive)) == {("seq_conflict", "lamp", 1), ("seq_conflict", "lamp", 2)}
    assert again.archived_to["p00"].watermark == rival.last


async def test_conflict_inside_one_portion_is_a_dead_letter(archive: Connection) -> None:
    result = await commit(
        archive, portion_of(Chain().batch([Item("lamp").bid(), Item("lamp").bid()]))
    )

    assert (result.archived, result.dead_letters) == (1, {"seq_conflict": 1})


async def test_bid_id_taken_by_another_event_is_a_dead_letter(archive: Connection) -> None:
    item = Item("lamp")
    first = item.bid()
    second = item.bid()
    bid_ids = [each.json.split(b'"bid_id":"')[1][:36] for each in (first, second)]
    forged = second.json.replace(bid_ids[1], bid_ids[0])

    result = await commit(archive, portion_of(Chain().batch([first, forged])))

    assert (result.archived, result.dead_letters) == (1, {"bid_id_conflict": 1})


REFUSED_BY_POSTGRES = {
    "a NUL in an unknown field": b'{"note":"a\\u0000b",',
    "a number beyond numeric in an unknown field": b'{"note":1e999999,',
}


@pytest.mark.parametrize("head", REFUSED_BY_POSTGRES.values(), ids=REFUSED_BY_POSTGRES.keys())
async def test_an_event_that_postgres_refuses_does_not_block_the_others(
    archive: Connection, head: bytes
) -> None:
    events: list[Event | bytes] = list(Item("lamp").bids(500))
    bad = events[321]
    assert isinstance(bad, Event)
    events[321] = bad.json.replace(b"{", head, 1)
    batch = Chain().batch(events)

    result = await commit(archive, portion_of(batch))

    assert (result.archived, result.dead_letters) == (499, {"refused": 1})
    assert await letters(archive) == [("refused", "lamp", 322)]
    assert await archive.fetchval("SELECT payload FROM dead_letters") == events[321]
    assert result.archived_to["p00"].watermark == batch.last


async def test_date_that_only_postgres_refuses_is_a_dead_letter(archive: Connection) -> None:
    event = Item("lamp").bid()
    bad = event.json.replace(b"2026-09-21T", b"2026-W38-1T")

    result = await commit(archive, portion_of(Chain().batch([bad])))

    assert (result.archived, result.dead_letters) == (0, {"refused": 1})


async def test_dead_letter_is_stored_whatever_its_error_quotes(archive: Connection) -> None:
    """If PostgreSQL refused it, the worker would retry forever and archive nothing more."""
    portion = portion_of(Chain().batch([Item("lamp").bid().json.replace(b"lua", b"gu\\u0000ess")]))
    portion.add(
        "bid.events.p00", b'{"v":1,"partition":"\\u0000","prev":"0-0","last":"9-0","events":[]}'
    )
    portion.add("bid.events.p\0", b"{}")
    portion.dead_letters.append(DeadLetter(Reason.BAD_EVENT, b"x", "\ud800 \0" + "y" * 10**6))

    result = await commit(archive, portion)

    assert sum(result.dead_letters.values()) == 4


async def test_bad_events_become_dead_letters_with_their_batch(archive: Connection) -> None:
    item = Item("lamp")
    good, bad = item.bid(), item.bid()
    batch = Chain().batch([good, bad.json.replace(b"2.00", b"2.005"), b'{"kind":"bid"}', b"17"])

    result = await commit(archive, portion_of(batch))

    assert (result.archived, result.dead_letters) == (1, {"bad_event": 3})
    assert {letter[1:] for letter in await letters(archive)} == {("lamp", 2), (None, None)}
    assert result.archived_to["p00"].watermark == batch.last


async def test_watermark_never_passes_a_hole_and_folds_when_it_is_filled(
    archive: Connection, stores: Stores
) -> None:
    chain, item = Chain(), Item("lamp")
    batches = [chain.batch(item.bids(2)) for _ in range(5)]
    await commit(archive, portion_of(batches[0]))

    beyond = await commit(archive, portion_of(batches[4], batches[2]))
    # Another process continues from the tables.
    other = await asyncpg.connect(stores.postgres_url)
    joined = await commit(other, portion_of(batches[3]))
    filled = await commit(other, portion_of(batches[1]))
    await other.close()

    assert beyond.archived_to["p00"] == ArchivedTo(batches[0].last, islands=2)
    assert joined.archived_to["p00"] == ArchivedTo(batches[0].last, islands=1)
    assert filled.archived_to["p00"] == ArchivedTo(batches[4].last, islands=0)
    assert await archive.fetchval("SELECT count(*) FROM watermark_islands") == 0


async def test_each_partition_has_its_own_watermark(archive: Connection) -> None:
    one, two = Chain("p00"), Chain("p01")
    first, _, late = (
        one.batch(Item("c").bids(1)),
        two.batch(Item("a").bids(1)),
        two.batch(Item("b").bids(1)),
    )

    result = await commit(archive, portion_of(first, late))

    assert result.archived_to["p00"].watermark == first.last
    assert result.archived_to["p01"].watermark == BEGINNING
    assert result.archived_to["p01"].islands == 1


async def test_failed_transaction_leaves_neither_bids_nor_a_watermark(archive: Connection) -> None:
    await archive.execute("ALTER TABLE watermarks ADD CONSTRAINT never CHECK (last_ms = 0)")

    with pytest.raises(asyncpg.CheckViolationError):
        await commit(archive, portion_of(Chain().batch(Item("lamp").bids(3))))

    assert await archive.fetchval("SELECT count(*) FROM bids") == 0
    assert await archive.fetchval("SELECT count(*) FROM watermarks") == 0


async def test_two_workers_with_the_same_batches_archive_each_once(
    archive: Connection, stores: Stores
) -> None:
    """In opposite orders and over many items, as redeliveries may come."""
    items = [Item(f"item-{number}") for number in range(20)]
    chains = [Chain(f"p0{number}") for number in range(4)]
    batches = [
        chains[turn % 4].batch([item.bid() for item in items for _ in range(5)])
        for turn in range(12)
    ]
    connections = [await asyncpg.connect(stores.postgres_url) for _ in range(2)]

    async def work(connection: Connection, order: list[Batch]) -> list[Committed]:
        pairs = zip(order[::2], order[1::2], strict=True)
        return [await commit(connection, portion_of(*pair)) for pair in pairs]

    results = await asyncio.gather(
        work(connections[0], batches), work(connections[1], batches[::-1])
    )

    for connection in connections:
        await connection.close()
    everything = [result for each in results for result in each]
    assert sum(result.archived for result in everything) == 1200
    assert sum(result.duplicates for result in everything) == 1200
    assert not any(result.dead_letters for result in everything)
    rows = await archive.fetch("SELECT seq, bid_count, current_bid::text AS price FROM items")
    assert {tuple(row) for row in rows} == {(60, 60, "60.00")}
    marks = await archive.fetch("SELECT last_n FROM watermarks ORDER BY partition")
    assert [row["last_n"] for row in marks] == [3, 3, 3, 3]


async def test_concurrent_commits_in_opposite_orders_do_not_deadlock(
    archive: Connection, stores: Stores
) -> None:
    other: Connection = await asyncpg.connect(stores.postgres_url)
    chain, items = Chain(), [Item(f"item-{number}") for number in range(40)]
    for _ in range(5):
        events = [item.bid() for _ in range(40) for item in items]
        forward, backward = chain.batch(events), chain.batch(events[::-1])

        results = await asyncio.gather(
            commit(archive, portion_of(forward)), commit(other, portion_of(backward))
        )

        assert sum(result.archived for result in results) == len(events)
    await other.close()


async def test_duplicate_is_recognised_by_its_event_id_in_upper_case_too(
    archive: Connection,
) -> None:
    event = Item("lamp").bid(event_id=uuid7().upper())
    batch = Chain().batch([event])
    await commit(archive, portion_of(batch))

    again = await commit(archive, portion_of(batch))

    assert (again.duplicates, again.dead_letters) == (1, {})
