"""Users who all want one item: each reads it, then bids above what it read, as fast as it can.

A child of the contention experiment. Reads a `Task` from standard input, writes `ready` when all
users are connected, waits for a line, and ends with a `Tally` after the task's seconds.
"""

import asyncio
import random
import re
import sys
import time
from pathlib import Path

import msgspec
import uvloop

from pkg.trials.crowd.bidders import OUTCOME_UNKNOWN_STATUSES
from pkg.trials.crowd.ledger import DOCUMENTED_503, Outcome
from pkg.trials.experiments.clients.http import Answer, Connection, bid, read

RAISE_MAX_CENTS = 500
ANSWER_WITHIN_S = 10.0
CONNECT_WITHIN_S = 30.0
READ = "read"
HEAD = ("run", "at_s", "request", "outcome", "retries", "latency_us")
_SHOWN = 3
_PRICE = re.compile(rb'"current_bid":(\d+)\.(\d\d)')
_OK, _CREATED, _UNAVAILABLE = 200, 201, 503


class Task(msgspec.Struct, frozen=True):
    host: str
    port: int
    item: str
    strategy: str
    users: int
    seconds: float
    run: int
    name: str
    """Prefix of the users' names."""
    samples: str
    """File to write samples to, one line a request."""


class Tally(msgspec.Struct):
    """What was answered, and CPU time while bidding."""

    requests: int = 0
    reads: int = 0
    accepted: int = 0
    refused: int = 0
    failed: int = 0
    unknown: int = 0
    reads_failed: int = 0
    cpu_s: float = 0.0
    ended_at_s: float = 0.0
    """When the last answer came, from the begin."""
    defects: list[str] = []
    """The first answers outside the contract."""

    @property
    def bids(self) -> int:
        return self.accepted + self.refused + self.failed + self.unknown


class Crowd:
    def __init__(self, task: Task) -> None:
        self.task = task
        self.tally = Tally()
        self.lines: list[str] = []
        self.began = 0.0
        self.until = 0.0
        self.connected = 0
        self.busy = 0
        self.started = False
        self.users = [User(self, number) for number in range(task.users)]

    async def connect(self) -> None:
        for user in self.users:
            user.connection.connect()
        async with asyncio.timeout(CONNECT_WITHIN_S):
            while self.connected < len(self.users):
                await asyncio.sleep(0.01)

    async def bid(self) -> None:
        """Runs for the task's seconds, and until what is in flight is answered."""
        began_cpu_s = time.process_time()
        self.began = time.monotonic()
        self.until = self.began + self.task.seconds
        self.started = True
        for user in self.users:
            user.go_on()
        await asyncio.sleep(self.task.seconds)
        deadline = time.monotonic() + ANSWER_WITHIN_S
        while self.busy and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        for user in self.users:
            user.connection.close()
        self.tally.cpu_s = time.process_time() - began_cpu_s
        await asyncio.sleep(0)  # the closed ones tell of what they did not hear

    def sample(self, request: str, outcome: str, retries: int, sent_at: float) -> None:
        now = time.monotonic()
        self.tally.requests += 1
        self.tally.ended_at_s = now - self.began
        latency_us = round((now - sent_at) * 1e6)
        at_s = f"{sent_at - self.began:.6f}"
        self.lines.append(f"{self.task.run},{at_s},{request},{outcome},{retries},{latency_us}\n")

    def defect(self, status: int, body: bytes) -> None:
        if len(self.tally.defects) < _SHOWN:
            self.tally.defects.append(f"{status} {body[:200]!r}")


class User:
    """Retries are the bids that it placed in vain since the last one that was accepted."""

    def __init__(self, crowd: Crowd, number: int) -> None:
        self._crowd = crowd
        self._name = f"{crowd.task.name}-{number}"
        self._sent_at = 0.0
        self._retries = 0
        self._known = False
        self._read = read(crowd.task.item)
        self.connection = Connection(crowd.task.host, crowd.task.port, opened=self._opened)

    def _opened(self) -> None:
        if not self._known:
            self._known = True
            self._crowd.connected += 1
        if self._crowd.started:
            self.go_on()

    def go_on(self) -> None:
        if self.connection.open and time.monotonic() < self._crowd.until:
            self._ask(self._read, self._was_read)

    def _ask(self, request: bytes, answer: Answer) -> None:
        self._crowd.busy += 1
        self._sent_at = time.monotonic()
        self.connection.ask(request, answer)

    def _was_read(self, status: int, body: bytes) -> None:
        crowd = self._crowd
        crowd.busy -= 1
        crowd.tally.reads += 1
        price = _PRICE.search(body) if status == _OK else None
        if price is None:
            crowd.tally.reads_failed += 1
            crowd.sample(READ, Outcome.FAILED, 0, self._sent_at)
            if status not in {0, _UNAVAILABLE, *OUTCOME_UNKNOWN_STATUSES}:
                crowd.defect(status, body)
            self._after_failure()
            return
        crowd.sample(READ, READ, 0, self._sent_at)
        if not self.connection.open or time.monotonic() >= crowd.until:
            return
        cents = int(price[1]) * 100 + int(price[2]) + random.randint(1, RAISE_MAX_CENTS)  # noqa: S311 - no secret
        self._ask(
            bid(crowd.task.item, user=self._name, cents=cents, strategy=crowd.task.strategy),
            self._was_answered,
        )

    def _was_answered(self, status: int, body: bytes) -> None:
        crowd = self._crowd
        crowd.busy -= 1
        outcome = self._outcome(status, body)
        crowd.sample("bid", outcome, self._retries, self._sent_at)
        tally = crowd.tally
        setattr(tally, outcome, getattr(tally, outcome) + 1)
        self._retries = 0 if outcome is Outcome.ACCEPTED else self._retries + 1
        if outcome in {Outcome.ACCEPTED, Outcome.REFUSED}:
            self.go_on()
        else:
            self._after_failure()

    def _after_failure(self) -> None:
        """A moment's rest: what fails at once must not become a load of its own."""
        asyncio.get_running_loop().call_later(0.05, self.go_on)

    def _outcome(self, status: int, body: bytes) -> Outcome:
        if status == _CREATED:
            return Outcome.ACCEPTED
        if status == _OK and b'"reason":"too_low"' in body:
            return Outcome.REFUSED
        if status in {0, *OUTCOME_UNKNOWN_STATUSES}:
            return Outcome.UNKNOWN
        code = ""
        if status == _UNAVAILABLE:
            found = re.search(rb'"code":"(\w+)"', body)
            code = found[1].decode() if found else ""
        if code == "outcome_unknown":
            return Outcome.UNKNOWN
        if code not in DOCUMENTED_503:
            self._crowd.defect(status, body)
        return Outcome.FAILED


async def _run(task: Task) -> Tally:
    loop = asyncio.get_running_loop()
    crowd = Crowd(task)
    await crowd.connect()
    print("ready", flush=True)  # noqa: T201 - to the parent
    if await loop.run_in_executor(None, sys.stdin.readline):
        await crowd.bid()
    Path(task.samples).write_text("".join(crowd.lines), encoding="utf-8")  # noqa: ASYNC240 - all is done
    return crowd.tally


def main() -> None:
    task = msgspec.json.decode(sys.stdin.readline(), type=Task)
    print(msgspec.json.encode(uvloop.run(_run(task))).decode(), flush=True)  # noqa: T201 - to the parent


if __name__ == "__main__":
    main()
