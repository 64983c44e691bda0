"""Puts back into Redis what it lost and another store still holds. Never lowers a price.

Every step compares before it writes, so it may be repeated or run twice at once.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from nats.js import JetStreamContext
from redis.asyncio import Redis

from pkg.auction.events import BidEvent, UndecodableError, UnknownVersionError, decode_event
from pkg.auction.ids import is_identifier
from pkg.auction.keys import item_key, meta_key, outbox_key
from pkg.auction.money import MAX_CENTS
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.stores.stream_tail import batches_after

_RESTORE_ITEM = (Path(__file__).parent / "restore_item.lua").read_text(encoding="utf-8")
_MOVE_OUTBOX = (Path(__file__).parent / "move_outbox.lua").read_text(encoding="utf-8")

_PUT_BACK, _REFUSED = 1, -1
_MAX_AMOUNT = Decimal(MAX_CENTS).scaleb(-2)


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """The last bid on an item that a store knows; ``timestamp`` may be that of its first bid."""

    item_id: str
    seq: int
    price_cents: int
    bidder: str
    event_id: str
    timestamp: str


@dataclass
class Tally:
    """How many records were put back and how many refused."""

    put_back: int = 0
    refused: int = 0


class PuttingBack:
    """Puts lost bids back into one Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._restore_item = redis.register_script(_RESTORE_ITEM)
        self._move_outbox = redis.register_script(_MOVE_OUTBOX)

    async def items(self, partition: str, records: Iterable[ItemRecord], tally: Tally) -> None:
        """Puts the records back in the given order; an item's records must have rising seqs.

        Raises:
            redis.exceptions.RedisError: some may have been put back; repeat the call.
        """
        async with self._redis.pipeline(transaction=False) as pipe:
            for record in records:
                await self._restore_item(
                    keys=[item_key(partition, record.item_id), meta_key(partition)],
                    args=[
                        *(record.seq, record.price_cents, record.bidder, record.event_id),
                        record.timestamp,
                    ],
                    client=pipe,
                )
            for verdict in await pipe.execute():
                tally.put_back += verdict == _PUT_BACK
                tally.refused += verdict == _REFUSED

    async def move_outbox(self, partition: str, used: OutboxId) -> None:
        """Makes the id of the partition's next outbox entry higher than ``used``."""
        if used > BEGINNING:
            await self._move_outbox(keys=[outbox_key(partition)], args=[str(used)])

    async def stream_tail(
        self, jetstream: JetStreamContext, partition: str, after: OutboxId
    ) -> Tally:
        """Puts back what JetStream holds after ``after``, and moves the outbox on past all of it.

        Raises:
            UnknownVersionError: only a newer program can put all of it back.
            nats.errors.Error, OSError, TimeoutError, redis.exceptions.RedisError: a store is away.
        """
        tally = Tally()
        last = after
        async for batch in batches_after(jetstream, partition, after):
            await self.items(partition, records_of(batch.events), tally)
            last = max(last, OutboxId.parse(batch.last))
        await self.move_outbox(partition, last)
        return tally


def records_of(events: Iterable[bytes | memoryview]) -> Iterator[ItemRecord]:
    """The records of a batch, without events that no gateway can have accepted.

    Raises:
        UnknownVersionError: a newer gateway may have accepted it; it may have set price and seq.
    """
    for data in events:
        try:
            event = decode_event(bytes(data))
        except UnknownVersionError:
            raise
        except UndecodableError:
            continue  # the archive keeps it as a dead letter
        if _is_acceptable(event):
            yield record_of(event)


def _is_acceptable(event: BidEvent) -> bool:
    """Checks the range before rounding: arithmetic on an exponent of millions is costly."""
    return (
        is_identifier(event.item_id)
        and is_identifier(event.user_id)
        and event.seq > 0
        and event.amount.is_finite()
        and 0 < event.amount <= _MAX_AMOUNT
        and event.amount == round(event.amount, 2)
    )


def record_of(event: BidEvent) -> ItemRecord:
    return ItemRecord(
        item_id=event.item_id,
        seq=event.seq,
        price_cents=int(event.amount.scaleb(2)),
        bidder=event.user_id,
        event_id=event.event_id,
        timestamp=event.timestamp,
    )
