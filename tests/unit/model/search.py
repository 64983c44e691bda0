"""A seed makes one history of bids, answers, crashes and disasters; then all is healed."""

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
_SHOWN = 70


def search(seed: int, stores: Stores | None = None) -> list[str]:
    """Runs one history, then heals everything; returns what happened.

    Raises:
        Violation: a promise was broken; it shows the history.
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
        await _happen(system, turns)
        await _heal(system, turns)
    except Violation as violation:
        shown = "\n".join(world.trace[-_SHOWN:])
        raise Violation(f"seed {seed}: {violation}\n{shown}") from None
    finally:
        await system.end()
    return world.trace


async def _happen(system: System, turns: Turns) -> None:
    weights: dict[Callable[[], None], float] = {
        turns.answer: 10.0,
        turns.deliver: 4.0,
        turns.hear: 4.0,
        turns.bid: 1.5,
        turns.pass_time: 1.5,
        turns.change_leases: 0.3,
    }
    troubles = Troubles(system)
    kinds = [
        troubles.let_late_one_arrive,
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
    ]
    # Each history has only some kinds of trouble, so that each kind gets its chance.
    weights |= {kind: 0.25 for kind in kinds if system.world.chance.random() < 0.5}
    turns.change_leases()
    for _ in range(STEPS):
        await system.settle()
        system.world.chance.choices(list(weights), list(weights.values()))[0]()
        system.stream.expire()
        system.promises.check()


async def _heal(system: System, turns: Turns) -> None:
    """Everything works again, one relay has the lease: all that is left is archived."""
    world, promises = system.world, system.promises
    world.note("healed")
    world.away.clear()
    world.late.clear()
    turns.lossy = 0.0
    for relay in system.relays:
        relay.lease.take()
    world.chance.choice(system.relays).lease.give()
    system.reconnect()
    until = world.loop.time() + HEALING_S
    while world.loop.time() < until and (promises.outstanding() or system.redis.held()):
        await system.settle()
        if not turns.work_off():
            world.loop.jump(0.5)
        promises.check()
    promises.all_is_archived()
    if left := system.redis.held():
        raise Violation(f"archived and still in the outbox: {len(left)} events")
