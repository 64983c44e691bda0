"""What load clients make of the bytes they get."""

import json
from typing import Any, cast

import pytest

from pkg.trials.crowd.ledger import Outcome
from pkg.trials.experiments.clients import watching
from pkg.trials.experiments.clients.contending import Crowd, Task, User
from pkg.trials.experiments.clients.http import Answer, Connection, bid
from pkg.trials.experiments.clients.watching import Hall, Viewer
from pkg.trials.experiments.clients.websocket import WebSocket

UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None:
        self.aborted = True


class Ear:
    def __init__(self) -> None:
        self.texts: list[bytes] = []

    def opened(self) -> None: ...

    def heard(self, text: bytes) -> None:
        self.texts.append(text)

    def ended(self) -> None: ...


def _frame(kind: int, body: bytes) -> bytes:
    size = len(body)
    length = bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
    return bytes([0x80 | kind]) + length + body


def _listening() -> tuple[WebSocket, Wire, Ear]:
    wire, ear = Wire(), Ear()
    websocket = WebSocket("/ws/items/vase", ear)
    websocket.connection_made(cast("Any", wire))
    websocket.data_received(UPGRADED)
    return websocket, wire, ear


def test_frames_cut_anywhere_are_heard_whole_and_in_order() -> None:
    texts = [b"a", b"b" * 125, b"c" * 126, b"d" * 5000]
    stream = b"".join(_frame(1, text) for text in texts)

    for size in (1, 2, 3, 127, 1000, len(stream)):
        websocket, _, ear = _listening()
        for at in range(0, len(stream), size):
            websocket.data_received(stream[at : at + size])
        assert ear.texts == texts


def test_a_ping_is_answered_with_a_masked_pong() -> None:
    websocket, wire, _ = _listening()
    before = len(wire.written)

    websocket.data_received(_frame(9, b"") + _frame(1, b"x"))

    assert wire.written[before:] == b"\x8a\x80\0\0\0\0"


def test_a_refused_upgrade_is_kept_and_the_connection_ends() -> None:
    wire = Wire()
    websocket = WebSocket("/ws/items/vase", Ear())
    websocket.connection_made(cast("Any", wire))

    websocket.data_received(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")

    assert websocket.refused == b"HTTP/1.1 503 Service Unavailable"
    assert wire.aborted


class _Asked:
    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.opened = 0

    def open(self) -> None:
        self.opened += 1

    @property
    def answer(self) -> Answer:
        return lambda status, body: self.answers.append((status, body))


async def test_an_answer_in_pieces_is_taken_when_it_is_whole() -> None:
    asked = _Asked()
    connection = Connection("127.0.0.1", 1, opened=asked.open)
    connection.connection_made(cast("Any", Wire()))
    connection.ask(b"GET / HTTP/1.1\r\n\r\n", asked.answer)

    for byte in b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}":
        assert asked.answers == []
        connection.data_received(bytes([byte]))

    assert asked.answers == [(201, b"{}")]
    connection.close()


async def test_a_connection_that_ends_in_flight_gives_no_answer() -> None:
    asked = _Asked()
    connection = Connection("127.0.0.1", 1, opened=asked.open)
    connection.connection_made(cast("Any", Wire()))
    connection.ask(b"GET / HTTP/1.1\r\n\r\n", asked.answer)

    connection.connection_lost(None)

    assert asked.answers == [(0, b"")]
    connection.close()


def test_a_bid_is_exact_to_the_cent() -> None:
    request = bid("vase", user="ann", cents=1005, strategy="optimistic")

    head, _, body = request.partition(b"\r\n\r\n")
    assert body == b'{"user_id":"ann","amount":10.05}'
    assert b"X-Bid-Strategy: optimistic" in head
    assert f"Content-Length: {len(body)}".encode() in head


TASK = Task(
    host="127.0.0.1",
    port=1,
    item="vase",
    strategy="lua",
    users=1,
    seconds=1,
    run=1,
    name="user",
    samples="",
)


@pytest.mark.parametrize(
    ("status", "body", "outcome", "defects"),
    [
        (201, {"success": True}, Outcome.ACCEPTED, 0),
        (200, {"success": False, "reason": "too_low"}, Outcome.REFUSED, 0),
        (503, {"code": "busy"}, Outcome.FAILED, 0),
        (503, {"code": "outcome_unknown"}, Outcome.UNKNOWN, 0),
        (0, {}, Outcome.UNKNOWN, 0),
        (504, {}, Outcome.UNKNOWN, 0),
        (503, {"code": "no such code"}, Outcome.FAILED, 1),
        (500, {}, Outcome.FAILED, 1),
        (400, {"code": "strategy_override_off"}, Outcome.FAILED, 1),
    ],
)
def test_every_answer_to_a_bid_has_one_outcome(
    status: int, body: dict[str, Any], outcome: Outcome, defects: int
) -> None:
    crowd = Crowd(TASK)

    found = User(crowd, 0)._outcome(status, json.dumps(body, separators=(",", ":")).encode())

    assert found is outcome
    assert len(crowd.tally.defects) == defects


def _hall() -> Hall:
    return Hall(
        watching.Task(host="", port=0, item="vase", viewers=2, slow=0, first=0, run=1, samples="")
    )


def _shown(seq: int) -> bytes:
    return json.dumps(
        {"event_id": f"e{seq}", "amount": seq, "timestamp": "2026-01-01T00:00:00.5Z", "seq": seq}
    ).encode()


GREETING = b'{"type":"connected","seq":0,"current_bid":0}'


async def test_a_viewer_that_missed_a_bid_has_a_gap_and_one_that_lost_its_end_too() -> None:
    hall = _hall()
    whole, holed, short = (Viewer(hall, number, slow=False) for number in range(3))
    for viewer, seqs in ((whole, (1, 2, 3)), (holed, (1, 3)), (short, (1, 2))):
        viewer.heard(GREETING)
        for seq in seqs:
            viewer.heard(_shown(seq))

    seen = watching._seen(hall, [whole, holed, short], 3, cpu_s=0.0, seconds=1.0)

    assert (seen.delivered, seen.gaps, seen.wrong) == (7, 2, 0)
    assert set(seen.last_us) == {1, 2, 3}


async def test_a_duplicate_is_no_delivery() -> None:
    hall = _hall()
    viewer = Viewer(hall, 0, slow=False)
    viewer.heard(GREETING)
    viewer.heard(_shown(1))
    viewer.heard(_shown(1))

    seen = watching._seen(hall, [viewer], 1, cpu_s=0.0, seconds=1.0)

    assert (seen.delivered, seen.wrong) == (1, 1)


def test_a_timestamp_is_read_to_the_microsecond() -> None:
    _, at = _hall().frame(_shown(1))

    assert at == 1767225600.5
