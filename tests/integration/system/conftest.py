"""archive: a connection to the test's database; the worker makes its schema."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from pkg.archival.store import Connection
from tests.integration.providers import Stores


@pytest.fixture
async def archive(stores: Stores) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(stores.postgres_url)
    yield connection
    await connection.close()
