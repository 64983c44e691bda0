"""Faults of NATS. Bids go on: the outbox keeps what cannot be published."""

from pathlib import Path

from pkg.auction.subjects import STREAM
from pkg.trials.faults.protocols import Store, data_folder
from pkg.trials.faults.row import Row
from pkg.trials.faults.trial import Trial


async def _stopped(trial: Trial) -> None:
    await trial.stores.nats.stop()
    await trial.hold(10, short_s=3)
    await trial.stores.nats.start()


async def _stopped_long(trial: Trial) -> None:
    await trial.stores.nats.stop()
    await trial.hold(150, short_s=10)
    trial.note(f"{await trial.outbox_entries()} events waited in the outboxes.")
    await trial.stores.nats.start()


async def _store_deleted(trial: Trial) -> None:
    """The archivers are paused first, so that the stream holds bids that the archive lacks."""
    nats = trial.stores.nats
    for archiver in trial.services.archival:
        await archiver.process.pause()
    await trial.hold(3, short_s=1)
    await nats.stop()
    await nats.discard()
    for archiver in trial.services.archival:
        await archiver.process.resume()
    await trial.hold(10, short_s=2)
    await nats.start()


async def _archived_tail_cut(trial: Trial) -> None:
    """Afterwards the consumer has acknowledged more than the stream holds."""
    await _cut_tail(trial)


async def _unarchived_tail_cut(trial: Trial) -> None:
    for archiver in trial.services.archival:
        await archiver.process.pause()
    await _cut_tail(trial)
    for archiver in trial.services.archival:
        await archiver.process.resume()


async def _cut_tail(trial: Trial) -> None:
    nats = trial.stores.nats
    noted = {block: block.stat().st_size for block in _blocks(nats)}
    await trial.hold(5, short_s=2)
    await nats.kill()
    cut = 0
    for block in _blocks(nats):
        size = block.stat().st_size
        cut += size - noted.get(block, 0)
        with block.open("r+b") as file:
            file.truncate(noted.get(block, 0))
    for index in _messages(nats).glob("index.db"):
        index.unlink()
    trial.note(f"{cut} bytes were cut from the end of the stream's store.")
    trial.require(cut > 0, "the stream had no tail to cut")
    await nats.start()


def _messages(nats: Store) -> Path:
    return data_folder(nats) / "jetstream" / "$G" / "streams" / STREAM / "msgs"


def _blocks(nats: Store) -> list[Path]:
    return sorted(_messages(nats).glob("*.blk"))


ROWS = (
    Row(
        name="nats-stopped",
        expects="Bidding continues. Viewers get snapshots meanwhile; the archive catches up.",
        fault=_stopped,
    ),
    Row(
        name="nats-stopped-long",
        expects="The same for 150 s: events wait in the outboxes.",
        fault=_stopped_long,
    ),
    Row(
        name="nats-store-deleted",
        expects="Bidding continues. The relay recreates the stream and republishes what the "
        "archive lacks.",
        fault=_store_deleted,
    ),
    Row(
        name="nats-tail-cut",
        expects="Bidding continues. The archive already has what the stream lost, and keeps up.",
        fault=_archived_tail_cut,
    ),
    Row(
        name="nats-unarchived-tail-cut",
        expects="Bidding continues. The relay republishes what the stream lost from the outbox.",
        fault=_unarchived_tail_cut,
    ),
)
