"""The connection to NATS recovers from any fault and logs each change once, without secrets."""

import signal
from collections.abc import AsyncIterator

import aiohttp
import pytest
from nats.aio.client import Client
from nats.errors import ConnectionClosedError
from structlog.testing import capture_logs

from pkg.auction.subjects import archived_subject
from pkg.devkit.names import BROADCAST
from pkg.devkit.ports import free_ports
from pkg.runtime import nats_link as nats_link_module
from pkg.runtime.nats_link import NatsLink, nats_link
from pkg.runtime.settings.sections import NatsSettings
from pkg.trials.waiting import until
from tests.integration.api.parts import event_stream, settings_for, stream_events
from tests.integration.processes import Services
from tests.integration.providers import Stores
from tests.integration.runtime.fake_nats import FakeNats, Reset, fake_nats

PASSWORD = "s3cret-of-ann"


@pytest.fixture
async def nats() -> AsyncIterator[FakeNats]:
    async with fake_nats() as running:
        yield running


def settings(nats: FakeNats, credentials: str = "") -> NatsSettings:
    return NatsSettings(nats_url=f"nats://{credentials}127.0.0.1:{nats.port}")


async def wait_connected(link: NatsLink) -> None:
    await until(lambda: link.connected, within_s=15)


@pytest.mark.parametrize("when", Reset)
async def test_service_connects_to_a_server_that_resets_its_first_connections(
    stores: Stores, services: Services, when: Reset
) -> None:
    """Run as a process on uvloop, whose transports raise errors that asyncio's do not."""
    async with fake_nats(stores.nats_url) as nats:
        nats.resets = [when] * 3
        api = await services.api(env={"NATS_URL": f"nats://127.0.0.1:{nats.port}"}, wait=False)
        replica = api.replicas[0]
        nats.pause_client = lambda stopped: replica.send(
            signal.SIGSTOP if stopped else signal.SIGCONT
        )
        await until(lambda: nats.served, within_s=20, log=lambda: api.log)
        await replica.becomes_ready()

        nats.resets = [when] * 3
        nats.reset_all()

        await until(lambda: nats.served >= 2, within_s=20, log=lambda: api.log)
        async with (
            aiohttp.ClientSession(api.url) as client,
            event_stream(settings_for(stores)) as (_, link),
            client.post("/api/v1/items/vase/bid", data=b'{"user_id":"ann","amount":1}') as answer,
        ):
            assert answer.status == 201

            async def event_is_stored() -> bool:
                return sum(map(len, (await stream_events(link)).values())) == 1

            await until(event_is_stored, within_s=15, forgiving=(Exception,), log=lambda: api.log)


async def test_request_before_the_connection_does_not_spoil_those_after_it(stores: Stores) -> None:
    client = nats_link_module._Client()
    client._status = Client.CLOSED  # as between two attempts to connect
    with pytest.raises(ConnectionClosedError):
        await client.request("$JS.API.INFO", b"", timeout=5)

    await client.connect(stores.nats_url)
    try:
        assert await client.request("$JS.API.INFO", b"", timeout=5)
    finally:
        await client.close()


async def test_link_uses_any_server_that_answers(nats: FakeNats) -> None:
    (unused,) = free_ports(1)
    settings_of_two = NatsSettings(
        nats_url=f"nats://127.0.0.1:{unused},nats://127.0.0.1:{nats.port}"
    )

    async with nats_link(settings_of_two, name="test") as link:
        await wait_connected(link)


async def test_server_error_on_an_open_connection_leads_to_a_reconnect(
    nats: FakeNats,
) -> None:
    async with nats_link(settings(nats), name="test") as link:
        await wait_connected(link)

        nats.send_line(b"-ERR 'Maximum Connections Exceeded'")

        await until(lambda: nats.served >= 2, within_s=10)
        await wait_connected(link)
        assert link.probe() is None


async def test_permissions_violation_keeps_the_connection(nats: FakeNats) -> None:
    async with nats_link(settings(nats), name="test") as link:
        await wait_connected(link)

        nats.send_line(b"-ERR 'Permissions Violation for Subscription to \"x\"'")
        await link.client.flush()

        assert link.connected
        assert nats.served == 1


async def test_each_change_of_state_is_logged_once_without_the_password(nats: FakeNats) -> None:
    with capture_logs() as records:
        nats.resets = [Reset.ACCEPTED] * 3
        async with nats_link(settings(nats, f"ann:{PASSWORD}@"), name="test") as link:
            await wait_connected(link)
            nats.resets = [Reset.ACCEPTED] * 3

            nats.reset_all()

            await until(lambda: nats.served >= 2, within_s=15)
            await until(lambda: _events(records)[-1] == "connected", within_s=5)

    first, after_reset = _events(records)[:2], _events(records)[2:]
    assert first == ["cannot be used; trying on", "connected"]
    # The client may report the error and the lost connection in either order.
    assert sorted(after_reset[:-1]) == [
        "cannot be used; trying on",
        "connection lost; reconnecting",
    ]
    assert after_reset[-1] == "connected"
    assert PASSWORD not in str(records)


async def test_wrong_password_is_logged_once_and_a_later_right_one_connects(
    nats: FakeNats,
) -> None:
    nats.password = "another"
    with capture_logs() as records:
        async with nats_link(settings(nats, f"ann:{PASSWORD}@"), name="test") as link:
            await until(lambda: nats.refused >= 3, within_s=15)
            assert link.probe() == "down"
            assert _events(records) == ["cannot be used; trying on"]
            assert "Authorization Violation" in records[0]["why"]

            nats.password = PASSWORD

            await wait_connected(link)
    assert PASSWORD not in str(records)


def _events(records: object) -> list[str]:
    assert isinstance(records, list)
    return [each["event"] for each in records]


async def test_refused_subject_is_logged_once(stores: Stores) -> None:
    settings = NatsSettings(**stores.nats_of(BROADCAST))
    with capture_logs() as logs:
        async with nats_link(settings, name="test") as link:
            await wait_connected(link)
            for _ in range(8):  # nats-py reconnects if it reads half a refusal, and so loses it
                await link.client.publish(archived_subject("p00"), b"forged")
                await link.client.flush()

            await wait_connected(link)

    refusals = [line["why"] for line in logs if line["log_level"] == "error"]
    assert len(refusals) == 1
    assert "bid.archived.p00" in refusals[0]
