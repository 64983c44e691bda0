"""Handshakes, refusals, limits, pings and shutdown."""

import asyncio
import signal
import statistics
import time
from contextlib import suppress
from datetime import datetime
from urllib.parse import urlsplit

import aiohttp
import pytest
from yarl import URL

from pkg.trials.waiting import until
from tests.integration.broadcast.fake_api import FakeApi
from tests.integration.broadcast.raw import PING, RawViewer, RawViewers
from tests.integration.broadcast.viewers import Viewers
from tests.integration.processes import Service, Services

HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}

Refused = tuple[str, dict[str, str], int, str]
REFUSED: list[Refused] = [
    ("/ws/items/a%20b", HANDSHAKE, 400, "item_id_invalid"),
    ("/ws/items/a%2Fb", HANDSHAKE, 400, "item_id_invalid"),
    ("/ws/items/%00", HANDSHAKE, 400, "item_id_invalid"),
    ("/ws/items/%FF%FE", HANDSHAKE, 400, "item_id_invalid"),
    ("/ws/items/l%C3%A4mp", HANDSHAKE, 400, "item_id_invalid"),
    ("/ws/items/" + "x" * 129, HANDSHAKE, 400, "item_id_invalid"),
    ("/ws", HANDSHAKE, 400, "item_id_invalid"),
    ("/ws?item_id=", HANDSHAKE, 400, "item_id_invalid"),
    ("/ws?item_id=a%22b", HANDSHAKE, 400, "item_id_invalid"),
    ("/ws/items/lamp?mode=newest", HANDSHAKE, 400, "mode_invalid"),
    ("/ws/items/lamp", {}, 426, "upgrade_required"),
    ("/ws/items/lamp", HANDSHAKE | {"Upgrade": "h2c"}, 426, "upgrade_required"),
    ("/ws/items/lamp", HANDSHAKE | {"Sec-WebSocket-Version": "12"}, 400, "handshake_invalid"),
    ("/ws/items/lamp", HANDSHAKE | {"Sec-WebSocket-Key": "short"}, 400, "handshake_invalid"),
    ("/ws/items/lamp", HANDSHAKE | {"Sec-WebSocket-Key": "=" * 24}, 400, "handshake_invalid"),
    ("/ws/items/lamp", HANDSHAKE | {"Sec-WebSocket-Key": "ü" * 22}, 400, "handshake_invalid"),
    ("/stats/items/a%20b", {}, 400, "item_id_invalid"),
    ("/ws/items/", {}, 404, "not_found"),
    ("/", {}, 404, "not_found"),
    ("/ws/items/lamp/more", HANDSHAKE, 404, "not_found"),
]


async def test_bad_requests_get_a_4xx_with_an_error_and_a_code(
    services: Services, viewers: Viewers
) -> None:
    service = await services.broadcast()

    answers = []
    for address, headers, _, _ in REFUSED:
        url = URL(service.url + address, encoded=True)
        async with viewers.session.get(url, headers=headers) as answer:
            answers.append((answer.status, await answer.json()))
    async with viewers.session.post(f"{service.url}/ws/items/lamp") as answer:
        post = answer.status, answer.headers["Allow"], (await answer.json())["code"]

    for (address, headers, status, code), (seen, body) in zip(REFUSED, answers, strict=True):
        assert (seen, body["code"]) == (status, code), (address, headers)
        assert body["error"]
        assert set(body) == {"error", "code"}
    assert post == (405, "GET", "method_not_allowed")
    assert "Traceback" not in service.log


async def test_malformed_frames_are_answered_with_a_close_code_and_other_viewers_go_on(
    services: Services, api: FakeApi, viewers: Viewers, raw: RawViewers
) -> None:
    service = await services.broadcast()
    garbage = [
        bytes((0x83, 0x80, 0, 0, 0, 0)),  # an unknown opcode
        bytes((0xF1, 0x80, 0, 0, 0, 0)),  # reserved bits
        bytes((0x81, 0xFF)) + b"\xff" * 8,  # a huge length
        bytes((0x88, 0x81, 0, 0, 0, 0, 7)),  # a close of one byte
        bytes((0x81, 0x82, 0, 0, 0, 0, 0xC3, 0x28)),  # invalid UTF-8
        bytes((0x80, 0x80, 0, 0, 0, 0)),  # a continuation of nothing
        b"\x00" * 50,
    ]

    codes = []
    for data in garbage:
        sender = await raw.connect(service, "lamp")
        await sender.send(data)
        await sender.read_to_end()
        codes.append(sender.close_code())
        sender.close()
    viewer = await viewers.connect(service, "lamp")
    await api.bid("lamp")
    await viewer.receive_until(seq=1)

    assert all(code in {1002, 1007, 1009} for code in codes), codes
    assert "Traceback" not in service.log


