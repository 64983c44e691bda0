"""The worker's process: exit codes, readiness, metrics, signals."""

import signal
import time

import aiohttp

from pkg.archival.store import Connection
from pkg.trials.waiting import until
from tests.integration.archival.auction import STARTED_S, Chain, Item, publish
from tests.integration.archival.looking import everything_acknowledged, holds
from tests.integration.processes import Services
from tests.integration.providers import Servers, Stores


async def ready_checks(url: str) -> tuple[int, dict[str, str]]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/ready") as response:
        return response.status, (await response.json())["checks"]


async def metrics(url: str) -> dict[str, float]:
    """Every sample, by name and labels."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as response:
        lines = (await response.text()).splitlines()
    samples = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    return {name: float(value) for name, value in samples}


async def test_missing_settings_are_all_named_and_exit_with_2(services: Services) -> None:
    unset = {"NATS_URL": "", "POSTGRES_URL": "", "ARCHIVE_BATCH_EVENTS": "many"}

    code, _, complaint = await services.run("archival", env=unset)

    assert code == 2
    assert all(name in complaint for name in unset)
    assert complaint.count("\n") == 1


async def test_invalid_option_in_the_url_exits_with_2(stores: Stores, services: Services) -> None:
    code, _, complaint = await services.run(
        "archival", env={"POSTGRES_URL": f"{stores.postgres_url}?sslmode=bogus"}
    )

    assert code == 2
    assert "POSTGRES_URL" in complaint
    assert "sslmode" in complaint


async def test_readiness_follows_both_stores(servers: Servers, services: Services) -> None:
    worker = await services.archival()
    assert (await ready_checks(worker.url))[0] == 200

    servers.stop("postgres")
    await until(lambda: _says(worker.url, "postgres", "down"), within_s=5)
    servers.start("postgres")
    await worker.replicas[0].becomes_ready()
    servers.stop("nats")
    await until(lambda: _says(worker.url, "nats", "down"), within_s=5)
    servers.start("nats")

    await worker.replicas[0].becomes_ready()


async def _says(url: str, name: str, word: str) -> bool:
    status, checks = await ready_checks(url)
    return status == 503 and checks[name] == word


async def test_starts_without_any_store_and_becomes_ready_once_they_are_up(
    servers: Servers, stores: Stores, archive: Connection, services: Services
) -> None:
    await archive.close()
    servers.stop("postgres")
    servers.stop("nats")
    worker = await services.archival(wait=False)
    await until(lambda: _says(worker.url, "nats", "down"), within_s=10, forgiving=(OSError,))

    servers.start("nats")
    servers.start("postgres")

    await worker.replicas[0].becomes_ready()


async def test_worker_stopped_under_load_exits_with_0_and_loses_nothing(
    stores: Stores, archive: Connection, services: Services
) -> None:
    chain, item = Chain(), Item("lamp")
    batches = [chain.batch(item.bids(20)) for _ in range(200)]
    first = await services.archival(env={"ARCHIVE_BATCH_EVENTS": "40"})
    await publish(stores.nats_url, *batches[:20])
    await until(lambda: archive.fetchval("SELECT count(*) FROM bids"), within_s=10)
    await publish(stores.nats_url, *batches[20:])

    code = await first.replicas[0].end()
    await services.archival()

    assert code == 0
    await until(lambda: holds(archive, 4000), within_s=10)
    await until(lambda: everything_acknowledged(stores.nats_url), within_s=5)
    assert await archive.fetchval("SELECT bid_count FROM items") == 4000


async def test_worker_stopped_while_postgres_hangs_ends_in_time(
    servers: Servers, stores: Stores, archive: Connection, services: Services
) -> None:
    chain, item = Chain(), Item("lamp")
    worker = await services.archival(env={"SHUTDOWN_TIMEOUT_S": "5"})
    await publish(stores.nats_url, chain.batch(item.bids(1)))
    await until(lambda: holds(archive, 1), within_s=10)
    # Hangs only the session; a hanging server would also hang the fixtures.
    await archive.execute("BEGIN; LOCK TABLE bids IN ACCESS EXCLUSIVE MODE")
    await publish(stores.nats_url, chain.batch(item.bids(1)))
    await until(lambda: _waits_for_a_lock(archive), within_s=5)

    code = await worker.replicas[0].end(signal.SIGTERM)

    assert code == 0
    await archive.execute("ROLLBACK")
    assert await holds(archive, 1)


async def test_statement_that_times_out_is_retried_until_it_succeeds(
    stores: Stores, archive: Connection, services: Services
) -> None:
    chain, item = Chain(), Item("lamp")
    worker = await services.archival(env={"STATEMENT_TIMEOUT_S": "1"})
    await archive.execute("BEGIN; LOCK TABLE bids IN ACCESS EXCLUSIVE MODE")
    await publish(stores.nats_url, chain.batch(item.bids(3)))

    await until(lambda: _says(worker.url, "postgres", "down"), within_s=5)
    await until(lambda: _fails_again_and_is_never_ready(worker.url), within_s=15)
    await archive.execute("ROLLBACK")

    await until(lambda: holds(archive, 3), within_s=10)
    await worker.replicas[0].becomes_ready()


async def _fails_again_and_is_never_ready(url: str) -> bool:
    """The worker reconnects each time, but no transaction succeeds."""
    assert (await ready_checks(url))[0] == 503
    return (await metrics(url))["bid_archive_retries_total"] >= 3


async def _waits_for_a_lock(archive: Connection) -> bool:
    return bool(
        await archive.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'archival-worker' AND wait_event_type = 'Lock'"
        )
    )


async def test_metrics_show_what_was_archived(
    stores: Stores, archive: Connection, services: Services
) -> None:
    chain, item = Chain("p01"), Item("lamp")
    batches = [chain.batch(item.bids(10)), chain.batch(item.bids(5))]
    _never_published, beyond = chain.batch([]), chain.batch(Item("vase").bids(1))
    rival = Chain("p02").batch([Item("lamp").bid()])
    worker = await services.archival()

    await publish(stores.nats_url, *batches, batches[0], rival, beyond, ("bid.events.p03", b"?"))
    await until(lambda: everything_acknowledged(stores.nats_url), within_s=10)

    samples = await metrics(worker.url)
    assert samples["bid_archive_events_total"] == 16
    assert samples["bid_archive_duplicates_total"] == 10
    assert samples['bid_archive_dead_letters_total{reason="seq_conflict"}'] == 1
    assert samples['bid_archive_dead_letters_total{reason="undecodable"}'] == 1
    assert samples['bid_archive_dead_letters_total{reason="refused"}'] == 0
    assert samples["bid_archive_conflicts_total"] == 1
    assert samples['bid_archive_watermark_milliseconds{partition="p01"}'] == STARTED_S * 1000
    assert samples['bid_archive_islands{partition="p01"}'] == 1
    assert samples["bid_archive_transaction_seconds_count"] >= 1
    assert samples["bid_archive_batch_events_sum"] == 28
    assert samples["bid_archive_postgres_up"] == 1


async def test_lag_grows_while_postgres_is_away_and_falls_with_the_commit(
    servers: Servers, stores: Stores, archive: Connection, services: Services
) -> None:
    await archive.close()
    worker = await services.archival()
    assert (await metrics(worker.url))["bid_archive_lag_seconds"] == 0
    servers.stop("postgres")
    batch = Chain().batch([Item("lamp").bid(placed_s=int(time.time()))])
    await publish(stores.nats_url, batch)

    async def lag_s() -> float:
        return (await metrics(worker.url))["bid_archive_lag_seconds"]

    async def above_one() -> bool:
        return await lag_s() > 1

    async def zero() -> bool:
        return await lag_s() == 0

    async def down() -> bool:
        return (await metrics(worker.url))["bid_archive_postgres_up"] == 0

    await until(above_one, within_s=10)
    await until(down, within_s=10)
    servers.start("postgres")
    await until(zero, within_s=15)
