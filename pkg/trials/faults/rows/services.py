"""Faults of our services: killed, paused, or two at work where one should be."""

import asyncio

from pkg.archival.consumer import ACK_WAIT_S
from pkg.auction.keys import RELAY_LEASE
from pkg.trials.faults.row import UNKNOWN, Row
from pkg.trials.faults.trial import Trial

ATTEMPTS = 5  # to make both relays publish at once
OUT_OF_STEP_S = 0.5  # half the interval between two requests for the lease


async def _api_killed(trial: Trial) -> None:
    for replica in trial.services.api:
        await trial.kill_and_restart(replica)


async def _broadcast_killed(trial: Trial) -> None:
    for replica in trial.services.broadcast:
        await trial.kill_and_restart(replica)


async def _archival_killed(trial: Trial) -> None:
    for replica in trial.services.archival:
        await trial.kill_and_restart(replica)


async def _relay_killed_before_trim(trial: Trial) -> None:
    """While the archivers are paused, no watermark is announced and nothing is trimmed."""
    for archiver in trial.services.archival:
        await archiver.process.pause()
    relay = await trial.services.relaying_gateway()
    await trial.hold(2, short_s=1)
    entries = await trial.outbox_entries()
    trial.note(f"{entries} entries were published but not trimmed.")
    trial.require(entries, "every entry was trimmed before the relay was killed")
    await relay.process.kill()
    for archiver in trial.services.archival:
        await archiver.process.resume()
    await relay.restart()


async def _relay_paused(trial: Trial) -> None:
    relay = await trial.services.relaying_gateway()
    await relay.process.pause()
    await trial.hold(13, short_s=5)  # the lease expires after 3 s
    other = await trial.services.relaying_gateway()
    await relay.process.resume()
    trial.require(other is not relay, "no other gateway relayed meanwhile")


async def _two_relays(trial: Trial) -> None:
    """A relay that lost the lease goes on for up to a second."""
    loop = asyncio.get_running_loop()
    before = await trial.services.metric_total("bid_relay_fenced_total")
    refused = 0.0
    for _ in range(ATTEMPTS):
        # Out of step: if both ask for the lease at the same time, only one ever relays.
        await trial.services.api[0].process.pause()
        await asyncio.sleep(OUT_OF_STEP_S)
        await trial.services.api[0].process.resume()
        until = loop.time() + (5 if trial.short else 20)
        async with trial.stores.redis_client() as redis:
            while loop.time() < until:
                await redis.delete(RELAY_LEASE)
                await asyncio.sleep(0.02)
        refused = await trial.services.metric_total("bid_relay_fenced_total") - before
        if refused:
            break
    trial.note(f"{refused:g} publishes were refused by the fence.")
    trial.require(refused, "the two relays never published at the same time")


async def _two_archivers(trial: Trial) -> None:
    """Each in turn is paused with unacknowledged messages until the other gets them too."""
    for archiver in list(trial.services.archival) * (1 if trial.short else 3):
        await archiver.process.pause()
        await asyncio.sleep(ACK_WAIT_S + 1.5)
        await archiver.process.resume()
        await asyncio.sleep(0.5)
    duplicates = await trial.services.metric_total("bid_archive_duplicates_total")
    trial.note(f"{duplicates:g} events were redelivered.")
    trial.require(duplicates, "nothing was delivered twice")


ROWS = (
    Row(
        name="api-killed",
        expects="The outcome of bids in flight is unknown; the other gateway keeps serving.",
        fault=_api_killed,
        may_fail=frozenset({UNKNOWN, "no connection"}),
    ),
    Row(
        name="broadcast-killed",
        expects="Viewers reconnect, get the current state, and then every event in order.",
        fault=_broadcast_killed,
    ),
    Row(
        name="archival-killed",
        expects="No visible effect. NATS redelivers its messages after the ack wait.",
        fault=_archival_killed,
    ),
    Row(
        name="relay-killed-before-trim",
        expects="Another gateway takes the lease within 3 s and publishes nothing twice.",
        fault=_relay_killed_before_trim,
        may_fail=frozenset({UNKNOWN, "no connection"}),
    ),
    Row(
        name="relay-paused",
        expects="Another gateway takes the lease; the paused one notices when it resumes. Its "
        "own requests are answered late or not at all.",
        fault=_relay_paused,
        may_fail=frozenset({UNKNOWN, "no connection"}),
    ),
    Row(
        name="two-relays",
        expects="No visible effect: the fence lets only one relay publish at a time.",
        fault=_two_relays,
    ),
    Row(
        name="two-archivers",
        expects="No visible effect: events delivered twice or out of order are archived once.",
        fault=_two_archivers,
        archivers=2,
    ),
)
