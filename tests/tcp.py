"""A TCP server in the test process that closes all its connections."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[int]:
    """Yields the port on 127.0.0.1. A connection is closed when `serve` returns or the block ends.

    Exceptions of `serve` are raised at the end, except for OSError.
    Not `asyncio.start_server`: if it is closed while it accepts a connection, that one stays open,
    and a later test gets the warning.
    """
    loop = asyncio.get_running_loop()
    connections: dict[asyncio.Task[None], socket.socket] = {}

    async def run(connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            await serve(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        finally:
            writer.close()

    def accept() -> None:
        connection, _ = listener.accept()
        connections[asyncio.create_task(run(connection))] = connection

    with socket.create_server(("127.0.0.1", 0)) as listener:
        loop.add_reader(listener, accept)
        try:
            yield listener.getsockname()[1]
        finally:
            loop.remove_reader(listener)
            for serving in connections:
                serving.cancel()
            results = await asyncio.gather(*connections, return_exceptions=True)
            await asyncio.sleep(0)  # an aborted transport releases its socket
            for connection in connections.values():
                connection.close()
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, OSError):
            raise result
