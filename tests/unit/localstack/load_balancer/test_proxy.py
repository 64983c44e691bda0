import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import WSMsgType

from pkg.trials.waiting import until
from tests.unit.localstack.load_balancer.balanced import (
    GROUP,
    Balanced,
    Service,
    balanced,
    forward,
    group,
    on_path,
    records,
    service,
)


@pytest.fixture
async def one() -> AsyncIterator[Service]:
    async with service("one") as this:
        yield this


@pytest.fixture
async def two() -> AsyncIterator[Service]:
    async with service("two") as this:
        yield this


@pytest.fixture
async def balancer() -> AsyncIterator[Balanced]:
    async with balanced() as this:
        yield this


async def serves(balancer: Balanced, *services: Service, **others: float) -> None:
    await balancer.is_told(records(forward(), groups={GROUP: group(*services)}, **others))
    await balancer.finds("healthy", services)


async def test_requests_go_to_targets_in_turn(
    balancer: Balanced, one: Service, two: Service
) -> None:
    await serves(balancer, one, two)

    assert {await balancer.answer_of() for _ in range(4)} == {"one", "two"}


async def test_body_and_answer_pass_unchanged(balancer: Balanced, one: Service) -> None:
    await serves(balancer, one)

    for body in (b"{}", b"x" * 300_000):
        async with balancer.session.post(balancer.url, data=body) as answer:
            assert (await answer.json())["body"].encode() == body


async def test_chunked_body_passes(balancer: Balanced, one: Service) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"part"

    await serves(balancer, one)

    async with balancer.session.post(balancer.url, data=parts()) as answer:
        assert (await answer.json())["body"] == "partpartpart"


async def test_target_learns_who_asked(balancer: Balanced, one: Service) -> None:
    await serves(balancer, one)

    await balancer.answer_of(headers={"X-Forwarded-For": "203.0.113.9", "Host": "shop:1234"})

    fields = one.seen[0].headers
    assert fields["X-Forwarded-For"] == "203.0.113.9, 127.0.0.1"
    assert (fields["X-Forwarded-Proto"], fields["X-Forwarded-Port"]) == ("http", "80")
    assert fields["X-Amzn-Trace-Id"].startswith("Root=1-")
    assert fields["Host"] == "shop:1234"


async def test_field_with_an_invalid_name_is_dropped(balancer: Balanced, one: Service) -> None:
    await serves(balancer, one)

    await balancer.answer_of(headers={"user_name": "x", "User-Name": "y"})

    assert "user_name" not in one.seen[0].headers
    assert one.seen[0].headers["User-Name"] == "y"


async def test_rules_choose_by_path(balancer: Balanced, one: Service, two: Service) -> None:
    await balancer.is_told(
        records(
            on_path("/ready*", action={
                "type": "fixed", "status": 404, "content_type": "application/json", "body": "{}",
            }),
            on_path("/stats*", action=forward("viewers")["action"]),
            forward(),
            groups={GROUP: group(one), "viewers": group(two)},
        )
    )  # fmt: skip
    await balancer.finds("healthy", [one])
    await balancer.finds("healthy", [two], "viewers")

    async with balancer.session.get(f"{balancer.url}/ready/x") as answer:
        assert (answer.status, await answer.text()) == (404, "{}")
        assert answer.content_type == "application/json"
    assert await balancer.answer_of("/stats/items/1?x=/ready") == "two"
    assert await balancer.answer_of("/other") == "one"


async def test_redirect_names_the_published_port(balancer: Balanced, one: Service) -> None:
    redirect = {
        "type": "redirect", "status": 301, "protocol": "HTTPS", "host": "#{host}", "port": "443",
        "path": "/#{path}", "query": "#{query}",
    }  # fmt: skip
    rule = {"conditions": [], "action": redirect}
    await balancer.is_told(records(rule, groups={}, published={"443": 32999}))

    async with balancer.session.get(f"{balancer.url}/a?b=c", allow_redirects=False) as answer:
        assert answer.status == 301
        assert answer.headers["Location"] == "https://127.0.0.1:32999/a?b=c"


async def test_websocket_passes_both_ways(balancer: Balanced, one: Service) -> None:
    await serves(balancer, one)

    async with balancer.session.ws_connect(f"{balancer.url}/ws/items/1") as socket:
        assert await socket.receive_str() == "hello from one"
        await socket.send_str("bid" * 50_000)
        assert await socket.receive_str() == "bid" * 50_000


async def test_silent_websocket_is_closed_after_the_idle_timeout(
    balancer: Balanced, one: Service
) -> None:
    await serves(balancer, one, idle_timeout_s=0.3)

    async with balancer.session.ws_connect(f"{balancer.url}/ws/items/1") as socket:
        await socket.receive_str()
        ended = await socket.receive(timeout=3)

    assert ended.type in {WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR}


