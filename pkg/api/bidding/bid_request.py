"""Parses a bid; bad input becomes a 400 that says what is wrong."""

import msgspec

from pkg.api.errors import BadRequest
from pkg.auction.bid import Bid
from pkg.auction.ids import is_identifier, uuid7
from pkg.auction.money import MoneyError, cents_from_json

MAX_BODY_BYTES = 64 * 1024

_ABSENT = frozenset({b"", b"null"})
_ID_RULE = "1 to 128 of A-Z a-z 0-9 . _ : -"


class _Body(msgspec.Struct):
    """Raw fields: each has errors of its own, and money never becomes a float."""

    user_id: msgspec.Raw = msgspec.Raw()
    amount: msgspec.Raw = msgspec.Raw()


_decode_body = msgspec.json.Decoder(_Body).decode
_decode_text = msgspec.json.Decoder(str).decode


def checked_item_id(item_id: str) -> str:
    """Raises BadRequest if the id is invalid."""
    if not is_identifier(item_id):
        raise BadRequest(f"Item ID must be {_ID_RULE}", code="item_id_invalid")
    return item_id


def bid_from_body(item_id: str, body: bytes) -> Bid:
    """Reads ``{"user_id": str, "amount": number}`` and generates the bid's ids.

    Raises:
        BadRequest: names the first error; the user is checked before the amount.
    """
    try:
        # msgspec does not check the encoding of fields that it skips.
        body.decode()
        fields = _decode_body(body)
        user_id = _user_id(bytes(fields.user_id))
        amount_cents = cents_from_json(bytes(fields.amount))
    except MoneyError as error:
        if bytes(fields.amount) in _ABSENT:
            raise BadRequest("Bid amount is required", code="amount_required") from None
        raise BadRequest(error.sentence, code=error.code) from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BadRequest from None
    return Bid(
        item_id=item_id,
        user_id=user_id,
        amount_cents=amount_cents,
        event_id=uuid7(),
        bid_id=uuid7(),
    )


def _user_id(raw: bytes) -> str:
    if raw in {b"", b"null", b'""'}:
        raise BadRequest("User ID is required", code="user_id_required")
    if not raw.startswith(b'"'):
        raise BadRequest("User ID must be a string", code="user_id_invalid")
    user_id = _decode_text(raw)
    if not is_identifier(user_id):
        raise BadRequest(f"User ID must be {_ID_RULE}", code="user_id_invalid")
    return user_id
