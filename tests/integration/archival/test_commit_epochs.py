"""Two histories of Redis in one archive."""

from pkg.archival.commit import Committed, commit
from pkg.archival.intake import Portion
from pkg.archival.store import Connection
from pkg.auction.events import encode_batch
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.auction.subjects import SUPERSEDED
from tests.integration.archival.auction import Event, Item

OLD, NEW = 10, 20
FIRST, SECOND, THIRD = (OutboxId(1000, number) for number in (1, 2, 3))


def batch(epoch: int, prev: OutboxId, last: OutboxId, *events: Event) -> bytes:
    return encode_batch(
        "p00", prev=prev, last=last, events=[each.json for each in events], epoch=epoch
    )


async def archived(
    archive: Connection, *messages: tuple[int, bytes], partition: str = "p00"
) -> Committed:
    """Commits messages of the given stream sequences."""
    portion = Portion()
    for sequence, data in messages:
        portion.add(f"bid.events.{partition}", data, sequence=sequence)
    return await commit(archive, portion)


async def watermark(archive: Connection) -> tuple[OutboxId, int]:
    row = await archive.fetchrow("SELECT * FROM watermarks WHERE partition = 'p00'")
    assert row is not None
    return OutboxId(row["last_ms"], row["last_n"]), row["epoch"]


async def test_an_older_epoch_after_a_newer_one_is_kept_apart_and_moves_no_watermark(
    archive: Connection,
) -> None:
    lamp = Item("lamp")
    await archived(archive, (1, batch(OLD, BEGINNING, FIRST, *lamp.bids(1))))
    await archived(archive, (2, batch(NEW, FIRST, FIRST)))

    result = await archived(archive, (3, batch(OLD, FIRST, THIRD, *lamp.bids(2))))

    assert result.archived == 0
    assert result.dead_letters == {"superseded_epoch": 2}
    assert await watermark(archive) == (FIRST, NEW)


async def test_a_batch_from_before_the_newer_epoch_is_archived_though_it_comes_late(
    archive: Connection,
) -> None:
    lamp = Item("lamp")
    first, second = lamp.bids(1), lamp.bids(1)
    await archived(archive, (3, batch(NEW, SECOND, SECOND)))

    result = await archived(
        archive, (1, batch(OLD, BEGINNING, FIRST, *first)), (2, batch(OLD, FIRST, SECOND, *second))
    )

    assert (result.archived, result.dead_letters) == (2, {})
    assert await watermark(archive) == (SECOND, NEW)


async def test_both_in_one_portion_are_told_apart(archive: Connection) -> None:
    lamp, vase = Item("lamp"), Item("vase")

    result = await archived(
        archive,
        (1, batch(OLD, BEGINNING, FIRST, *lamp.bids(1))),
        (2, batch(NEW, FIRST, SECOND, *lamp.bids(1))),
        (3, batch(OLD, FIRST, THIRD, *vase.bids(1))),
    )

    assert (result.archived, result.dead_letters) == (2, {"superseded_epoch": 1})
    assert await watermark(archive) == (SECOND, NEW)


async def test_what_a_superseded_redis_hands_over_is_kept_unless_it_is_archived(
    archive: Connection,
) -> None:
    lamp = Item("lamp")
    known, unknown = lamp.bids(1), lamp.bids(2)
    await archived(archive, (1, batch(OLD, BEGINNING, FIRST, *known)))

    handed_over = (2, batch(OLD, BEGINNING, THIRD, *known, *unknown))
    result = await archived(archive, handed_over, partition=SUPERSEDED)
    again = await archived(archive, handed_over, partition=SUPERSEDED)

    assert (result.archived, result.dead_letters) == (0, {"superseded_epoch": 2})
    assert again.dead_letters == {}
    assert await watermark(archive) == (FIRST, OLD)
