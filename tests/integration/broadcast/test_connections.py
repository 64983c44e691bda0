"""Who is let in, how they are refused, and how they are seen off."""

import asyncio
import signal
import time

import aiohttp
import pytest
from yarl import URL

from pkg.trials.waiting import until
from tests.integration.broadcast.house import House
from tests.integration.broadcast.raw import PING, RawViewers
from tests.integration.broadcast.seats import Seats
from tests.integration.processes import Services

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


async def test_bad_requests_are_refused_in_json_and_nothing_is_a_500(
    services: Services, seats: Seats
) -> None:
    service = await services.broadcast()

    answers = []
    for address, headers, _, _ in REFUSED:
        url = URL(service.url + address, encoded=True)
        async with seats.session.get(url, headers=headers) as answer:
            answers.append((answer.status, await answer.json()))
    async with seats.session.post(f"{service.url}/ws/items/lamp") as answer:
        post = answer.status, answer.headers["Allow"], (await answer.json())["code"]

    for (address, headers, status, code), (seen, body) in zip(REFUSED, answers, strict=True):
        assert (seen, body["code"]) == (status, code), (address, headers)
        assert body["error"]
        assert set(body) == {"error", "code"}
    assert post == (405, "GET", "method_not_allowed")
    assert "Traceback" not in service.log


async def test_random_bytes_never_end_the_process_or_give_a_500(
    services: Services, house: House, seats: Seats, raw: RawViewers
) -> None:
    service = await services.broadcast()
    garbage = [
        bytes((0x83, 0x80, 0, 0, 0, 0)),  # an opcode that is none
        bytes((0xF1, 0x80, 0, 0, 0, 0)),  # reserved bits
        bytes((0x81, 0xFF)) + b"\xff" * 8,  # of a giant length
        bytes((0x88, 0x81, 0, 0, 0, 0, 7)),  # a close of one byte
        bytes((0x81, 0x82, 0, 0, 0, 0, 0xC3, 0x28)),  # no UTF-8
        bytes((0x80, 0x80, 0, 0, 0, 0)),  # goes on with nothing
        b"\x00" * 50,
    ]

    codes = []
    for data in garbage:
        viewer = await raw.connect(service, "lamp")
        await viewer.send(data)
        await viewer.read_to_end()
        codes.append(viewer.close_code())
        viewer.close()
    seat = await seats.take(service, "lamp")
    await house.bid("lamp")
    await seat.see(seq=1)

    assert all(code in {1002, 1007, 1009} for code in codes), codes
    assert "Traceback" not in service.log


@pytest.mark.parametrize(("size", "stays"), [(4096, True), (4097, False)])
async def test_messages_over_4_kib_close_with_1009_and_no_event_follows_the_close(
    services: Services, house: House, size: int, raw: RawViewers, *, stays: bool
) -> None:
    service = await services.broadcast()
    viewer = await raw.connect(service, "lamp")

    await viewer.say(b"x" * size)
    await house.bid("lamp", count=3)
    if stays:
        await viewer.read_until(b'"seq":3}')
    else:
        await viewer.read_to_end()

    assert viewer.close_code() == (None if stays else 1009)
    if not stays:
        assert viewer.frames()[-1][0] == 8


async def test_what_viewers_say_is_ignored_and_their_pings_answered(
    services: Services, house: House, seats: Seats
) -> None:
    service = await services.broadcast()
    seat = await seats.take(service, "lamp")

    await seat.socket.send_str("hello")
    await seat.socket.send_bytes(b"\x00\xff")
    await seat.socket.ping(b"there?")
    await house.bid("lamp")
    await seat.see(seq=1)

    assert seat.seqs == [1]


@pytest.mark.usefixtures("house")
async def test_silent_viewer_is_pinged_and_one_that_does_not_answer_is_let_go(
    services: Services, seats: Seats, raw: RawViewers
) -> None:
    service = await services.broadcast(env={"PING_S": "1"})

    async def outlives_the_mute() -> bool:
        answering = await seats.take(service, "lamp")
        reading = asyncio.create_task(answering.close_code(within_s=40))
        mute = await raw.connect(service, "lamp")

        await mute.read_until(bytes((0x89, 0)))
        await mute.read_to_end()

        assert mute.frames()[-1][0] in {PING, 8}
        async with seats.session.get(f"{service.url}/stats/items/lamp") as answer:
            left = await answer.json()
        stays = not reading.done()
        reading.cancel()
        assert left["itemId"] == "lamp"
        return bool(stays and left["subscribers"] == 1)

    # A machine that stands still keeps back an answer too, but not each time.
    for _ in range(3):
        if await outlives_the_mute():
            return
    pytest.fail("who answers is let go too")


