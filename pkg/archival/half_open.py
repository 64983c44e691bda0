"""Notices a connection to PostgreSQL that is dead although it looks open, as after an outage of
the network: nothing sent on it arrives, and nothing fails. A second connection asks what the
server is doing for the first: if nothing, while we wait for it, the first is dead. A statement
that is only slow is left alone. So the statement time-out may be long.
"""

import asyncio
import ssl

import asyncpg

from pkg.archival.sql import statement

SUSPECT_AFTER_S = 2.0
"""Work in PostgreSQL that takes longer is looked into."""
ASK_EVERY_S = 1.0
ASK_WITHIN_S = 2.0
"""Longest wait for the second connection, and for its answer."""
IDLE_S = 1.0
"""An answer that is on its way for longer was lost."""

_END_IDLE_SESSION = statement("end_idle_session")


async def found_dead(url: str, pid: int, *, tls: ssl.SSLContext | None = None) -> None:
    """Returns once the session `pid` has nothing to do, although its caller waits for it."""
    await asyncio.sleep(SUSPECT_AFTER_S)
    while await is_busy(url, pid, tls=tls) is not False:
        await asyncio.sleep(ASK_EVERY_S)


async def is_busy(url: str, pid: int, *, tls: ssl.SSLContext | None = None) -> bool | None:
    """Whether the server works for the session; it ends one that is idle. None: no answer."""
    try:
        connection = await asyncpg.connect(
            url,
            ssl=tls,
            timeout=ASK_WITHIN_S,
            command_timeout=ASK_WITHIN_S,
            server_settings={"application_name": "archival-worker-watch"},
        )
        try:
            busy: bool = await connection.fetchval(_END_IDLE_SESSION, pid, IDLE_S)
        finally:
            connection.terminate()
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
        return None
    return busy
