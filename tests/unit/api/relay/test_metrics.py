"""What the relay's metrics say of bids that are not archived."""

import asyncio

from pkg.api.relay.metrics import RelayMetrics
from pkg.api.relay.outbox import Outbox, OutboxState
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.runtime.background import ended
from pkg.trials.waiting import until

NOW_MS = 1_000_000


class GivenOutbox(Outbox):
    def __init__(self, *states: OutboxState) -> None:
        self._states = {f"p{number:02d}": each for number, each in enumerate(states)}
        self.partitions = list(self._states)

    async def state(self, partition: str) -> OutboxState:
        return self._states[partition]


def state(
    depth: int, first: OutboxId | None, *, retired: int = 0, retired_from: OutboxId = BEGINNING
) -> OutboxState:
    return OutboxState(
        depth=depth,
        first_unarchived=first,
        archived_to=BEGINNING,
        retired=retired,
        retired_from=retired_from,
        now_ms=NOW_MS,
    )


async def test_depth_and_age_count_what_only_jetstream_holds() -> None:
    metrics = RelayMetrics(holds_lease=lambda: True)
    outbox = GivenOutbox(
        state(0, None),
        state(3, OutboxId(990_000, 0)),
        state(3, OutboxId(990_000, 0), retired=7, retired_from=OutboxId(400_000, 0)),
        state(0, None, retired=2, retired_from=OutboxId(700_000, 0)),
        state(1, OutboxId(100_000, 0), retired=2, retired_from=OutboxId(700_000, 0)),
    )

    watching = asyncio.create_task(metrics.watch(outbox))
    await until(lambda: len(metrics.age_s) == len(outbox.partitions), within_s=5)
    await ended(watching)

    assert list(metrics.entries.values()) == [0, 3, 3, 0, 1]
    assert list(metrics.depth.values()) == [0, 3, 10, 2, 3]
    assert list(metrics.age_s.values()) == [0, 10, 600, 300, 900]