async def test_target_that_does_not_answer_gives_504(balancer: Balanced, one: Service) -> None:
    await serves(balancer, one, idle_timeout_s=0.3)
    one.answer.clear()

    async with balancer.session.get(balancer.url) as answer:
        assert answer.status == 504
    assert balancer.balancer.measured()["elb_5xx"] == 1


async def test_target_that_fails_its_checks_gets_no_requests(
    balancer: Balanced, one: Service, two: Service
) -> None:
    await serves(balancer, one, two)

    one.healthy = False
    await balancer.finds("unhealthy", [one])

    assert {await balancer.answer_of() for _ in range(4)} == {"two"}
    assert balancer.target(one).health.reason == "Target.ResponseCodeMismatch"


async def test_recovered_target_gets_requests_again(
    balancer: Balanced, one: Service, two: Service
) -> None:
    await serves(balancer, one, two)
    one.healthy = False
    await balancer.finds("unhealthy", [one])

    one.healthy = True
    await balancer.finds("healthy", [one])

    assert {await balancer.answer_of() for _ in range(4)} == {"one", "two"}


async def test_new_target_gets_no_requests_before_it_is_healthy(
    balancer: Balanced, one: Service
) -> None:
    one.healthy = False
    await balancer.is_told(records(forward(), groups={GROUP: group(one, unhealthy_after=1000)}))
    await until(lambda: one.probed, within_s=5)

    async with balancer.session.get(balancer.url) as answer:
        assert answer.status == 503
    assert one.seen == []


async def test_another_target_at_the_same_address_is_checked_anew(
    balancer: Balanced, one: Service
) -> None:
    await serves(balancer, one)
    one.healthy = False
    another = group(one, unhealthy_after=1000)
    another["targets"][0]["generation"] = 1

    await balancer.is_told(records(forward(), groups={GROUP: another}))

    async with balancer.session.get(balancer.url) as answer:
        assert answer.status == 503


async def test_unhealthy_targets_are_better_than_none(balancer: Balanced, one: Service) -> None:
    await serves(balancer, one)
    one.healthy = False
    await balancer.finds("unhealthy", [one])

    assert await balancer.answer_of() == "one"


async def test_draining_target_ends_what_it_has_and_gets_nothing_new(
    balancer: Balanced, one: Service, two: Service
) -> None:
    await serves(balancer, one)
    one.answer.clear()
    begun = asyncio.create_task(balancer.answer_of())
    await until(lambda: one.running, within_s=5)
    draining = group(one, two)
    draining["targets"][0]["draining"] = True

    await balancer.is_told(records(forward(), groups={GROUP: draining}))
    await balancer.finds("healthy", [two])

    assert {await balancer.answer_of() for _ in range(4)} == {"two"}
    assert balancer.target(one).in_flight == 1
    one.answer.set()
    assert await begun == "one"
    await until(lambda: balancer.target(one).in_flight == 0, within_s=5)


async def test_viewer_with_a_cookie_stays_with_its_target(
    balancer: Balanced, one: Service, two: Service
) -> None:
    sticky = group(one, two, sticky_s=60)
    await balancer.is_told(records(forward(), groups={GROUP: sticky}))
    await balancer.finds("healthy", [one, two])

    # The jar of aiohttp ignores cookies of addresses.
    async with balancer.session.get(balancer.url) as answer:
        first, cookie = (await answer.json())["by"], answer.cookies["AWSALB"].value
    answers = {await balancer.answer_of(cookies={"AWSALB": cookie}) for _ in range(4)}

    assert answers == {first}


async def test_connection_carries_many_requests(balancer: Balanced, one: Service) -> None:
    await serves(balancer, one)

    for _ in range(3):
        await balancer.answer_of()

    assert len({request.transport for request in one.seen}) == 1
    assert balancer.balancer.records.connections == 1


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length : 3\r\n\r\nabc",
        b"GET\r\n\r\n",
    ],
)
async def test_ambiguous_request_gets_400_and_reaches_no_target(
    balancer: Balanced, one: Service, request_bytes: bytes
) -> None:
    await serves(balancer, one)
    reader, writer = await asyncio.open_connection("127.0.0.1", balancer.balancer.port_of(80))

    writer.write(request_bytes)

    answer = await reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Server: awselb" in answer
    assert one.seen == []
    writer.close()


async def test_counts_are_by_group_and_by_target(balancer: Balanced, one: Service) -> None:
    await serves(balancer, one)

    for _ in range(3):
        await balancer.answer_of()

    counts = balancer.balancer.measured()
    assert counts["requests"] == 3
    assert counts["groups"][GROUP]["requests"] == 3
    assert counts["groups"][GROUP]["targets"][f"127.0.0.1:{one.port}"]["requests"] == 3
