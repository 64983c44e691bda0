import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from pkg.devkit import bidding
from pkg.devkit.bidding import Outcome, line_of, place_bid, watch
from pkg.devkit.errors import BadArgument, BidkitError
from pkg.trials.waiting import until

ACCEPTED = (
    '{"success":true,"message":"Bid placed successfully!","current_bid":9999999999.90,'
    '"your_bid":9999999999.90,"is_highest":true,"event_id":"e","seq":7}'
)


@contextmanager
def fake_api(status: int, text: str) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()


def place(status: int, text: str) -> Outcome:
    with fake_api(status, text) as url:
        return place_bid(url, "lamp", "9999999999.9", user="ann")


def test_accepted_bid_shows_item_amount_and_seq() -> None:
    outcome = place(201, ACCEPTED)

    assert outcome.accepted
    assert outcome.line == "Bid placed successfully! lamp: 9,999,999,999.90, seq 7"


def test_json_output_is_the_response_plus_the_item() -> None:
    outcome = place(201, ACCEPTED)

    assert outcome.json == f'{{"item_id":"lamp",{ACCEPTED[1:]}'
    assert json.loads(outcome.json)["seq"] == 7


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [
        (400, "amount_precision", 2),
        (400, "item_id_invalid", 2),
        (413, "body_too_large", 2),
        (404, "not_found", 1),
        (503, "redis_unavailable", 1),
        (503, "outcome_unknown", 1),
    ],
)
def test_exit_code_tells_an_invalid_bid_from_an_undecided_one(
    status: int, code: str, exit_code: int
) -> None:
    with pytest.raises(BidkitError) as refused:
        place(status, f'{{"error":"So it is","code":"{code}"}}')

    assert (str(refused.value), refused.value.exit_code) == (
        f"So it is ({status}, {code})",
        exit_code,
    )


def test_error_without_a_ready_gateway_names_the_command_that_shows_why() -> None:
    with pytest.raises(BidkitError, match=r"503, no_gateway\); `bidkit describe api-gateway`"):
        place(503, '{"error":"No gateway is ready","code":"no_gateway"}')


def test_bid_is_shown_on_one_line_with_exact_amounts() -> None:
    text = '{"seq":7,"amount":9999999999.99,"previous_bid":1200.10,"user_id":"ann","item_id":"i"}'

    line = line_of(text)

    assert line.split() == ["#7", "9,999,999,999.99", "ann", "(before:", "1,200.10)"]


def test_item_without_bids_is_shown_as_such() -> None:
    text = '{"type":"connected","seq":0,"current_bid":0.00,"highest_bidder_id":null}'

    assert line_of(text).split(maxsplit=2) == ["#0", "0.00", "no bids yet  (connected)"]


def test_snapshot_shows_how_many_were_skipped() -> None:
    text = '{"type":"snapshot","seq":9,"current_bid":5.00,"highest_bidder_id":"ann","skipped":3}'

    line = line_of(text)

    assert line.split(maxsplit=2) == ["#9", "5.00", "ann  (snapshot, 3 skipped)"]


@pytest.mark.parametrize("amount", ["12,50", "abc", "", "0x10", "1_000", "NaN", "--5", "01"])
def test_amount_that_is_not_a_number_is_not_sent(amount: str) -> None:
    with pytest.raises(BadArgument, match="is not an amount"):
        place_bid("http://127.0.0.1:1", "lamp", amount, user="ann")


def test_error_if_nothing_listens_names_the_address() -> None:
    with pytest.raises(BidkitError, match=r"no answer from http://127\.0\.0\.1:1"):
        place_bid("http://127.0.0.1:1", "lamp", "5", user="ann")


async def test_watch_reports_each_outage_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bidding, "RECONNECT_AFTER_S", 0.01)
    attempts, notices = 0, list[str]()

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal attempts
        attempts += 1
        if attempts not in {1, 5}:
            return web.Response(status=503)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.close()
        return socket

    app = web.Application()
    app.router.add_get("/ws/items/lamp", answer)
    async with TestServer(app) as server:
        url = f"ws://127.0.0.1:{server.port}"
        watching = asyncio.create_task(
            watch(url, "lamp", latest=False, show=lambda _: None, notice=notices.append)
        )
        await until(lambda: attempts > 8, within_s=5)
        watching.cancel()

    assert [line.split()[:2] for line in notices] == [
        ["the", "connection"],
        ["cannot", "connect"],
    ] * 2
    assert notices[1].endswith("still trying; if the system was stopped, `bidkit up` starts it")


async def test_watch_fails_if_the_service_accepts_but_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on processes with 0 replicas, where bidkit keeps the listening socket."""
    monkeypatch.setattr(bidding, "ANSWER_WITHIN_S", 0.1)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(BidkitError, match=r"cannot watch at ws://.*: no answer in 0\.1 s\."):
            await watch(url, "lamp", latest=False, show=lambda _: None, notice=lambda _: None)


async def test_open_connection_may_be_idle_longer_than_the_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bidding, "ANSWER_WITHIN_S", 0.1)
    shown = list[str]()

    async def answer(request: web.Request) -> web.StreamResponse:
        viewer = web.WebSocketResponse()
        await viewer.prepare(request)
        await asyncio.sleep(0.3)
        await viewer.send_str("late")
        await asyncio.Event().wait()
        return viewer

    app = web.Application()
    app.router.add_get("/ws/items/lamp", answer)
    async with TestServer(app) as server:
        watching = asyncio.create_task(
            watch(
                f"ws://127.0.0.1:{server.port}",
                "lamp",
                latest=False,
                show=shown.append,
                notice=shown.append,
            )
        )
        await until(lambda: shown, within_s=5)
        watching.cancel()

    assert shown == ["late"]
