"""Many bidders on one item at once, through the whole system."""

import asyncio
import random
from decimal import Decimal
from itertools import pairwise

import pytest

from pkg.trials.waiting import until
from tests.integration.processes import Services
from tests.integration.providers import Stores
from tests.integration.system.clients import archived, place_bids, viewers

BIDS = 2000
CONNECTIONS = 50
VIEWERS = 20


def contended_amounts(seed: int) -> list[Decimal]:
    """Rising, but shuffled so that most meet a higher bid and some an equal one."""
    chance = random.Random(seed)
    return [Decimal(n * 10 + chance.randrange(400) + 1) / 100 for n in range(BIDS)]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "strategies",
    [["lua"], ["optimistic"], ["lua", "optimistic"]],
    ids=["lua", "optimistic", "mixed"],
)
async def test_2000_bids_on_one_item_are_decided_broadcast_and_archived_once(
    services: Services, stores: Stores, strategies: list[str]
) -> None:
    archival = await services.archival()
    api = await services.api(replicas=2)
    broadcast = await services.broadcast()
    amounts = contended_amounts(seed=len(strategies[0]))

    async with viewers(broadcast, "vase", VIEWERS) as audience:
        ledger = await place_bids(
            api, "vase", amounts, connections=CONNECTIONS, strategies=strategies
        )
        accepted = sorted(ledger.accepted)
        last = accepted[-1].seq
        await until(
            lambda: all(one.seq >= last for one in audience),
            within_s=20,
            log=lambda: broadcast.log + api.log,
        )

    # Decided: amounts strictly rise and seqs have no gap.
    assert len(ledger.accepted) + ledger.too_low + ledger.busy == BIDS
    assert [bid.seq for bid in accepted] == list(range(1, len(accepted) + 1))
    assert all(lower.amount < higher.amount for lower, higher in pairwise(accepted))
    assert accepted[-1].amount == max(bid.amount for bid in accepted)
    if not ledger.busy:
        assert accepted[-1].amount == max(amounts)
    assert len(accepted) >= BIDS / CONNECTIONS  # the best of each turn beats all before it
    # Broadcast: every viewer got exactly these bids.
    assert all(one.greeting["seq"] == 0 for one in audience)
    assert all(one.bids == accepted for one in audience)
    # Archived: each once.
    await until(lambda: _is_archived(stores, len(accepted)), within_s=20, log=lambda: archival.log)
    assert await archived(stores.postgres_url, "vase") == accepted
    code, report, stderr = await services.run("archival", "audit", "--json")
    assert code == 0, report + stderr


async def _is_archived(stores: Stores, count: int) -> bool:
    return len(await archived(stores.postgres_url, "vase")) >= count


@pytest.mark.timeout(90)
async def test_viewer_that_joins_during_a_burst_gets_exactly_the_later_bids(
    services: Services,
) -> None:
    api = await services.api()
    broadcast = await services.broadcast()
    amounts = [Decimal(n) / 100 for n in range(1, 801)]
    before = await place_bids(api, "vase", amounts[:200], connections=1, strategies=["lua"])

    async with viewers(broadcast, "vase", 3) as early:
        burst = asyncio.create_task(
            place_bids(api, "vase", amounts[200:], connections=1, strategies=["lua"])
        )
        await until(lambda: early[0].seq > 300, within_s=20, log=lambda: broadcast.log)
        async with viewers(broadcast, "vase", 5) as late:
            ledger = await burst
            accepted = sorted(before.accepted + ledger.accepted)
            last = accepted[-1].seq
            await until(
                lambda: all(one.seq >= last for one in [*early, *late]),
                within_s=20,
                log=lambda: broadcast.log,
            )

    for one in late:
        assert one.greeting["seq"] >= 300
        assert one.greeting["current_bid"] == accepted[one.greeting["seq"] - 1].amount
    for one in [*early, *late]:
        assert one.bids == accepted[one.greeting["seq"] :]
