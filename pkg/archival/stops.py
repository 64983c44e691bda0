"""The partitions that wait for a newer worker, because they hold a version or kind unknown here.

Such a message is not acknowledged and comes again: to this worker or, once one runs, to a newer
one. Until then the partition's watermark stays before it, so no store drops it. What this worker
can read beyond it is archived, like anything beyond a hole.
"""

import time
from collections.abc import Callable

from pkg.auction.events import UnknownVersionError
from pkg.runtime import logs

COMES_AGAIN_S = 2.0
MAX_COMES_AGAIN_S = 30.0
REDELIVERIES_PER_S = 1000
"""What waiting messages may cost: beyond this, each of them comes again more rarely."""
GRACE_S = 10.0
"""A message that is this late was taken by another worker."""

log = logs.get("stops")


class Stops:
    """Counts the messages that wait. JetStream keeps them, MAX_ACK_PENDING at most."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: dict[str, dict[int, float]] = {}
        """By partition: the hash of each message and when it comes again at the latest."""

    def wait(
        self, partition: str, data: bytes, error: UnknownVersionError, *, sequence: int = 0
    ) -> float:
        """Notes a message that only a newer worker can read; returns in how many seconds it should
        come again. ``sequence`` is its place in the stream, for the log.
        """
        waiting = self._waiting.setdefault(partition, {})
        if not waiting:
            sentence = f"partition {partition} holds {error}: roll the archival-worker first"
            log.error(sentence, partition=partition, sequence=sequence)
        total = sum(map(len, self._waiting.values()))
        in_s = min(max(COMES_AGAIN_S, total / REDELIVERIES_PER_S), MAX_COMES_AGAIN_S)
        waiting[hash(data)] = self._clock() + in_s + GRACE_S
        return in_s

    def look(self) -> None:
        """Forgets messages that did not come again: another worker has them."""
        now = self._clock()
        for partition, waiting in tuple(self._waiting.items()):
            for message in [each for each, latest in waiting.items() if latest < now]:
                del waiting[message]
            if not waiting:
                del self._waiting[partition]
                log.info("no message waits here for a newer worker any more", partition=partition)

    @property
    def waiting(self) -> dict[str, int]:
        """How many messages wait, by partition."""
        return {partition: len(each) for partition, each in sorted(self._waiting.items())}

    def probe(self) -> str | None:
        """For ``Readiness.watch``."""
        return f"stopped: {', '.join(self.waiting)}" if self._waiting else None
