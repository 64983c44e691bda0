"""Runs a history from a seed: bids, answers, crashes and data loss, then recovery."""

import asyncio
import random
from collections.abc import Callable

from tests.unit.model.system import Stores, System
from tests.unit.model.troubles import Troubles
from tests.unit.model.turns import Turns
from tests.unit.model.virtual_time import VirtualLoop
from tests.unit.model.world import Violation, World

STEPS = 250
HEALING_S = 600.0
OPERATOR_AFTER_S = 60.0
_SHOWN = 70


def search(seed: int, stores: Stores | None = None) -> list[str]:
    """Runs one history, then repairs everything; returns the trace.

    Raises:
        Violation: a promise was broken. The message ends with the last steps.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        return runner.run(_run(seed, loop, stores or Stores()))


async def _run(seed: int, loop: VirtualLoop, stores: Stores) -> list[str]:
    world = World(loop, random.Random(seed))
    system = System(world, stores)
    turns = Turns(system, lossy=world.chance.choice([0.0, 0.1, 0.3]))
    try:
        await _run_steps(system, turns)
        await _heal(system, turns)
    except Violation as violation:
        shown = "\n".join(world.trace[-_SHOWN:])
        raise Violation(f"seed {seed}: {violation}\n{shown}") from None
    finally:
        await system.end()
    return world.trace


async def _run_steps(system: System, turns: Turns) -> None:
    troubles = Troubles(system)
    weights: dict[Callable[[], None], float] = {
        turns.answer: 10.0,
        turns.deliver: 4.0,
        turns.deliver_notice: 4.0,
        turns.bid: 1.5,
        turns.pass_time: 1.5,
        turns.change_leases: 0.3,
        troubles.replicate: 0.3,
    }
    world = system.world
    kinds = [
        troubles.late_call_arrives,
        troubles.crash_relay,
        troubles.crash_worker,
        troubles.pass_long_time,
        troubles.toggle_redis,
        troubles.toggle_nats,
        troubles.toggle_postgres,
        troubles.delete_stream,
        troubles.cut_tail,
        troubles.remove_message,
        troubles.forget,
        troubles.sync_redis,
        world.chance.choice([troubles.promote, troubles.forge_watermark]),
    ]
    # Each history has only some kinds of trouble, so that they do not mask each other.
    weights |= {kind: 0.25 for kind in kinds if system.world.chance.random() < 0.5}
    turns.change_leases()
    for _ in range(STEPS):
        await system.settle()
        system.world.chance.choices(list(weights), list(weights.values()))[0]()
        system.promises.check()


async def _heal(system: System, turns: Turns) -> None:
    """Repairs everything and gives one relay of each Redis the lease; all surviving events must be
    archived. Runs ``restore`` where a Redis waits for it.
    """
    world, promises = system.world, system.promises
    world.note("healed")
    world.away.clear()
    world.late.clear()
    turns.lossy = 0.0
    for relay in system.relays:
        relay.lease.take()
    for server in system.servers:
        relays = [each for each in system.relays if each.redis is server]
        world.chance.choice(relays).lease.give()
    system.reconnect()
    began = world.loop.time()
    while world.loop.time() < began + HEALING_S and not system.is_whole():
        await system.settle()
        if not turns.drain():
            world.loop.jump(0.5)
        if world.loop.time() > began + OPERATOR_AFTER_S:
            system.operate()
        promises.check()
    promises.all_is_archived()
    if left := system.in_use():
        raise Violation(f"archived but still in the outbox: {len(left)} events")