@pytest.mark.parametrize(("size", "stays"), [(4096, True), (4097, False)])
async def test_message_over_4_kib_is_answered_with_1009_and_nothing_is_sent_after_the_close(
    services: Services, api: FakeApi, size: int, raw: RawViewers, *, stays: bool
) -> None:
    service = await services.broadcast()
    viewer = await raw.connect(service, "lamp")

    await viewer.send_text(b"x" * size)
    await api.bid("lamp", count=3)
    if stays:
        await viewer.read_until(b'"seq":3}')
    else:
        await viewer.read_to_end()

    assert viewer.close_code() == (None if stays else 1009)
    if not stays:
        assert viewer.frames()[-1][0] == 8


async def test_messages_from_viewers_are_ignored_and_pings_do_no_harm(
    services: Services, api: FakeApi, viewers: Viewers
) -> None:
    service = await services.broadcast()
    viewer = await viewers.connect(service, "lamp")

    await viewer.socket.send_str("hello")
    await viewer.socket.send_bytes(b"\x00\xff")
    await viewer.socket.ping(b"there?")
    await api.bid("lamp")
    await viewer.receive_until(seq=1)

    assert viewer.seqs == [1]


@pytest.mark.usefixtures("api")
async def test_idle_viewer_is_pinged_and_disconnected_if_it_does_not_answer(
    services: Services, viewers: Viewers, raw: RawViewers
) -> None:
    service = await services.broadcast(env={"PING_S": "1"})

    async def only_the_mute_one_is_disconnected() -> bool:
        answering = await viewers.connect(service, "lamp")
        reading = asyncio.create_task(answering.close_code(within_s=40))
        mute = await raw.connect(service, "lamp")

        await mute.read_until(bytes((0x89, 0)))
        await mute.read_to_end()

        assert mute.frames()[-1][0] in {PING, 8}
        async with viewers.session.get(f"{service.url}/stats/items/lamp") as answer:
            left = await answer.json()
        stays = not reading.done()
        reading.cancel()
        assert left["itemId"] == "lamp"
        return bool(stays and left["subscribers"] == 1)

    # On a stalled machine a pong can be late too, but not three times in a row.
    for _ in range(3):
        if await only_the_mute_one_is_disconnected():
            return
    pytest.fail("a viewer that answers pings was disconnected too")


@pytest.mark.usefixtures("api")
async def test_stats_count_viewers_of_both_modes(services: Services, viewers: Viewers) -> None:
    service = await services.broadcast()
    first = await viewers.connect(service, "lamp")
    await viewers.connect(service, "lamp", "?mode=latest")

    async def subscribers() -> int:
        async with viewers.session.get(f"{service.url}/stats/items/lamp") as answer:
            return int((await answer.json())["subscribers"])

    before = await subscribers()
    await first.socket.close()

    async def one_left() -> bool:
        return await subscribers() == 1

    assert before == 2
    await until(one_left, within_s=5)
    async with viewers.session.get(f"{service.url}/stats/items/nobody") as answer:
        assert await answer.json() == {"itemId": "nobody", "subscribers": 0}


@pytest.mark.usefixtures("api")
async def test_viewers_beyond_the_limit_are_refused_until_one_leaves(
    services: Services, viewers: Viewers
) -> None:
    service = await services.broadcast(env={"MAX_VIEWERS": "2"})
    first = await viewers.connect(service, "lamp")
    await viewers.connect(service, "vase")

    async with viewers.session.get(f"{service.url}/ws/items/lamp", headers=HANDSHAKE) as answer:
        refusal = answer.status, answer.headers["Retry-After"], (await answer.json())["code"]
    await first.socket.close()

    async def let_in() -> bool:
        return bool((await viewers.connect(service, "rug")).greeting)

    assert refusal == (503, "1", "viewers_full")
    await until(let_in, within_s=5, forgiving=(aiohttp.WSServerHandshakeError,))
    assert await viewers.metric(service, 'bid_viewers_refused_total{reason="full"}') >= 1


