"""The optimistic strategy: WATCH, read, decide, MULTI / EXEC; retried when another bid was faster.

A connection runs one round at a time: EXEC clears every WATCH of its connection, so a second round
in between would be committed unchecked.

EXEC goes on after a command that fails, and cannot undo. Redis checks rights, memory and its role
before, and the reads of the round find keys of the wrong type. What is left is an outbox that has
given out its last id, as no clock reaches in this era, but a hand can: the item changes, its event
is not written, and the bid is answered ``outcome_unknown``. place_bid.lua refuses such a bid. To
look for it here would take ``XINFO STREAM`` in every round, the dearest command of all.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import hiredis

from pkg.api.bidding.bid_link import BidSession
from pkg.api.bidding.ledger import number_of_items
from pkg.api.bidding.refusals import Refusals
from pkg.api.errors import (
    Busy,
    ItemsFull,
    OutboxFull,
    OutcomeUnknown,
    RedisRecovering,
    RedisUnavailable,
    Unavailable,
)
from pkg.api.redis.connection import RedisConnection, Reply, pack
from pkg.api.redis.link import RedisLink
from pkg.auction.bid import Accepted, Bid, Outcome, Strategy, TooLow
from pkg.auction.events import event_head, event_tail, redis_timestamp
from pkg.auction.item import FIELDS, ItemState, partition_of
from pkg.auction.keys import item_key, meta_key, outbox_key
from pkg.stores.redis_meta import ITEMS, RUN_ID

FIRST_PAUSE_S = 0.0005
PAUSE_CAP_S = 0.02

_TIME = pack("TIME")
_UNWATCH = pack("UNWATCH")
_MULTI = pack("MULTI")
_EXEC = pack("EXEC")


class RoundLink:
    """A link that runs one round at a time, with a bounded queue."""

    def __init__(self, link: RedisLink[BidSession], *, queue_max: int) -> None:
        self.link = link
        self.waiting = 0
        self._queue_max = queue_max
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> None:
        if self.waiting >= self._queue_max:
            raise Busy
        self.waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self.waiting -= 1

    async def __aexit__(self, *_: object) -> None:
        self._turn.release()


@dataclass
class RoundCounts:
    """Counts since the process started."""

    retries: int = 0
    exhausted: int = 0


class OptimisticLedger:
    """Spreads items over several connections; an item always uses the same one."""

    def __init__(
        self,
        links: Sequence[RoundLink],
        *,
        partitions: int,
        outbox_max_entries: int,
        items_max: int,
        tries: int,
        refusals: Refusals,
    ) -> None:
        self._links = links
        self._partitions = partitions
        self._outbox_max_entries = outbox_max_entries
        self._items_max = items_max
        self._tries = tries
        self._refusals = refusals
        self.counts = RoundCounts()

    @property
    def waiting(self) -> int:
        return sum(each.waiting for each in self._links)

    async def place(self, bid: Bid, known_new: str = "") -> Outcome:
        """See ``Ledger.place``. Also Busy when other bids won every round."""
        link = self._links[crc32(bid.item_id.encode()) % len(self._links)]
        for lost in range(self._tries):
            if lost:
                self.counts.retries += 1
                pause_s = min(FIRST_PAUSE_S * 2**lost, PAUSE_CAP_S)
                await asyncio.sleep(pause_s * random.random())  # noqa: S311 - jitter
            async with link:
                session = link.link.current()
                try:
                    outcome = await self._round(session, bid, known_new)
                except asyncio.CancelledError:
                    # Replies are outstanding, and the next round must not inherit this one's WATCH.
                    session.connection.close()
                    raise
            if outcome is not None:
                return outcome
        self.counts.exhausted += 1
        raise Busy

    async def _round(self, session: BidSession, bid: Bid, known_new: str) -> Outcome | None:
        """One round; ``None`` if the item changed meanwhile, so that nothing was written."""
        connection, prices = session.connection, session.prices
        price = prices.refuses(bid.item_id, bid.amount_cents)
        if price is not None:
            return TooLow(price)
        partition = partition_of(bid.item_id, self._partitions)
        state, now, depth = await self._watch(session, bid.item_id, partition)
        prices.saw(bid.item_id, state.price_cents)
        if bid.amount_cents <= state.price_cents:
            _unwatch(connection)
            return TooLow(state.price_cents)
        try:
            if depth >= self._outbox_max_entries:
                raise OutboxFull
            if not state.seq:
                await self._require_room_for_an_item(session, bid.item_id, partition, known_new)
        except Unavailable:
            _unwatch(connection)
            raise
        if not await self._write(connection, bid, partition, state, now):
            return None
        prices.saw(bid.item_id, bid.amount_cents)
        return Accepted(seq=state.seq + 1)

    async def _watch(
        self, session: BidSession, item_id: str, partition: str
    ) -> tuple[ItemState, str, int]:
        """Watches the item. Returns its state, Redis' time and the number of outbox entries."""
        key = item_key(partition, item_id)
        try:
            replies = await session.connection.submit_all(
                pack("WATCH", key),
                pack("HMGET", key, *FIELDS),
                _TIME,
                pack("XLEN", outbox_key(partition)),
                pack("HGET", meta_key(partition), RUN_ID),
            )
        except OutcomeUnknown as error:
            raise RedisUnavailable from error  # only reads were sent
        if self._refused(replies):
            raise RedisUnavailable
        _, values, now, depth, run_id = replies
        if run_id != session.run_id.encode():
            session.connection.close()  # see LuaLedger
            raise RedisRecovering
        return self._state(values), redis_timestamp(int(now[0]), int(now[1])), depth

    async def _require_room_for_an_item(
        self, session: BidSession, item_id: str, partition: str, known_new: str
    ) -> None:
        """The number of items is not watched: rounds on other items that run at the same time may
        exceed the maximum, by one a connection.
        """
        try:
            items = await number_of_items(session, partition, item_id, known_new)
        except OutcomeUnknown as error:
            raise RedisUnavailable from error  # only reads were sent
        except hiredis.ReplyError as error:
            self._refusals.count(error)
            raise RedisUnavailable from error
        if items is not None and items >= self._items_max:
            raise ItemsFull

    async def _write(
        self,
        connection: RedisConnection,
        bid: Bid,
        partition: str,
        state: ItemState,
        timestamp: str,
    ) -> bool:
        """Writes the bid if the item is still as watched; False if it is not."""
        seq = state.seq + 1
        opened = () if state.opened_at else ("opened_at", timestamp)
        fields = (
            *("price", str(bid.amount_cents), "bidder", bid.user_id, "seq", str(seq)),
            *("count", str(state.count + 1), "event_id", bid.event_id, *opened),
        )
        event = event_head(bid, Strategy.OPTIMISTIC) + event_tail(
            previous_cents=state.price_cents, timestamp=timestamp, seq=seq
        )
        replies = await connection.submit_all(
            _MULTI,
            pack("HSET", item_key(partition, bid.item_id), *fields),
            pack("XADD", outbox_key(partition), "*", "e", event),
            *(() if state.seq else (pack("HINCRBY", meta_key(partition), ITEMS, "1"),)),
            _EXEC,
        )
        written = replies[-1]
        if written is None:
            return False
        if self._refused(replies):
            raise RedisUnavailable  # refused while queueing, so EXEC was refused too
        if self._refused(written):
            raise OutcomeUnknown  # EXEC goes on after a command that fails
        return True

    def _state(self, values: list[bytes | None]) -> ItemState:
        try:
            return ItemState.from_redis(values)
        except ValueError as error:  # its hash was not written by us
            self._refusals.count(error)
            raise RedisUnavailable from error

    def _refused(self, replies: list[Reply]) -> bool:
        """Whether Redis refused any of the commands."""
        for reply in replies:
            if isinstance(reply, hiredis.ReplyError):
                self._refusals.count(reply)
                return True
        return False


def _unwatch(connection: RedisConnection) -> None:
    """Nobody needs its reply. It is sent before the next round's WATCH."""
    connection.submit(_UNWATCH).add_done_callback(_retrieve)


def _retrieve(future: asyncio.Future[Reply]) -> None:
    """Marks the exception as retrieved; the link reports a lost connection."""
    if not future.cancelled():
        future.exception()
