"""The archive belongs to one system, and archives no other system's stream."""

from collections.abc import Callable
from functools import partial

import nats
import pytest
from nats.aio.msg import Msg

from pkg.archival.store import Connection
from pkg.auction.events import ArchiveState, decode_archive_state
from pkg.auction.subjects import NO_PARTITION, STREAM, archived_subject
from pkg.stores.system import name_stream
from pkg.trials.waiting import until
from tests.integration.archival.auction import Chain, Item, publish
from tests.integration.archival.conftest import Workers
from tests.integration.archival.looking import holds
from tests.integration.providers import Stores

OURS, THEIRS = "ours", "theirs"


async def name(stores: Stores, system: str) -> None:
    async with stores.nats_administrator() as administrator:
        await name_stream(administrator.jetstream(), system)


async def system_of(archive: Connection) -> str | None:
    system: str | None = await archive.fetchval("SELECT id FROM system")
    return system


async def test_the_archive_takes_its_system_from_the_stream_before_it_archives(
    stores: Stores, archive: Connection, workers: Workers
) -> None:
    workers.start()
    item, chain = Item("vase"), Chain()
    await publish(stores.nats_url, chain.batch(item.bids(3)))
    await until(partial(holds, archive, 3), within_s=10)
    assert await system_of(archive) is None

    await name(stores, OURS)
    await publish(stores.nats_url, chain.batch(item.bids(2)))
    await until(partial(holds, archive, 5), within_s=10)

    assert await system_of(archive) == OURS


async def test_the_stream_of_another_system_is_not_archived_and_nothing_is_announced_there(
    stores: Stores, archive: Connection, workers: Workers, capsys: pytest.CaptureFixture[str]
) -> None:
    await archive.execute("INSERT INTO system (id) VALUES ($1)", OURS)
    item, chain = Item("vase"), Chain()
    await publish(stores.nats_url, chain.batch(item.bids(3)))
    await name(stores, THEIRS)
    heard: list[Msg] = []

    async def hear(message: Msg) -> None:
        heard.append(message)

    client = await nats.connect(stores.nats_url)
    await client.subscribe(archived_subject("*"), cb=hear)
    workers.start()
    await until(refusing(capsys), within_s=15)

    await client.close()
    assert heard == []
    assert await holds(archive, 0)
    assert await system_of(archive) == OURS

    async with stores.nats_administrator() as administrator:
        await administrator.jetstream().delete_stream(STREAM)
    await publish(stores.nats_url)
    await name(stores, OURS)
    await publish(stores.nats_url, Chain().batch(Item("chair").bids(2)))

    await until(partial(holds, archive, 2), within_s=15)


def refusing(capsys: pytest.CaptureFixture[str]) -> Callable[[], bool]:
    """Whether a worker has said that it archives nothing."""
    said: list[str] = []

    def refuses() -> bool:
        said.append(capsys.readouterr().out)
        return "PostgreSQL and the stream belong to different systems" in "".join(said)

    return refuses


async def test_a_stream_that_gets_another_name_under_a_worker_is_left_alone(
    stores: Stores, archive: Connection, workers: Workers, capsys: pytest.CaptureFixture[str]
) -> None:
    """A worker on the wrong NATS may be there before that system's first bid."""
    await archive.execute("INSERT INTO system (id) VALUES ($1)", OURS)
    await publish(stores.nats_url)
    workers.start()

    async def consumes() -> bool:
        async with stores.nats_administrator() as administrator:
            info = await administrator.jetstream().consumer_info(STREAM, "archival-worker")
            return bool(info.num_waiting)

    await until(consumes, within_s=15, forgiving=(Exception,))
    await name(stores, THEIRS)
    await publish(stores.nats_url, Chain().batch(Item("vase").bids(3)))

    await until(refusing(capsys), within_s=15)
    assert await holds(archive, 0)


async def test_an_archive_says_that_it_is_empty_until_a_bid_is_archived(
    stores: Stores, archive: Connection, workers: Workers
) -> None:
    said: list[ArchiveState] = []

    async def hear(message: Msg) -> None:
        said.append(decode_archive_state(message.data))

    client = await nats.connect(stores.nats_url)
    await client.subscribe(archived_subject(NO_PARTITION), cb=hear)
    workers.start()
    workers.start()  # one of them will archive nothing
    await until(lambda: len(said) > 2, within_s=15)
    assert set(said) == {ArchiveState(empty=True)}

    await publish(stores.nats_url, Chain().batch(Item("vase").bids(1)))
    await name(stores, OURS)
    await publish(stores.nats_url, Chain("p01").batch(Item("chair").bids(1)))
    await until(partial(holds, archive, 2), within_s=10)

    async def both_know() -> bool:
        said.clear()
        await until(lambda: len(said) >= 4, within_s=10)
        return set(said) == {ArchiveState(empty=False, system=OURS)}

    await until(both_know, within_s=20)
    await client.close()
