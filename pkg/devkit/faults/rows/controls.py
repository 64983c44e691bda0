"""Promises broken by hand. A bench that lets one of these pass would prove nothing."""

from pkg.devkit.faults.row import Row
from pkg.devkit.faults.scene import Scene
from pkg.devkit.faults.waiting import until


async def entry_removed(scene: Scene) -> None:
    """What a relay that trims too early would do: the event is in no store any more."""
    await scene.stores.nats.stop()
    await until(scene.outbox_entries, within_s=10, what="an event waits in an outbox")
    async with scene.stores.asking_redis() as redis:
        waiting = [key async for key in redis.scan_iter("{p*}:outbox") if await redis.xlen(key)]
        entry = (await redis.xinfo_stream(waiting[0]))["last-entry"][0]
        await redis.xdel(waiting[0], entry)
    scene.note(f"Entry {entry} was taken out.")
    await scene.stores.nats.start()


ROWS = (
    Row(
        name="control-entry-removed",
        expects="A control, which has to fail: an event not relayed yet leaves the outbox.",
        fault=entry_removed,
        control=True,
    ),
)
