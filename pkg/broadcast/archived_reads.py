"""Reads items from the archive that left Redis, so that their viewers are told no zero.

Apart from the reads of Redis, which must not wait for an archive that is away.
"""

import asyncio
from typing import NamedTuple

from pkg.auction.asking import MOST_ASKED
from pkg.broadcast.channel import Channel
from pkg.broadcast.item_view import ItemView
from pkg.stores.archived_items import ArchivedItems, ArchiveUnavailableError

Mark = tuple[int, int]
"""A partition's epoch, and how many of its items had left. While both stay, an item that Redis
lacks is what the archive said.
"""


class _Asked(NamedTuple):
    asked_at: ItemView | None
    mark: Mark


class ArchivedReads:
    def __init__(self, archive: ArchivedItems) -> None:
        self._archive = archive
        self._asked: dict[Channel, _Asked] = {}
        self._wake = asyncio.Event()

    @property
    def failed(self) -> int:
        """Items looked up in vain since the process started."""
        return self._archive.failed

    def ask(self, channel: Channel, *, asked_at: ItemView | None, mark: Mark) -> None:
        """Reads the item from the archive soon. ``asked_at``: see ``Sequencer.read``."""
        self._asked.setdefault(channel, _Asked(asked_at, mark))
        self._wake.set()

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            await self._wake.wait()
            batch = {each: self._asked.pop(each) for each in list(self._asked)[:MOST_ASKED]}
            if batch:
                await self._read(batch)
            else:
                self._wake.clear()

    async def _read(self, batch: dict[Channel, _Asked]) -> None:
        try:
            found = await self._archive.find([channel.item_id for channel in batch])
        except ArchiveUnavailableError:
            for channel in batch:
                channel.unreadable()
            return
        for channel, asked in batch.items():
            archived = found.get(channel.item_id)
            view = ItemView.of(archived.state) if archived else ItemView.unknown()
            channel.archived = (asked.mark, view)
            if asked.asked_at is None or not view.contradicts(asked.asked_at):
                channel.read(view, asked_at=asked.asked_at)
