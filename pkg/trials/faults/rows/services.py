"""Faults of our services: killed, paused, or two at work where one should be."""

import asyncio

from pkg.auction.keys import RELAY_LEASE
from pkg.trials.faults.row import UNKNOWN, Row
from pkg.trials.faults.trial import Trial

REDELIVERED_WITHIN_S = 1.5  # otherwise a minute
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
    trial.note(f"{entries} entries were published and not trimmed.")
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
    trial.note(f"{refused:g} publishes were refused at the fence.")
    trial.require(refused, "the two relays never published at the same time")


async def _two_archivers(trial: Trial) -> None:
    """Each in turn is paused with unacknowledged messages until the other gets them too."""
    await trial.shorten_ack_wait(REDELIVERED_WITHIN_S)
    for archiver in list(trial.services.archival) * (1 if trial.short else 3):
        await archiver.process.pause()
        await asyncio.sleep(2 * REDELIVERED_WITHIN_S)
        await archiver.process.resume()
        await asyncio.sleep(0.5)
    duplicates = await trial.services.metric_total("bid_archive_duplicates_total")
    trial.note(f"{duplicates:g} events were delivered again.")
    trial.require(duplicates, "nothing was delivered twice")


ROWS = (
    Row(
        name="api-killed",
        expects="Bids in flight are of unknown outcome; the other gateway serves on.",
        fault=_api_killed,
        may_fail=frozenset({UNKNOWN, "no connection"}),
    ),
    Row(
        name="broadcast-killed",
        expects="Viewers reconnect, are greeted with the state, and go on in order.",
        fault=_broadcast_killed,
    ),
    Row(
        name="archival-killed",
        expects="Nobody notices. What it held comes again after the ack wait.",
        fault=_archival_killed,
    ),
    Row(
        name="relay-killed-before-trim",
        expects="Another gateway relays within the lease's 3 s, publishing nothing twice.",
        fault=_relay_killed_before_trim,
        may_fail=frozenset({UNKNOWN, "no connection"}),
    ),
    Row(
        name="relay-paused",
        expects="Another gateway relays; the one that wakes finds that its lease is over. What it "
        "was asked meanwhile is answered late or not at all.",
        fault=_relay_paused,
        may_fail=frozenset({UNKNOWN, "no connection"}),
    ),
    Row(
        name="two-relays",
        expects="Nobody notices: the fence lets one of them pass at a time.",
        fault=_two_relays,
    ),
    Row(
        name="two-archivers",
        expects="Nobody notices: what is delivered twice or out of order is archived once.",
        fault=_two_archivers,
        archivers=2,
    ),
)
