"""Brings items back that left Redis, at their next read or bid.

The archive is asked only for an item that Redis lacks and whose partition's filter has it. Its
answer counts only if no item has left the partition since: otherwise this one may have come back,
got bids and left again, and everything starts over.
"""

import hiredis

from pkg.api.bidding.bid_link import BidSession
from pkg.api.bidding.ledger import Items, Ledger
from pkg.api.bidding.refusals import Refusals
from pkg.api.bidding.script import Script
from pkg.api.errors import (
    ArchiveUnavailable,
    Busy,
    ItemsFull,
    MaybeArchived,
    OutcomeUnknown,
    RedisRecovering,
    RedisUnavailable,
)
from pkg.api.redis.link import RedisLink
from pkg.auction.asking import ArchivedItem
from pkg.auction.bid import Bid, Outcome
from pkg.auction.item import ItemState, partition_of
from pkg.auction.keys import item_key, meta_key
from pkg.stores.archived_items import ArchivedItems, ArchiveUnavailableError
from pkg.stores.departures import RETURN_ITEM

TRIES = 5

_RETURN_ITEM = Script(RETURN_ITEM)
_PUT_BACK, _FULL, _NOT_OPEN = 1, -3, -2


class Returning:
    def __init__(
        self,
        link: RedisLink[BidSession],
        archive: ArchivedItems,
        *,
        partitions: int,
        items_max: int,
        refusals: Refusals,
    ) -> None:
        self._link = link
        self._archive = archive
        self._partitions = partitions
        self._items_max = str(items_max)
        self._refusals = refusals
        self.returned = 0
        """Items put back since the process started."""

    async def place(self, ledger: Ledger, bid: Bid, maybe: MaybeArchived) -> Outcome:
        """Places a bid that the ledger refused with ``maybe``.

        Raises:
            ArchiveUnavailable: nothing was written. Also what ``Ledger.place`` raises.
        """
        for _ in range(TRIES):
            archived = await self._ask(bid.item_id)
            if archived is not None:
                await self._put_back(archived, maybe)
            try:
                return await ledger.place(bid, _known_new(archived, maybe))
            except MaybeArchived as again:
                maybe = again
        raise Busy

    async def read(self, items: Items, item_id: str, maybe: MaybeArchived) -> ItemState:
        """Reads an item, which ``items`` refused with ``maybe``. Without room for it, it stays in
        the archive.

        Raises:
            ArchiveUnavailable. Also what ``Items.read`` raises.
        """
        for _ in range(TRIES):
            archived = await self._ask(item_id)
            if archived is not None:
                try:
                    await self._put_back(archived, maybe)
                except ItemsFull:
                    return archived.state
            try:
                return await items.read(item_id, _known_new(archived, maybe))
            except MaybeArchived as again:
                maybe = again
        raise Busy

    async def _ask(self, item_id: str) -> ArchivedItem | None:
        try:
            return (await self._archive.find([item_id])).get(item_id)
        except ArchiveUnavailableError as error:
            raise ArchiveUnavailable from error

    async def _put_back(self, item: ArchivedItem, maybe: MaybeArchived) -> None:
        """Does nothing if the answer may be outdated. Raises ItemsFull."""
        session = self._link.current()
        partition = partition_of(item.item_id, self._partitions)
        arguments = (
            *("2", item_key(partition, item.item_id), meta_key(partition)),
            *(maybe.opening, str(maybe.departures), self._items_max),
            *(str(item.price_cents), item.bidder, str(item.seq), str(item.count)),
            *(item.event_id, item.opened_at),
        )
        try:
            verdict = await _RETURN_ITEM.run(session.connection, arguments)
        except OutcomeUnknown as error:
            raise RedisUnavailable from error  # no bid was sent
        except hiredis.ReplyError as error:
            self._refusals.count(error)
            raise RedisUnavailable from error
        if verdict == _NOT_OPEN:
            raise RedisRecovering
        if verdict == _FULL:
            raise ItemsFull
        self.returned += verdict == _PUT_BACK


def _known_new(archived: ArchivedItem | None, maybe: MaybeArchived) -> str:
    return "" if archived is not None else str(maybe.departures)
