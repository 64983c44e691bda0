"""The archive's schema. A worker that connects creates or migrates it."""

import re
from importlib.resources import files

import asyncpg

from pkg.runtime import logs

_MIGRATIONS = files("pkg.archival") / "migrations"
_NUMBERED = re.compile(r"([0-9]{4})_[a-z0-9_]+\.sql")

MIGRATION_TIMEOUT_S = 3600

# Any number, the same in every version of the program.
_ADVISORY_LOCK = 0x6269_6473

_VERSION_TABLE = """
CREATE TABLE IF NOT EXISTS schema_version (
    version integer PRIMARY KEY,
    name text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""

log = logs.get("schema")


class SchemaTooNewError(Exception):
    """A newer version has migrated the database. This one must not write; it changed nothing."""


def migrations() -> dict[int, tuple[str, str]]:
    """Each version's file name and SQL, oldest first."""
    found = {}
    for file in sorted(_MIGRATIONS.iterdir(), key=lambda each: each.name):
        if numbered := _NUMBERED.fullmatch(file.name):
            found[int(numbered[1])] = (file.name, file.read_text(encoding="utf-8"))
    return found


def refuse_newer(applied: int, known: int) -> None:
    """Raises SchemaTooNewError if a newer version has migrated the database."""
    if applied > known:
        raise SchemaTooNewError(
            f"the database has schema version {applied}, this program knows up to {known}; "
            "run the newer program"
        )


async def migrate(connection: asyncpg.Connection) -> int:
    """Migrates the schema, all or nothing, and returns its version. Safe to run concurrently.

    Raises:
        SchemaTooNewError: a newer version has migrated the database.
    """
    known = migrations()
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _ADVISORY_LOCK)
        await connection.execute(_VERSION_TABLE)
        applied: int = await connection.fetchval(
            "SELECT coalesce(max(version), 0) FROM schema_version"
        )
        refuse_newer(applied, max(known))
        # The time-out limits the wait for the lock above, not a migration.
        await connection.execute("SET LOCAL statement_timeout = 0")
        for version, (name, sql) in known.items():
            if version > applied:
                await connection.execute(sql, timeout=MIGRATION_TIMEOUT_S)
                await connection.execute(
                    "INSERT INTO schema_version (version, name) VALUES ($1, $2)", version, name
                )
                log.info("migrated", version=version, migration=name)
    return max(known)
