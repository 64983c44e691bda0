"""Faults of NATS. Bids never notice: the outbox keeps what cannot be published."""

from pathlib import Path

from pkg.auction.subjects import STREAM
from pkg.trials.faults.parts import Store, data_of
from pkg.trials.faults.row import Row
from pkg.trials.faults.scene import Scene


async def _stopped(scene: Scene) -> None:
    await scene.stores.nats.stop()
    await scene.hold(10, short_s=3)
    await scene.stores.nats.start()


async def _stopped_long(scene: Scene) -> None:
    await scene.stores.nats.stop()
    await scene.hold(150, short_s=10)
    scene.note(f"{await scene.outbox_entries()} events waited in the outboxes.")
    await scene.stores.nats.start()


async def _store_deleted(scene: Scene) -> None:
    """The archivers sleep first, so that the stream holds bids that the archive lacks."""
    nats = scene.stores.nats
    for archiver in scene.services.archival:
        await archiver.process.pause()
    await scene.hold(3, short_s=1)
    await nats.stop()
    await nats.discard()
    for archiver in scene.services.archival:
        await archiver.process.resume()
    await scene.hold(10, short_s=2)
    await nats.start()


async def _archived_tail_cut(scene: Scene) -> None:
    """Afterwards the consumer has acknowledged more than the stream holds."""
    await _cut_tail(scene)


async def _unarchived_tail_cut(scene: Scene) -> None:
    for archiver in scene.services.archival:
        await archiver.process.pause()
    await _cut_tail(scene)
    for archiver in scene.services.archival:
        await archiver.process.resume()


async def _cut_tail(scene: Scene) -> None:
    nats = scene.stores.nats
    noted = {block: block.stat().st_size for block in _blocks(nats)}
    await scene.hold(5, short_s=2)
    await nats.kill()
    cut = 0
    for block in _blocks(nats):
        size = block.stat().st_size
        cut += size - noted.get(block, 0)
        with block.open("r+b") as file:
            file.truncate(noted.get(block, 0))
    for index in _messages(nats).glob("index.db"):
        index.unlink()
    scene.note(f"{cut} bytes were cut from the end of the stream's store.")
    scene.require(cut > 0, "the stream had no tail to cut")
    await nats.start()


def _messages(nats: Store) -> Path:
    return data_of(nats) / "jetstream" / "$G" / "streams" / STREAM / "msgs"


def _blocks(nats: Store) -> list[Path]:
    return sorted(_messages(nats).glob("*.blk"))


ROWS = (
    Row(
        name="nats-stopped",
        expects="Bids go on. Viewers are told by snapshots meanwhile; the archive catches up.",
        fault=_stopped,
    ),
    Row(
        name="nats-stopped-long",
        expects="The same for 150 s: events wait in the outbox.",
        fault=_stopped_long,
    ),
    Row(
        name="nats-store-deleted",
        expects="Bids go on. The stream is made again, and filled with all that the archive lacks.",
        fault=_store_deleted,
    ),
    Row(
        name="nats-tail-cut",
        expects="Bids go on. The archive has what the stream lost, and what comes after it.",
        fault=_archived_tail_cut,
    ),
    Row(
        name="nats-unarchived-tail-cut",
        expects="Bids go on. What the stream lost is published again from the outbox.",
        fault=_unarchived_tail_cut,
    ),
)