async def test_shutdown_closes_all_viewers_with_1001_at_once_and_exits_with_0(
    services: Services, api: FakeApi, viewers: Viewers, raw: RawViewers
) -> None:
    service = await services.broadcast(env={"DRAIN_S": "20", "SHUTDOWN_TIMEOUT_S": "60"})
    connected = [await viewers.connect(service, f"item-{number % 3}") for number in range(30)]
    idle = await raw.connect(service, "item-0", receive_bytes=4096)
    replica = service.replicas[0]
    began = time.monotonic()

    replica.send(signal.SIGTERM)
    codes = await asyncio.gather(*(viewer.close_code() for viewer in connected))
    closed_within_s = time.monotonic() - began
    code = await replica.end()

    assert set(codes) == {1001}
    assert closed_within_s < 10
    assert code == 0
    await idle.read_to_end()
    assert idle.close_code() == 1001


async def test_shutdown_does_not_wait_for_a_viewer_that_does_not_read(
    services: Services, api: FakeApi, raw: RawViewers
) -> None:
    service = await services.broadcast(
        env={
            "VIEWER_SOCKET_BYTES": "8192",
            "VIEWER_BUFFER_BYTES": "8192",
            "SHUTDOWN_TIMEOUT_S": "60",
        }
    )
    await raw.connect(service, "lamp", receive_bytes=4096)
    for _ in range(20):
        await api.bid("lamp", count=20)

    assert await service.replicas[0].end() == 0  # killed after 20 seconds otherwise


async def test_without_stores_health_is_200_readiness_503_and_viewers_are_refused(
    services: Services, viewers: Viewers
) -> None:
    nowhere = {"REDIS_URL": "redis://127.0.0.1:1", "NATS_URL": "nats://127.0.0.1:1"}
    service = await services.broadcast(env={**nowhere, "START_GRACE_S": "0.1"}, wait=False)

    async def answered() -> bool:
        async with viewers.session.get(f"{service.url}/health") as answer:
            return answer.status == 200

    await until(answered, within_s=10)
    checks = {"redis": "down", "nats": "down", "background": "ok"}

    async def unready() -> bool:
        async with viewers.session.get(f"{service.url}/ready") as answer:
            found = answer.status, await answer.json()
        return found == (503, {"ready": False, "checks": checks})

    await until(unready, within_s=10)
    async with viewers.session.get(f"{service.url}/ws/items/lamp", headers=HANDSHAKE) as answer:
        refusal = answer.status, (await answer.json())["code"]

    assert refusal == (503, "redis_unavailable")
    assert await service.replicas[0].end() == 0


async def test_number_of_partitions_other_than_the_recorded_one_ends_the_service_with_1(
    services: Services, api: FakeApi
) -> None:
    await api.record_partitions(8)

    code, _, log = await services.run("broadcast", env={"SERVER_ADDR": "127.0.0.1:0"})

    assert code == 1
    assert "PARTITIONS=8" in log


async def test_all_bad_settings_are_named_in_one_message(services: Services) -> None:
    code, _, log = await services.run("broadcast", env={"PING_S": "never", "MAX_VIEWERS": "0"})

    assert code == 2
    assert "PING_S" in log
    assert "MAX_VIEWERS" in log


FLOODERS = 20


async def _median_delay_s(service: Service, api: FakeApi, viewers: Viewers, item_id: str) -> float:
    viewer = await viewers.connect(service, item_id)
    for seq in range(1, 101):
        await api.bid(item_id)
        await viewer.receive_until(seq=seq)
        await asyncio.sleep(0.01)
    accepted = [datetime.fromisoformat(each["timestamp"]).timestamp() for each in viewer.received]
    offset = time.time() - asyncio.get_running_loop().time()
    return statistics.median(
        at + offset - since for at, since in zip(viewer.received_at, accepted, strict=True)
    )


async def _flood(viewer: RawViewer, frame: bytes) -> int | None:
    """Sends the frame as fast as it can until it is closed. Returns the close code."""
    frames = frame * 1000
    reading = asyncio.create_task(viewer.read_to_end(within_s=30))
    with suppress(OSError):
        while not reading.done():
            await viewer.send(frames)
            await asyncio.sleep(0)
    await reading
    return viewer.close_code()


