import asyncio

import asyncpg
import pytest

from pkg.archival.schema import SchemaTooNewError, migrate, migrations
from pkg.archival.store import Connection
from pkg.trials.waiting import until
from tests.integration.archival.auction import Chain, Item, publish
from tests.integration.archival.conftest import Workers
from tests.integration.archival.looking import holds
from tests.integration.processes import Services
from tests.integration.providers import Stores


async def test_concurrent_migrations_create_one_schema(stores: Stores) -> None:
    connections = [await asyncpg.connect(stores.postgres_url) for _ in range(4)]

    versions = await asyncio.gather(*(migrate(connection) for connection in connections))

    assert set(versions) == {max(migrations())}
    applied = await connections[0].fetch("SELECT version FROM schema_version ORDER BY version")
    assert [row["version"] for row in applied] == list(migrations())
    for connection in connections:
        await connection.close()


async def test_migrating_again_changes_nothing(archive: Connection) -> None:
    await archive.execute("INSERT INTO items (id, name) VALUES ('lamp', 'A lamp')")

    await migrate(archive)

    assert await archive.fetchval("SELECT name FROM items") == "A lamp"


async def test_newer_schema_is_refused(archive: Connection) -> None:
    await archive.execute("INSERT INTO schema_version (version, name) VALUES (9999, 'future')")

    with pytest.raises(SchemaTooNewError, match=r"9999.*run the newer program"):
        await migrate(archive)


async def test_failed_migration_leaves_nothing_behind(stores: Stores) -> None:
    connection: Connection = await asyncpg.connect(stores.postgres_url)
    await connection.execute("CREATE TABLE watermarks (in_the_way int)")

    with pytest.raises(asyncpg.DuplicateTableError):
        await migrate(connection)

    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert [row["tablename"] for row in tables] == ["watermarks"]
    await connection.close()


async def test_worker_refuses_a_newer_schema_in_one_sentence(
    archive: Connection, services: Services
) -> None:
    await archive.execute("INSERT INTO schema_version (version, name) VALUES (9999, 'future')")

    code, _, complaint = await services.run("archival", env={"ADMIN_ADDR": "127.0.0.1:0"})

    assert code == 1
    assert "run the newer program" in complaint
    assert "Traceback" not in complaint


async def test_worker_that_finds_a_newer_schema_later_exits(
    archive: Connection, services: Services
) -> None:
    """An error that ends the worker's loop ends the process, so that an orchestrator notices."""
    worker = (await services.archival()).replicas[0]
    await archive.execute("INSERT INTO schema_version (version, name) VALUES (9999, 'future')")

    await archive.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'archival-worker' AND datname = current_database()"
    )

    assert await asyncio.wait_for(worker.process.wait(), timeout=25) == 1
    assert "run the newer program" in worker.log


async def test_schema_that_vanished_is_created_again(
    archive: Connection, stores: Stores, workers: Workers
) -> None:
    """As after restoring an empty database: the next failure makes the worker migrate again."""
    chain, item = Chain(), Item("lamp")
    workers.start()
    await publish(stores.nats_url, chain.batch(item.bids(1)))
    await until(lambda: holds(archive, 1), within_s=10)
    await archive.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")

    await publish(stores.nats_url, chain.batch(item.bids(1)))

    await until(lambda: holds(archive, 1), within_s=10)
