"""Places bids and reads items. Redis accepts or refuses each bid in one atomic step."""

import hashlib
from typing import Protocol

import hiredis

from pkg.api.bidding.bid_link import PLACE_BID, BidSession
from pkg.api.bidding.refusals import Refusals
from pkg.api.errors import OutboxFull, OutcomeUnknown, RedisRecovering, RedisUnavailable
from pkg.api.redis.connection import RedisConnection, pack
from pkg.api.redis.link import RedisLink
from pkg.auction.bid import Accepted, Bid, Outcome, Strategy, TooLow
from pkg.auction.events import event_head
from pkg.auction.item import FIELDS, ItemState, partition_of
from pkg.auction.keys import item_key, meta_key, outbox_key
from pkg.stores.redis_meta import RUN_ID

_PLACE_BID_SHA = hashlib.sha1(PLACE_BID).hexdigest()  # noqa: S324 - Redis names scripts by SHA-1

_ACCEPTED, _TOO_LOW, _FULL = 1, 0, -1


class Ledger(Protocol):
    """A strategy for placing bids."""

    async def place(self, bid: Bid) -> Outcome:
        """Writes the bid and its event, or nothing.

        Raises:
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
        refusals: Refusals,
    ) -> None:
        self._link = link
        self._partitions = partitions
        self._outbox_max_entries = str(outbox_max_entries)
        self._refusals = refusals

    async def place(self, bid: Bid) -> Outcome:
        """See ``Ledger.place``."""
        session = self._link.current()
        price = session.prices.refuses(bid.item_id, bid.amount_cents)
        if price is not None:
            return TooLow(price)
        partition = partition_of(bid.item_id, self._partitions)
        arguments = (
            "3",
            item_key(partition, bid.item_id),
            outbox_key(partition),
            meta_key(partition),
            str(bid.amount_cents),
            bid.user_id,
            bid.event_id,
            event_head(bid, Strategy.LUA),
            self._outbox_max_entries,
            session.run_id,
        )
        try:
            verdict, number = await _evaluate(session.connection, arguments)
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
        # Redis was emptied under this connection. The next one opens only once it is recovered.
        session.connection.close()
        raise RedisRecovering


async def _evaluate(
    connection: RedisConnection, arguments: tuple[str | bytes, ...]
) -> tuple[int, int]:
    try:
        verdict, number = await connection.submit(pack("EVALSHA", _PLACE_BID_SHA, *arguments))
    except hiredis.ReplyError as error:
        if not str(error).startswith("NOSCRIPT"):
            raise
        # The script cache was flushed. Nothing ran, so sending the whole script is safe.
        verdict, number = await connection.submit(pack("EVAL", PLACE_BID, *arguments))
    return verdict, number


class Items:
    """Reads items, always from Redis."""

    def __init__(self, link: RedisLink[BidSession], *, partitions: int) -> None:
        self._link = link
        self._partitions = partitions

    async def read(self, item_id: str) -> ItemState:
        """The item's state; seq 0 for one that nobody bid on.

        Raises:
            RedisUnavailable: nothing was read. Busy: too many commands are waiting.
            RedisRecovering: Redis may have forgotten bids.
        """
        partition = partition_of(item_id, self._partitions)
        session = self._link.current()
        try:
            values, run_id = await session.connection.submit_all(
                pack("HMGET", item_key(partition, item_id), *FIELDS),
                pack("HGET", meta_key(partition), RUN_ID),
            )
        except OutcomeUnknown as error:
            raise RedisUnavailable from error
        if isinstance(values, hiredis.ReplyError) or isinstance(run_id, hiredis.ReplyError):
            raise RedisUnavailable
        if run_id != session.run_id.encode():
            session.connection.close()
            raise RedisRecovering
        try:
            state = ItemState.from_redis(values)
        except ValueError as error:
            raise RedisUnavailable from error  # its hash was not written by us
        session.prices.saw(item_id, state.price_cents)
        return state
