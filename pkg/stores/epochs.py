"""Epochs: which history of Redis a message belongs to.

A Redis that is opened begins a new history: another server may have accepted other bids since. Each
opening takes a new epoch for every partition, above all that it knows of, records it in ``meta``
and publishes an empty batch with it, fenced as every publish is. From that message on, batches of
older epochs are not of this history. The number is the time of the opening in microseconds, or one
above the last epoch if clocks disagree: two histories never share one.
"""

import time
from dataclasses import dataclass

from redis.asyncio import Redis

from pkg.auction.keys import meta_key
from pkg.stores.redis_meta import EPOCH, RUN_ID, SUCCEEDS, SUPERSEDED

MOST_SUCCEEDED = 8
"""Earlier epochs that are remembered, in case NATS comes back from an older copy."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """A partition's epoch in Redis. 0 means that it was never opened with one."""

    number: int = 0
    succeeds: tuple[int, ...] = ()
    """The epochs before it, newest first."""

    def follows(self, other: int) -> bool:
        """Whether a stream whose last message is of epoch ``other`` holds our own past."""
        return other in {0, self.number, *self.succeeds}

    def next(self, *, after: int = 0) -> "Epoch":
        """A new epoch that succeeds this one and ``after``."""
        known = sorted({self.number, after, *self.succeeds} - {0}, reverse=True)
        newest = known[0] if known else 0
        number = max(time.time_ns() // 1000, newest + 1)
        return Epoch(number, tuple(known[:MOST_SUCCEEDED]))

    def above(self, other: int) -> "Epoch":
        """A new epoch that succeeds this one and is above ``other``, which is not of our past."""
        ours = self.next()
        return Epoch(max(ours.number, other + 1), ours.succeeds)


def parse_epoch(number: bytes | str | None, succeeds: bytes | str | None) -> Epoch:
    """From the fields EPOCH and SUCCEEDS of ``meta``."""
    return Epoch(int(number or 0), tuple(int(each) for each in (succeeds or "").split()))


async def read_epoch(redis: Redis, partition: str) -> Epoch:
    return parse_epoch(*await redis.hmget(meta_key(partition), [EPOCH, SUCCEEDS]))


async def record_epoch(redis: Redis, partition: str, epoch: Epoch) -> None:
    """Call it before the epoch is published: a process that dies in between takes a newer one."""
    await redis.hset(
        meta_key(partition),
        mapping={EPOCH: epoch.number, SUCCEEDS: " ".join(map(str, epoch.succeeds))},
    )


async def take_epoch(redis: Redis, partition: str, *, after: int = 0) -> Epoch:
    """Records and returns a new epoch, above the recorded one and ``after``."""
    epoch = (await read_epoch(redis, partition)).next(after=after)
    await record_epoch(redis, partition, epoch)
    return epoch


async def supersede(redis: Redis, partitions: list[str], *, by: int) -> None:
    """Closes this Redis for bids for good: another history went on from where it was."""
    for partition in partitions:
        await redis.hset(meta_key(partition), RUN_ID, f"{SUPERSEDED}{by}")