@pytest.mark.parametrize(
    ("first", "frame"),
    [
        pytest.param(b"", bytes((0x81, 0x81, 0, 0, 0, 0, 0x78)), id="messages"),
        pytest.param(b"", bytes((0x89, 0x80, 0, 0, 0, 0)), id="pings"),
        pytest.param(b"", bytes((0x8A, 0x80, 0, 0, 0, 0)), id="pongs"),
        pytest.param(
            bytes((0x01, 0x81, 0, 0, 0, 0, 0x78)),
            bytes((0x00, 0x80, 0, 0, 0, 0)),
            id="empty parts of one message",
        ),
    ],
)
async def test_viewers_that_flood_us_are_closed_with_1008_and_delay_nobody(
    services: Services, api: FakeApi, viewers: Viewers, raw: RawViewers, first: bytes, frame: bytes
) -> None:
    service = await services.broadcast()
    quiet_s = await _median_delay_s(service, api, viewers, "lamp")
    flooders = [await raw.connect(service, "vase") for _ in range(FLOODERS)]

    for each in flooders:
        await each.send(first)
    floods = [asyncio.create_task(_flood(each, frame)) for each in flooders]
    flooded_s = await _median_delay_s(service, api, viewers, "chair")
    codes = [await each for each in floods]

    assert flooded_s < 3 * quiet_s, (flooded_s, quiet_s)
    # A reset may overtake the close frame: the flood goes on while the server closes.
    assert set(codes) <= {1008, None}
    closed = await viewers.metric(service, "bid_flooding_viewers_closed_total")
    assert closed == FLOODERS


async def test_pings_count_as_messages(
    services: Services, api: FakeApi, viewers: Viewers, raw: RawViewers
) -> None:
    service = await services.broadcast(env={"VIEWER_MESSAGES_PER_S": "1"})
    viewer = await raw.connect(service, "vase")

    await viewer.send(bytes((0x89, 0x80, 0, 0, 0, 0)) * 6)
    await viewer.read_to_end()

    assert viewer.close_code() == 1008
    assert await viewers.metric(service, "bid_flooding_viewers_closed_total") == 1


async def test_a_message_of_the_largest_size_is_taken_where_one_a_second_is(
    services: Services, api: FakeApi, viewers: Viewers, raw: RawViewers
) -> None:
    service = await services.broadcast(env={"VIEWER_MESSAGES_PER_S": "1"})
    viewer = await raw.connect(service, "vase")

    await viewer.send_text(b"x" * 4096)
    await viewer.send(bytes((0x89, 0x80, 0, 0, 0, 0)))

    await viewer.read_until(bytes((0x8A, 0)))


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
async def test_pages_of_other_origins_do_not_watch(
    services: Services, viewers: Viewers, origin: str
) -> None:
    service = await services.broadcast()

    url = f"{service.url}/ws/items/lamp"
    async with viewers.session.get(url, headers=HANDSHAKE | {"Origin": origin}) as answer:
        body = await answer.json()

    assert (answer.status, body["code"]) == (403, "origin_refused")


@pytest.mark.usefixtures("api")
async def test_pages_that_are_allowed_and_our_own_watch(
    services: Services, viewers: Viewers
) -> None:
    service = await services.broadcast(env={"ALLOWED_ORIGINS": "https://shop.example"})

    for origin in ("https://shop.example", "http://127.0.0.1:8080"):
        url = f"{service.url}/ws/items/lamp"
        async with viewers.session.ws_connect(url, headers={"Origin": origin}) as socket:
            assert await socket.receive_json()


async def test_no_answer_tells_a_version_and_what_is_not_http_is_refused_in_json(
    services: Services, viewers: Viewers
) -> None:
    service = await services.broadcast()

    for address in ("/health", "/no", "/ws/items/lamp"):
        async with viewers.session.get(service.url + address) as answer:
            assert "Server" not in answer.headers, address
    where = urlsplit(service.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(b"garbage\r\n\r\n")
    said = await reader.read()
    writer.close()

    assert said.startswith(b"HTTP/1.1 400 ")
    assert said.endswith(b'"code":"invalid_http"}')
    assert b"Server:" not in said
