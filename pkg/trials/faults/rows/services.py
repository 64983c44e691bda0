"""Faults of our own processes: killed, paused, or two where one should be."""

import asyncio

from pkg.auction.keys import RELAY_LEASE
from pkg.trials.faults.row import UNKNOWN, Row
from pkg.trials.faults.scene import Scene

REDELIVERED_WITHIN_S = 1.5  # so that sleeping with messages in hand need not take a minute
MEETINGS = 5  # attempts to make them meet
OUT_OF_STEP_S = 0.5  # half the interval between two requests for the lease


async def _api_killed(scene: Scene) -> None:
    for replica in scene.services.api:
        await scene.kill_and_restart(replica)


async def _broadcast_killed(scene: Scene) -> None:
    for replica in scene.services.broadcast:
        await scene.kill_and_restart(replica)


async def _archival_killed(scene: Scene) -> None:
    for replica in scene.services.archival:
        await scene.kill_and_restart(replica)


async def _relay_killed_before_trim(scene: Scene) -> None:
    """While the archivers sleep, no watermark is announced, so nothing published is trimmed."""
    for archiver in scene.services.archival:
        await archiver.process.pause()
    relay = await scene.services.relaying()
    await scene.hold(2, short_s=1)
    entries = await scene.outbox_entries()
    scene.note(f"{entries} entries were published and not trimmed.")
    scene.require(entries, "every entry was trimmed before the relay was killed")
    await relay.process.kill()
    for archiver in scene.services.archival:
        await archiver.process.resume()
    await relay.restart()


async def _relay_paused(scene: Scene) -> None:
    relay = await scene.services.relaying()
    await relay.process.pause()
    await scene.hold(13, short_s=5)  # the lease ends after 3
    other = await scene.services.relaying()
    await relay.process.resume()
    scene.require(other is not relay, "no other gateway relayed meanwhile")


async def _two_relays(scene: Scene) -> None:
    """A relay that has lost the lease believes for up to a second that it still holds it."""
    loop = asyncio.get_running_loop()
    before = await scene.services.counted("bid_relay_fenced_total")
    refused = 0.0
    for _ in range(MEETINGS):
        # Two that ask for the lease together notice at once who has it, and never meet.
        await scene.services.api[0].process.pause()
        await asyncio.sleep(OUT_OF_STEP_S)
        await scene.services.api[0].process.resume()
        until = loop.time() + (5 if scene.short else 20)
        async with scene.stores.asking_redis() as redis:
            while loop.time() < until:
                await redis.delete(RELAY_LEASE)
                await asyncio.sleep(0.02)
        refused = await scene.services.counted("bid_relay_fenced_total") - before
        if refused:
            break
    scene.note(f"{refused:g} publishes were refused at the fence.")
    scene.require(refused, "the two relays never met")


async def _two_archivers(scene: Scene) -> None:
    """In turn, each sleeps with messages in hand until the other has been given them too."""
    await scene.redeliver_within(REDELIVERED_WITHIN_S)
    for archiver in list(scene.services.archival) * (1 if scene.short else 3):
        await archiver.process.pause()
        await asyncio.sleep(2 * REDELIVERED_WITHIN_S)
        await archiver.process.resume()
        await asyncio.sleep(0.5)
    duplicates = await scene.services.counted("bid_archive_duplicates_total")
    scene.note(f"{duplicates:g} events were delivered again.")
    scene.require(duplicates, "nothing was delivered twice")


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