@pytest.mark.usefixtures("house")
async def test_stats_count_viewers_of_both_modes(services: Services, seats: Seats) -> None:
    service = await services.broadcast()
    first = await seats.take(service, "lamp")
    await seats.take(service, "lamp", "?mode=latest")

    async def subscribers() -> int:
        async with seats.session.get(f"{service.url}/stats/items/lamp") as answer:
            return int((await answer.json())["subscribers"])

    before = await subscribers()
    await first.socket.close()

    async def one_left() -> bool:
        return await subscribers() == 1

    assert before == 2
    await until(one_left, within_s=5)
    async with seats.session.get(f"{service.url}/stats/items/nobody") as answer:
        assert await answer.json() == {"itemId": "nobody", "subscribers": 0}


@pytest.mark.usefixtures("house")
async def test_viewers_beyond_the_limit_are_refused_until_one_goes(
    services: Services, seats: Seats
) -> None:
    service = await services.broadcast(env={"MAX_VIEWERS": "2"})
    first = await seats.take(service, "lamp")
    await seats.take(service, "vase")

    async with seats.session.get(f"{service.url}/ws/items/lamp", headers=HANDSHAKE) as answer:
        refusal = answer.status, answer.headers["Retry-After"], (await answer.json())["code"]
    await first.socket.close()

    async def room() -> bool:
        return bool((await seats.take(service, "rug")).greeting)

    assert refusal == (503, "1", "viewers_full")
    await until(room, within_s=5, forgiving=(aiohttp.WSServerHandshakeError,))
    assert await seats.metric(service, 'bid_viewers_refused_total{reason="full"}') >= 1


async def test_shutdown_sends_1001_to_all_at_once_and_exits_cleanly(
    services: Services, house: House, seats: Seats, raw: RawViewers
) -> None:
    service = await services.broadcast(env={"DRAIN_S": "20", "SHUTDOWN_TIMEOUT_S": "60"})
    viewers = [await seats.take(service, f"item-{number % 3}") for number in range(30)]
    idle = await raw.connect(service, "item-0", receive_bytes=4096)
    replica = service.replicas[0]
    began = time.monotonic()

    replica.send(signal.SIGTERM)
    codes = await asyncio.gather(*(viewer.close_code() for viewer in viewers))
    told_s = time.monotonic() - began
    code = await replica.end()

    assert set(codes) == {1001}
    assert told_s < 10
    assert code == 0
    await idle.read_to_end()
    assert idle.close_code() == 1001


async def test_shutdown_does_not_wait_for_a_viewer_that_does_not_read(
    services: Services, house: House, raw: RawViewers
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
        await house.bid("lamp", count=20)

    assert await service.replicas[0].end() == 0  # killed after 20 seconds otherwise


async def test_health_is_good_with_every_store_away(services: Services, seats: Seats) -> None:
    nowhere = {"REDIS_URL": "redis://127.0.0.1:1", "NATS_URL": "nats://127.0.0.1:1"}
    service = await services.broadcast(env={**nowhere, "START_GRACE_S": "0.1"}, wait=False)

    async def answered() -> bool:
        async with seats.session.get(f"{service.url}/health") as answer:
            return answer.status == 200

    await until(answered, within_s=10)
    checks = {"redis": "down", "nats": "down", "background": "ok"}

    async def unready() -> bool:
        async with seats.session.get(f"{service.url}/ready") as answer:
            said = answer.status, await answer.json()
        return said == (503, {"ready": False, "checks": checks})

    await until(unready, within_s=10)
    async with seats.session.get(f"{service.url}/ws/items/lamp", headers=HANDSHAKE) as answer:
        refusal = answer.status, (await answer.json())["code"]

    assert refusal == (503, "redis_unavailable")
    assert await service.replicas[0].end() == 0


async def test_another_number_of_partitions_is_refused_with_exit_code_1(
    services: Services, house: House
) -> None:
    await house.record_partitions(8)

    code, _, log = await services.run("broadcast", env={"SERVER_ADDR": "127.0.0.1:0"})

    assert code == 1
    assert "PARTITIONS=8" in log


async def test_bad_settings_are_all_named_at_once(services: Services) -> None:
    code, _, log = await services.run("broadcast", env={"PING_S": "never", "MAX_VIEWERS": "0"})

    assert code == 2
    assert "PING_S" in log
    assert "MAX_VIEWERS" in log
