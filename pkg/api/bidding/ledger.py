"""Places bids and reads items. Redis accepts or refuses each bid in one atomic step."""

from typing import Protocol

import hiredis

from pkg.api.bidding.bid_link import PLACE_BID, BidSession
from pkg.api.bidding.refusals import Refusals
from pkg.api.bidding.script import Script
from pkg.api.errors import (
    ItemsFull,
    MaybeArchived,
    OutboxFull,
    OutcomeUnknown,
    RedisRecovering,
    RedisUnavailable,
)
from pkg.api.redis.connection import pack
from pkg.api.redis.link import RedisLink
from pkg.auction.bid import Accepted, Bid, Outcome, Strategy, TooLow
from pkg.auction.events import event_head
from pkg.auction.item import FIELDS, ItemState, partition_names, partition_of
from pkg.auction.keys import departed_key, item_key, meta_key, outbox_key
from pkg.stores.departures import FIND_ITEM
from pkg.stores.redis_meta import DEPARTURES, RUN_ID

_PLACE_BID = Script(PLACE_BID)
_FIND_ITEM = Script(FIND_ITEM)

_ACCEPTED, _TOO_LOW, _FULL, _ITEMS_FULL, _MAYBE_ARCHIVED = 1, 0, -1, -3, -4
_NEW, _PRESENT = 0, 1  # of find_item.lua


class Ledger(Protocol):
    """A strategy for placing bids."""

    async def place(self, bid: Bid, known_new: str = "") -> Outcome:
        """Writes the bid and its event, or nothing.

        ``known_new``: the archive does not have the item, and was asked after ``MaybeArchived``
        told this number of departures.

        Raises:
            MaybeArchived: ask the archive, see ``returning``.
            Unavailable: see ``pkg.api.errors``; each says whether something was written.
        """
        ...


class LuaLedger:
    """One script call per bid, all pipelined on one connection."""

    def __init__(
        self,
        link: RedisLink[BidSession],
        *,
        partitions: int,
        outbox_max_entries: int,
        items_max: int,
        refusals: Refusals,
    ) -> None:
        self._link = link
        self._partitions = partitions
        self._keys = {
            name: (outbox_key(name), meta_key(name), departed_key(name))
            for name in partition_names(partitions)
        }
        self._outbox_max_entries = str(outbox_max_entries)
        self._items_max = str(items_max)
        self._refusals = refusals

    async def place(self, bid: Bid, known_new: str = "") -> Outcome:
        """See ``Ledger.place``."""
        session = self._link.current()
        price = session.prices.refuses(bid.item_id, bid.amount_cents)
        if price is not None:
            return TooLow(price)
        partition = partition_of(bid.item_id, self._partitions)
        arguments = (
            "4",
            item_key(partition, bid.item_id),
            *self._keys[partition],
            str(bid.amount_cents),
            bid.user_id,
            bid.event_id,
            event_head(bid, Strategy.LUA),
            self._outbox_max_entries,
            session.run_id,
            self._items_max,
            *((known_new,) if known_new else ()),
        )
        try:
            verdict, number = await _PLACE_BID.run(session.connection, arguments)
        except hiredis.ReplyError as error:
            # Out of memory, read-only, a broken item: the script has written nothing.
            self._refusals.count(error)
            raise RedisUnavailable from error
        if verdict == _ACCEPTED:
            session.prices.saw(bid.item_id, bid.amount_cents)
            return Accepted(seq=number)
        if verdict == _TOO_LOW:
            session.prices.saw(bid.item_id, number)
            return TooLow(number)
        if verdict == _FULL:
            raise OutboxFull
        if verdict == _ITEMS_FULL:
            raise ItemsFull
        if verdict == _MAYBE_ARCHIVED:
            raise MaybeArchived(departures=number, opening=session.run_id)
        # Redis was emptied under this connection. The next one opens only once it is recovered.
        session.connection.close()
        raise RedisRecovering


_LOOKS = 3
"""An item in Redis has a seq, so the second look tells it, unless the item left again meanwhile."""


class Items:
    """Reads items, always from Redis."""

    def __init__(self, link: RedisLink[BidSession], *, partitions: int) -> None:
        self._link = link
        self._partitions = partitions
        # Made once: packing a command costs more than a coroutine.
        self._marks = {
            name: pack("HMGET", meta_key(name), RUN_ID, DEPARTURES)
            for name in partition_names(partitions)
        }

    async def read(self, item_id: str, known_new: str = "") -> ItemState:
        """The item's state; seq 0 for one that nobody bid on. ``known_new``: see ``Ledger.place``.

        Raises:
            MaybeArchived: ask the archive, see ``returning``.
            RedisUnavailable: nothing was read. Busy: too many commands are waiting.
            RedisRecovering: Redis may have forgotten bids.
        """
        partition = partition_of(item_id, self._partitions)
        for _ in range(_LOOKS):
            session = self._link.current()
            try:
                # The item first: without a departure by the second reply, one that it lacked is
                # new.
                values, marks = await session.connection.submit_all(
                    pack("HMGET", item_key(partition, item_id), *FIELDS), self._marks[partition]
                )
            except OutcomeUnknown as error:
                raise RedisUnavailable from error
            if isinstance(values, hiredis.ReplyError) or isinstance(marks, hiredis.ReplyError):
                raise RedisUnavailable
            run_id, departures = marks
            if run_id != session.run_id.encode():
                session.connection.close()
                raise RedisRecovering
            try:
                state = ItemState.from_redis(values)
            except ValueError as error:
                raise RedisUnavailable from error  # its hash was not written by us
            if (
                state.seq
                or not departures
                or await self._is_new(session, partition, item_id, known_new)
            ):
                session.prices.saw(item_id, state.price_cents)
                return state
        raise RedisUnavailable

    async def _is_new(
        self, session: BidSession, partition: str, item_id: str, known_new: str
    ) -> bool:
        """False if a bid has made the item since it was read, or it has come back."""
        try:
            return await number_of_items(session, partition, item_id, known_new) is not None
        except (OutcomeUnknown, hiredis.ReplyError) as error:
            raise RedisUnavailable from error


async def number_of_items(
    session: BidSession, partition: str, item_id: str, known_new: str
) -> int | None:
    """How many items the partition has, if this one is new; None if Redis has it by now.

    Raises:
        MaybeArchived, RedisRecovering. OutcomeUnknown, hiredis.ReplyError: nothing was read.
    """
    verdict, number = await _FIND_ITEM.run(
        session.connection,
        (
            *("3", item_key(partition, item_id), meta_key(partition), departed_key(partition)),
            *(session.run_id, known_new),
        ),
    )
    if verdict == _NEW:
        return int(number)
    if verdict == _PRESENT:
        return None
    if verdict == _MAYBE_ARCHIVED:
        raise MaybeArchived(departures=number, opening=session.run_id)
    session.connection.close()
    raise RedisRecovering
