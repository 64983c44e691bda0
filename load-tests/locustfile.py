"""Bidders for Locust, to be used on a system of your own.

    cd load-tests
    BID_STRATEGY=lua locust -f locustfile.py --headless -u 1000 -r 100 -t 60s \
        ContendedItemBidder --host=http://127.0.0.1:8080

Environment
    BID_STRATEGY   lua or optimistic: sent as X-Bid-Strategy with every bid. Unset: the gateway's.
    LOAD_ITEMS     prefix of the items' ids, load- by default: a new one starts from zero
    LOAD_OUTCOMES  file for the bids by outcome, as JSON; they are printed in any case.

Locust counts HTTP requests. What became of the bids is counted apart (``outcomes.py``): a request
that is answered 200 may be a refused bid, and one without an answer may be an accepted one.
"""

import json
import logging
import os
import random
import secrets
import socket
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

from locust import FastHttpUser, between, constant, events, task
from locust.contrib.fasthttp import ResponseContextManager
from locust.env import Environment
from locust.exception import StopUser

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for pkg, wherever it is started

from outcomes import Outcomes, count_outcomes

from pkg.auction.bid import Strategy
from pkg.auction.money import MAX_CENTS, text_from_cents

ITEMS = 10
RAISE_MAX_CENTS = 500
CONNECT_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 30.0
OVERRIDE_OFF = "strategy_override_off"

log = logging.getLogger("bidders")


@events.init.add_listener
def _prepare(environment: Environment, **_: Any) -> None:  # noqa: ANN401 - Locust's signature
    strategy = os.environ.get("BID_STRATEGY") or None
    if strategy is not None and strategy not in set(Strategy):
        print(f"BID_STRATEGY is {strategy!r}; it must be one of: {', '.join(Strategy)}")
        sys.exit(2)
    # A bid whose user is cut off is in no count, but may have been accepted.
    environment.stop_timeout = environment.stop_timeout or ANSWER_TIMEOUT_S
    Bidder.strategy = strategy
    Bidder.outcomes = count_outcomes(environment, write_to=os.environ.get("LOAD_OUTCOMES"))
    Bidder.items = os.environ.get("LOAD_ITEMS", "load-")


class Bidder(FastHttpUser):
    """What all bidders can do: read an item, bid on it, and ask for the gateway's health."""

    abstract = True
    connection_timeout = CONNECT_TIMEOUT_S
    network_timeout = ANSWER_TIMEOUT_S

    strategy: str | None = None
    outcomes: Outcomes
    items: str

    def on_start(self) -> None:
        self.user_id = f"user-{secrets.token_hex(6)}"

    def read(self, item_id: str) -> int | None:
        """The current bid in cents; None without an answer."""
        url = f"/api/v1/items/{item_id}"
        with self.client.get(url, name="read item", catch_response=True) as answer:
            body = _json(answer)
            if answer.status_code != 200 or "current_bid" not in body:  # noqa: PLR2004
                answer.failure(_why(answer, body))
                return None
            return int(body["current_bid"] * 100)

    def bid(self, item_id: str, cents: int) -> None:
        headers = {"Content-Type": "application/json"}
        if self.strategy:
            headers["X-Bid-Strategy"] = self.strategy
        with self.client.post(
            f"/api/v1/items/{item_id}/bid",
            data=f'{{"user_id":"{self.user_id}","amount":{text_from_cents(cents)}}}',
            headers=headers,
            name=f"bid {self.strategy}" if self.strategy else "bid",
            catch_response=True,
        ) as answer:
            self._count(answer, _json(answer))

    def raise_bid(self, item_id: str) -> None:
        """Reads, then bids above what was read."""
        standing = self.read(item_id)
        if standing is not None:
            self.bid(item_id, min(MAX_CENTS, standing + random.randint(1, RAISE_MAX_CENTS)))  # noqa: S311

    def _count(self, answer: ResponseContextManager, body: dict[str, Any]) -> None:
        if answer.status_code == 201:  # noqa: PLR2004
            self.outcomes.accepted += 1
        elif answer.status_code == 200 and body.get("success") is False:  # noqa: PLR2004
            self.outcomes.refused += 1
        else:
            why = _why(answer, body)
            unknown = why == "outcome_unknown" or (not answer.status_code and not _unsent(answer))
            self.outcomes.fail(why, unknown=unknown)
            answer.failure(why)
            if why == OVERRIDE_OFF:
                self._stop(
                    f"The gateway takes no strategy from a request ({OVERRIDE_OFF}). Unset "
                    "BID_STRATEGY, or start the gateway with BID_STRATEGY_OVERRIDE=true."
                )

    def _stop(self, why: str) -> None:
        runner = self.environment.runner
        if self.environment.process_exit_code is None:  # the first of many users tells
            self.environment.process_exit_code = 2
            log.error(why)
            if runner is not None:
                runner.quit()
        raise StopUser


class ContendedItemBidder(Bidder):
    """All bid on one item, as fast as they can."""

    wait_time = constant(0)

    @task
    def outbid(self) -> None:
        self.raise_bid(f"{self.items}contended")


class BidderUser(Bidder):
    """Ten bids to three reads to one request for the gateway's health, on a few items."""

    wait_time = between(0.1, 0.5)

    @task(10)
    def outbid(self) -> None:
        self.raise_bid(self._some_item())

    @task(3)
    def look(self) -> None:
        self.read(self._some_item())

    @task(1)
    def health(self) -> None:
        self.client.get("/health", name="health")

    def _some_item(self) -> str:
        return f"{self.items}item-{random.randrange(ITEMS)}"  # noqa: S311


class MixedWorkloadUser(Bidder):
    """Browses ten items with one to three seconds to think, and bids now and then."""

    wait_time = between(1, 3)

    @task(3)
    def browse(self) -> None:
        self.read(self._some_item())

    @task(1)
    def outbid(self) -> None:
        self.raise_bid(self._some_item())

    def _some_item(self) -> str:
        return f"{self.items}item-{random.randrange(ITEMS)}"  # noqa: S311


def _json(answer: ResponseContextManager) -> dict[str, Any]:
    """The body, with numbers as Decimal; empty unless it is a JSON object."""
    try:
        body = json.loads(answer.text or "{}", parse_float=Decimal)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _why(answer: ResponseContextManager, body: dict[str, Any]) -> str:
    """The gateway's code, or the status of another answer, or the kind of error without one."""
    if answer.status_code:
        return str(body.get("code") or f"status {answer.status_code}")
    return type(_error(answer)).__name__


def _unsent(answer: ResponseContextManager) -> bool:
    """Whether there was no connection, so that nothing can have been written."""
    return isinstance(_error(answer), ConnectionRefusedError | socket.gaierror)


def _error(answer: ResponseContextManager) -> BaseException | None:
    error = answer.error
    return getattr(error, "original", None) or error
