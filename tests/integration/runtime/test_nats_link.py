"""The connection to NATS comes up whatever the server does, and says so once, without secrets."""

import signal
from collections.abc import AsyncIterator

import aiohttp
import pytest
from structlog.testing import capture_logs

from pkg.devkit.ports import free_ports
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


async def up(link: NatsLink) -> None:
    await until(lambda: link.connected, within_s=15)


@pytest.mark.parametrize("when", Reset)
async def test_service_connects_to_a_server_that_resets_its_first_connections(
    stores: Stores, services: Services, when: Reset
) -> None:
    """As a process, on uvloop: its transports raise where asyncio's say nothing."""
    async with fake_nats(stores.nats_url) as nats:
        nats.resets = [when] * 3
        api = await services.api(env={"NATS_URL": f"nats://127.0.0.1:{nats.port}"}, wait=False)
        replica = api.replicas[0]
        nats.hold = lambda held: replica.send(signal.SIGSTOP if held else signal.SIGCONT)
        await until(lambda: nats.served, within_s=20, log=lambda: api.log)
        await replica.becomes_ready()

        nats.resets = [when] * 3
        nats.cut()

        await until(lambda: nats.served >= 2, within_s=20, log=lambda: api.log)
        async with (
            aiohttp.ClientSession(api.url) as client,
            event_stream(settings_for(stores)) as (_, link),
            client.post("/api/v1/items/vase/bid", data=b'{"user_id":"ann","amount":1}') as answer,
        ):
            assert answer.status == 201

            async def told() -> bool:
                return sum(map(len, (await stream_events(link)).values())) == 1

            await until(told, within_s=15, forgiving=(Exception,), log=lambda: api.log)


async def test_any_one_of_several_servers_will_do(nats: FakeNats) -> None:
    (nobody,) = free_ports(1)
    several = NatsSettings(nats_url=f"nats://127.0.0.1:{nobody},nats://127.0.0.1:{nats.port}")

    async with nats_link(several, name="test") as link:
        await up(link)


async def test_complaint_on_a_standing_connection_is_a_reason_to_connect_again(
    nats: FakeNats,
) -> None:
    async with nats_link(settings(nats), name="test") as link:
        await up(link)

        nats.say(b"-ERR 'Maximum Connections Exceeded'")

        await until(lambda: nats.served >= 2, within_s=10)
        await up(link)
        assert link.probe() is None


async def test_refused_subject_ends_no_connection(nats: FakeNats) -> None:
    async with nats_link(settings(nats), name="test") as link:
        await up(link)

        nats.say(b"-ERR 'Permissions Violation for Subscription to \"x\"'")
        await link.client.flush()

        assert link.connected
        assert nats.served == 1


async def test_each_change_of_state_is_told_once_and_without_the_password(nats: FakeNats) -> None:
    with capture_logs() as records:
        nats.resets = [Reset.ACCEPTED] * 3
        async with nats_link(settings(nats, f"ann:{PASSWORD}@"), name="test") as link:
            await up(link)
            nats.resets = [Reset.ACCEPTED] * 3

            nats.cut()

            await until(lambda: nats.served >= 2, within_s=15)
            await until(lambda: _events(records)[-1] == "connected", within_s=5)

    first, up_again = _events(records)[:2], _events(records)[2:]
    assert first == ["cannot be used; trying on", "connected"]
    # A reset is told by its reason and as the loss, in whichever order the client notices.
    assert sorted(up_again[:-1]) == ["cannot be used; trying on", "connection lost; reconnecting"]
    assert up_again[-1] == "connected"
    assert PASSWORD not in str(records)


async def test_wrong_password_is_told_once_and_the_right_one_is_taken_later(
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

            await up(link)
    assert PASSWORD not in str(records)


def _events(records: object) -> list[str]:
    assert isinstance(records, list)
    return [each["event"] for each in records]
