"""CPU time of the API process per request, its relay included.

usage: python load-tests/cpu_per_request.py --url http://127.0.0.1:8080 --pid PID [--requests 20000]

PID is that of the api-gateway (``bidkit get``). The floor is a request for an unknown path: HTTP
is parsed and answered, nothing else. The kinds of load are interleaved over several rounds, so that
changes in the machine's speed affect all alike; the median of the rounds is printed. Every bid is
above the one sent before it on its item; with many in flight some arrive out of order and are
refused, so the answers are counted by status. Use it on loopback only.
"""

import argparse
import asyncio
import itertools
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil
import uvloop

ITEMS = 20
ROUNDS = 5
FLOOR = "floor"


class Client(asyncio.Protocol):
    """One keep-alive connection with one request in flight; counts answers by status."""

    def __init__(self, requests: Iterator[bytes], counts: dict[bytes, int]) -> None:
        self._requests = requests
        self._counts = counts
        self._buffer = b""
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        length = int(head.rpartition(b"Content-Length: ")[2].split(b"\r\n")[0])
        if len(body) < length:
            return
        status = head[9:12]
        self._counts[status] = self._counts.get(status, 0) + 1
        self._buffer = b""
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionResetError("the server closed"))

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is not None:
            self._transport.write(request)  # type: ignore[attr-defined]
        elif not self.done.done():
            self.done.set_result(None)
            self._transport.close()


@dataclass(frozen=True)
class Load:
    """A kind of load: a name and a request by number."""

    name: str
    request: Callable[[int], bytes]


def nothing(_: int) -> bytes:
    return b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"


def get(number: int) -> bytes:
    return f"GET /api/v1/items/load-{number % ITEMS} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def post(strategy: str) -> Callable[[int], bytes]:
    def request(number: int) -> bytes:
        body = f'{{"user_id":"user-{number % 1000}","amount":{number // ITEMS + 1}.00}}'
        return (
            f"POST /api/v1/items/load-{strategy}-{number % ITEMS}/bid HTTP/1.1\r\nHost: x\r\n"
            f"X-Bid-Strategy: {strategy}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()

    return request


async def run(
    load: Load, first: int, count: int, *, at: tuple[str, int], connections: int
) -> dict[bytes, int]:
    counts: dict[bytes, int] = {}
    requests = (load.request(number) for number in range(first, first + count))
    loop = asyncio.get_running_loop()
    clients = [
        (await loop.create_connection(lambda: Client(requests, counts), *at))[1]
        for _ in range(connections)
    ]
    await asyncio.gather(*(client.done for client in clients))
    return counts


async def main() -> int:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--url", default="http://127.0.0.1:8080")
    arguments.add_argument("--pid", type=int, required=True)
    arguments.add_argument("--requests", type=int, default=20_000, help="of each kind, a round")
    arguments.add_argument("--connections", type=int, default=64)
    given = arguments.parse_args()
    where = urlsplit(given.url)
    at = (where.hostname or "127.0.0.1", where.port or 80)
    process = psutil.Process(given.pid)
    loads = [
        Load(FLOOR, nothing),
        Load("GET", get),
        Load("POST lua", post("lua")),
        Load("POST optimistic", post("optimistic")),
    ]
    spent: dict[str, list[float]] = {load.name: [] for load in loads}
    answered: dict[str, dict[bytes, int]] = {load.name: {} for load in loads}
    numbers = itertools.count(1, given.requests)
    for _ in range(ROUNDS):
        first = next(numbers)
        for load in loads:
            before = process.cpu_times()
            counts = await run(load, first, given.requests, at=at, connections=given.connections)
            await asyncio.sleep(1.0)  # the relay's work for these requests counts too
            after = process.cpu_times()
            cpu_s = after.user + after.system - before.user - before.system
            spent[load.name].append(cpu_s * 1e6 / given.requests)
            for status, count in counts.items():
                answered[load.name][status] = answered[load.name].get(status, 0) + count
    floor = statistics.median(spent[FLOOR])
    print(f"{'load':16} {'CPU µs/request':>15} {'min':>7} {'max':>7} {'x floor':>8}  answers")
    for load in loads:
        values = spent[load.name]
        median = statistics.median(values)
        told = ", ".join(f"{k.decode()}: {v}" for k, v in sorted(answered[load.name].items()))
        print(
            f"{load.name:16} {median:15.1f} {min(values):7.1f} {max(values):7.1f} "
            f"{median / floor:8.2f}  {told}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(uvloop.run(main()))
