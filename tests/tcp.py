"""A TCP server in the test's own process that leaves no connection behind."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[int]:
    """Its port on 127.0.0.1; a connection ends with its `serve`, at the latest with the server.

    What `serve` raises, other than for a lost connection, is raised at the end.
    Not `asyncio.start_server`: closed between accepting a connection and telling of it, that one
    leaves it open, and its end is then reported in whatever test comes next.
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
            ends = await asyncio.gather(*connections, return_exceptions=True)
            await asyncio.sleep(0)  # a transport that was aborted lets go of its socket
            for connection in connections.values():
                connection.close()
    for end in ends:
        if isinstance(end, Exception) and not isinstance(end, OSError):
            raise end
