"""Bids and watches from the command line, as any client of the system would."""

import asyncio
import http.client
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from pkg.auction.ids import MAX_ID_LENGTH, is_identifier
from pkg.devkit.errors import BadArgument, BidkitError

ANSWER_WITHIN_S = 10.0
RECONNECT_AFTER_S = 0.5
_WRONG_USE = {400, 413}
_NOT_READY = "`bidkit describe api-gateway` says what the gateways wait for"
_ENCODER = msgspec.json.Encoder(decimal_format="number")
_JSON_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The auction's answer to a bid: accepted, or refused by a rule."""

    item: str
    answer: dict[str, Any]
    """As received, with exact money."""

    @property
    def accepted(self) -> bool:
        return self.answer.get("success") is True

    @property
    def message(self) -> str:
        return str(self.answer.get("message"))

    @property
    def line(self) -> str:
        """The accepted bid as one line for people."""
        amount, seq = _money(self.answer.get("your_bid")), self.answer.get("seq", "?")
        return f"{self.message} {self.item}: {amount}, seq {seq}"

    @property
    def json(self) -> str:
        """The answer and its item as one line of JSON."""
        return _ENCODER.encode({"item_id": self.item, **self.answer}).decode()


def place_bid(
    api_url: str, item: str, amount: str, *, user: str, strategy: str | None = None
) -> Outcome:
    """The amount goes out as it was typed, digit by digit.

    Raises BidkitError, with the API's own words when it gave any: BadArgument when it calls the
    bid none, whatever the auction's state.
    """
    _check_id(item, "an item id")
    _check_id(user, "a user id")
    if not _JSON_NUMBER.fullmatch(amount):
        raise BadArgument(f"{amount!r} is not an amount; write it as in 125.50.")
    address = urlsplit(api_url)
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    connection = kind(str(address.hostname), address.port, timeout=ANSWER_WITHIN_S)
    headers = {"Content-Type": "application/json"}
    if strategy:
        headers["X-Bid-Strategy"] = strategy
    body = f'{{"user_id": {json.dumps(user)}, "amount": {amount}}}'
    try:
        connection.request("POST", f"/api/v1/items/{item}/bid", body, headers)
        response = connection.getresponse()
        answer = _object(response.read().decode())
    except TimeoutError as error:
        raise BidkitError(
            f"no answer from {api_url} in {ANSWER_WITHIN_S:g} s; the bid may have been accepted."
        ) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise BidkitError(f"no answer from {api_url}: {error}.") from error
    finally:
        connection.close()
    if "error" in answer:
        code = answer.get("code", "no code")
        error_kind = BadArgument if response.status in _WRONG_USE else BidkitError
        why = f"; {_NOT_READY}" if code == "no_gateway" else ""
        raise error_kind(f"{answer['error']} ({response.status}, {code}){why}")
    return Outcome(item, answer)


def _check_id(text: str, what: str) -> None:
    if not is_identifier(text):
        raise BadArgument(
            f"{text!r} is not {what}; one has 1 to {MAX_ID_LENGTH} of A-Z a-z 0-9 . _ : and -."
        )


async def watch(
    websocket_url: str,
    item: str,
    *,
    latest: bool,
    show: Callable[[str], None],
    notice: Callable[[str], None],
) -> None:
    """Shows every message until cancelled; connects again when the service restarts, and notices
    once when there is nobody to connect to.

    Raises BadArgument for an id that no item can have, of which a WebSocket would say only 400.
    """
    _check_id(item, "an item id")
    # Imported here because it takes 0.2 s, and other verbs do not need it.
    from aiohttp import ClientError, ClientSession, WSMsgType

    url = f"{websocket_url}/ws/items/{quote(item, safe='')}{'?mode=latest' if latest else ''}"
    connected = noticed = False
    async with ClientSession() as session:
        while True:
            try:
                async with asyncio.timeout(ANSWER_WITHIN_S):
                    opening = await session.ws_connect(url, max_msg_size=0)
                async with opening as socket:
                    connected, noticed = True, False
                    async for message in socket:
                        if message.type is WSMsgType.TEXT:
                            show(message.data)
                    notice(f"the connection was closed ({socket.close_code}); connecting again")
            except (ClientError, TimeoutError) as error:
                why = str(error) or f"no answer in {ANSWER_WITHIN_S:g} s"
                if not connected:
                    raise BidkitError(f"cannot watch at {url}: {why}.") from error
                if not noticed:
                    noticed = True
                    notice(
                        f"cannot connect to {url}: {why}; still trying; "
                        "if the system was stopped, `bidkit up` starts it"
                    )
            await asyncio.sleep(RECONNECT_AFTER_S)


def line_of(text: str) -> str:
    """A message of the broadcast as one line for people."""
    message = _object(text)
    seq = f"#{message.get('seq', '?')}"
    if kind := message.get("type"):
        price = _money(message.get("current_bid"))
        by = message.get("highest_bidder_id") or "no bids yet"
        skipped = f", {message['skipped']} skipped" if message.get("skipped") else ""
        reset = ", the price was reset" if message.get("reset") else ""
        return f"{seq:>7}  {price:>16}  {by}  ({kind}{skipped}{reset})"
    before = _money(message.get("previous_bid"))
    price = _money(message.get("amount"))
    return f"{seq:>7}  {price:>16}  {message.get('user_id')}  (before: {before})"


def _object(text: str) -> dict[str, Any]:
    answer = json.loads(text, parse_float=Decimal)
    if not isinstance(answer, dict):
        raise ValueError(f"not an answer of the system: {text[:80]}")  # noqa: TRY004 - a value
    return answer


def _money(amount: object) -> str:
    return f"{amount:,.2f}" if isinstance(amount, int | Decimal) else "-"
