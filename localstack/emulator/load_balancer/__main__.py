"""One load balancer: gets its records on the link's port, then opens its listeners' ports."""

import asyncio
import contextlib
import logging
import os
import signal

from localstack.emulator.load_balancer.link import LINE_LIMIT, LoadBalancer


async def _serve() -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    balancer = LoadBalancer()
    port = int(os.environ["LINK_PORT"])
    link = await asyncio.start_server(balancer.serve_link, None, port, limit=LINE_LIMIT)
    async with link:
        await ended.wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with contextlib.suppress(ImportError):
        import uvloop

        uvloop.install()
    asyncio.run(_serve())
