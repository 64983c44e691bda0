"""What services ask the archive about items, and its answer (NATS request and reply)."""

from typing import Annotated, TypeVar

import msgspec

from pkg.auction.events import UndecodableError
from pkg.auction.item import ItemState

MOST_ASKED = 100
"""Maximum number of items in one question."""

T = TypeVar("T")


class Question(msgspec.Struct, frozen=True):
    items: Annotated[list[str], msgspec.Meta(max_length=MOST_ASKED)]


class ArchivedItem(msgspec.Struct, frozen=True):
    """An item after the last bid that the archive has; ``opened_at`` as in Redis."""

    item_id: str
    seq: int
    price_cents: int
    bidder: str
    event_id: str
    count: int
    opened_at: str

    @property
    def state(self) -> ItemState:
        return ItemState(
            self.price_cents, self.bidder, self.seq, self.count, self.event_id, self.opened_at
        )


class Answer(msgspec.Struct, frozen=True):
    """The items that the archive has; of the others it has no bid. Nothing if ``error`` is set."""

    items: list[ArchivedItem]
    error: str = ""


_question = msgspec.json.Decoder(Question)
_answer = msgspec.json.Decoder(Answer)


def decode_question(data: bytes) -> Question:
    """Raises UndecodableError."""
    return _decoded(_question, data)


def decode_answer(data: bytes) -> Answer:
    """Raises UndecodableError."""
    return _decoded(_answer, data)


def _decoded(decoder: "msgspec.json.Decoder[T]", data: bytes) -> T:
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise UndecodableError(f"not about items: {error}") from error
