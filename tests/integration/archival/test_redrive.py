"""Redrive puts dead letters through again: those that can be archived leave, the others stay."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from pkg.archival.commit import commit
from pkg.archival.intake import DeadLetter, Portion, Reason
from pkg.archival.redrive.letters import Letters
from pkg.archival.store import Connection
from pkg.auction.item import partition_of
from pkg.auction.outbox import OutboxId
from tests.integration.archival.auction import (
    PARTITIONS,
    Batch,
    Chain,
    Event,
    Item,
    accept,
)
from tests.integration.archival.past import archive_batches
from tests.integration.processes import Services
from tests.integration.providers import Stores
from tests.integration.system.next_release import NextReader

HOME = partition_of("lamp", PARTITIONS)


def letter_of(event: Event, reason: Reason = Reason.BAD_EVENT) -> DeadLetter:
    """As a worker wrote it that could not archive the event."""
    return DeadLetter(
        reason,
        event.json,
        "an older release could not read it",
        partition=HOME,
        item_id=event.item_id,
        seq=event.seq,
        event_id=event.event_id,
    )


def letter_of_message(batch: Batch, data: bytes = b"") -> DeadLetter:
    return DeadLetter(Reason.UNDECODABLE, data or batch.data, "unread", partition=HOME)


async def bury(archive: Connection, *letters: DeadLetter) -> None:
    await commit(archive, Portion(dead_letters=list(letters)))


async def tables(archive: Connection) -> dict[str, list[dict[str, Any]]]:
    names = ("bids", "items", "dead_letters", "watermarks", "watermark_islands")
    return {
        name: [dict(row) for row in await archive.fetch(f"SELECT * FROM {name}")]  # noqa: S608
        for name in names
    }


async def left(archive: Connection) -> list[str]:
    rows = await archive.fetch("SELECT reason FROM dead_letters ORDER BY reason")
    return [row["reason"] for row in rows]


async def watermark(archive: Connection) -> OutboxId:
    row = await archive.fetchrow("SELECT * FROM watermarks WHERE partition = $1", HOME)
    assert row is not None
    return OutboxId(row["last_ms"], row["last_n"])


async def redrive(services: Services, *options: str) -> dict[str, Any]:
    code, said, complaints = await services.run("archival", "redrive", *options, "--json")
    assert code == 0, complaints
    report: dict[str, Any] = json.loads(said)
    return report


async def audit(services: Services) -> tuple[int, dict[str, Any]]:
    code, said, _ = await services.run("archival", "audit", "--wait", "0", "--json")
    return code, json.loads(said)


async def five_bids_two_of_them_dead_letters(
    stores: Stores, archive: Connection
) -> Sequence[Event]:
    """The fourth was set aside by itself, the fifth with its whole message."""
    chain, events = Chain(HOME), Item("lamp").bids(5)
    first, fourth, fifth = chain.batch(events[:3]), events[3], chain.batch(events[4:])
    await accept(stores.redis_url, *events)
    await archive_batches(archive, [first])
    await bury(archive, letter_of(fourth), letter_of_message(fifth))
    return events


async def test_dead_letters_that_can_be_archived_leave_and_the_audit_agrees(
    stores: Stores, archive: Connection, services: Services
) -> None:
    events = await five_bids_two_of_them_dead_letters(stores, archive)
    before = await audit(services)

    report = await redrive(services, "--yes")

    assert before[0] == 1  # nobody knows what the whole message holds
    outcome = report["outcome"]
    assert (outcome["archived"], outcome["stay"], outcome["bids"]) == (2, 0, 2), report
    assert report["plan"] == outcome
    assert await left(archive) == []
    assert await watermark(archive) == OutboxId(1_790_000_000_000, 2)
    code, after = await audit(services)
    assert (code, after["archived"], after["dead_letters_in_all"]) == (0, len(events), 0)


async def test_dry_run_shows_what_would_happen_and_changes_nothing(
    stores: Stores, archive: Connection, services: Services
) -> None:
    await five_bids_two_of_them_dead_letters(stores, archive)
    before = await tables(archive)

    report = await redrive(services, "--dry-run")

    assert (report["redriven"], report["plan"]["archived"]) == (False, 2)
    assert report["why_not"] == "This was a dry run: nothing was written."
    assert await tables(archive) == before


async def test_nothing_is_redriven_without_an_answer(
    stores: Stores, archive: Connection, services: Services
) -> None:
    await five_bids_two_of_them_dead_letters(stores, archive)

    code, said, _ = await services.run("archival", "redrive")

    assert code == 1
    assert "Nothing was written, as there is no terminal to ask on." in said
    assert said.splitlines()[1].split() == ["bad_event", "1", "1", "0"]
    assert await left(archive) == ["bad_event", "undecodable"]


async def test_dead_letters_that_fail_again_stay_as_they_were(
    archive: Connection, services: Services
) -> None:
    chain, lamp = Chain(HOME), Item("lamp")
    first, rival = lamp.bid(), Item("lamp").bid()
    await archive_batches(archive, [chain.batch([first])])
    await archive_batches(archive, [chain.batch([rival])])
    bad = Event("lamp", 2, "", 0, lamp.bid().json.replace(b'"amount":2.00', b'"amount":2.005'))
    newer = chain.batch([lamp.bid()])
    await bury(
        archive,
        letter_of(Event("lamp", 2, rival.event_id, 0, bad.json)),
        letter_of_message(newer, newer.data.replace(b'"v":1', b'"v":2')),
        letter_of_message(newer, b"garbage"),
    )
    before = await tables(archive)

    report = await redrive(services, "--yes")

    assert report["why_not"] == "None of them can be archived: nothing was written."
    assert sorted(each["reason"] for each in report["plan"]["staying"]) == await left(archive)
    whys = " ".join(each["why"] for each in report["plan"]["staying"])
    assert "the archive refuses it as before" in whys
    assert "two decimals" in whys
    assert "events of version 2" in whys
    assert await tables(archive) == before


async def test_readable_message_leaves_its_bad_event_as_a_dead_letter_of_its_own(
    archive: Connection, services: Services
) -> None:
    lamp = Item("lamp")
    good, bad = lamp.bid(), lamp.bid().json.replace(b'"amount":2.00', b'"amount":2.005')
    await bury(archive, letter_of_message(Chain(HOME).batch([good, bad])))

    report = await redrive(services, "--yes")

    outcome = report["outcome"]
    assert (outcome["archived"], outcome["bids"], outcome["new_dead_letters"]) == (1, 1, 1)
    assert await left(archive) == ["bad_event"]


async def test_only_dead_letters_of_the_given_reason_are_redriven(
    stores: Stores, archive: Connection, services: Services
) -> None:
    await five_bids_two_of_them_dead_letters(stores, archive)

    report = await redrive(services, "--yes", "--reason", "bad_event")

    assert report["outcome"]["by_reason"] == {"bad_event": {"dead_letters": 1, "archived": 1}}
    assert await left(archive) == ["undecodable"]


@pytest.mark.parametrize("keep", [True, False])
async def test_letters_that_the_release_before_set_aside_are_archived_by_the_next(
    stores: Stores, archive: Connection, *, keep: bool
) -> None:
    """It called an unknown version a dead letter, and an unknown kind a bad event."""
    lamp = Item("lamp")
    shiny = lamp.bid()
    newer = Chain(HOME).batch(lamp.bids(2))
    await bury(
        archive,
        letter_of(
            Event("lamp", 1, shiny.event_id, 100, shiny.json.replace(b'"bid"', b'"shiny"', 1))
        ),
        letter_of_message(newer, newer.data.replace(b'"v":1', b'"v":2')),
    )
    await archive.execute("UPDATE dead_letters SET reason = 'unknown_version' WHERE seq IS NULL")
    letters = await Letters.connect(stores.postgres_url, reader=NextReader())

    tally = await letters.put_through(
        await letters.every(reason=None), keep=keep, progress=lambda _: None
    )
    await letters.aclose()

    assert (tally.removed.total(), tally.bids) == (2, 3)
    assert await archive.fetchval("SELECT count(*) FROM bids") == (3 if keep else 0)
    assert await left(archive) == ([] if keep else ["bad_event", "unknown_version"])


async def test_message_put_through_again_begins_no_epoch(
    archive: Connection, services: Services
) -> None:
    """Otherwise all that older epochs published would count as superseded."""
    chain, lamp = Chain(HOME), Item("lamp")
    first, second = chain.batch([lamp.bid()]), chain.batch([lamp.bid()])
    await archive_batches(archive, [first])
    newer = second.data.replace(b'"v":1,', b'"v":1,"epoch":7,')
    await bury(archive, letter_of_message(second, newer))

    report = await redrive(services, "--yes")

    assert report["outcome"]["bids"] == 1
    row = await archive.fetchrow("SELECT * FROM watermarks WHERE partition = $1", HOME)
    assert row is not None
    assert (row["last_n"], row["epoch"]) == (second.last.n, 0)


async def test_what_a_superseded_redis_accepted_stays_a_dead_letter(
    archive: Connection, services: Services
) -> None:
    """It is not of the history that the bids of today follow."""
    await bury(
        archive,
        letter_of(Item("lamp").bid(), Reason.SUPERSEDED_EPOCH),
        letter_of(Item("lamp").bid(), Reason.BAD_EVENT),
    )

    report = await redrive(services, "--yes")

    assert report["outcome"]["bids"] == 1
    assert await left(archive) == ["superseded_epoch"]
    assert "another history" in json.dumps(report)
