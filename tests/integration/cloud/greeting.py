"""Prints the first message of a WebSocket. usage: greeting.py URL"""

import asyncio
import sys

from aiohttp import ClientSession


async def main(url: str) -> None:
    async with ClientSession() as session, session.ws_connect(url) as socket:
        print(await socket.receive_str(timeout=20))  # noqa: T201 - what it is for


asyncio.run(main(sys.argv[1]))
