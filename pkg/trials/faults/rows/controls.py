"""Promises broken on purpose: if one of these rows passes, the bench notices nothing."""

from redis.asyncio import Redis

from pkg.trials.faults.row import Row
from pkg.trials.faults.trial import Trial
from pkg.trials.waiting import until


async def entry_removed(trial: Trial) -> None:
    """Removes an outbox entry that was not relayed, as a relay that trims too early would."""
    await trial.stores.nats.stop()
    async with trial.stores.redis_client() as redis:
        before = await _last_entries(redis)
        since: list[tuple[str, str]] = []

        async def waits() -> bool:
            # Earlier entries may be in the stream already, and removing them loses nothing.
            since[:] = (await _last_entries(redis)).items() - before.items()
            return bool(since)

        await until(waits, within_s=10, what="an event waits in an outbox")
        key, entry = since[0]
        await redis.xdel(key, entry)
    trial.note(f"Entry {entry} was taken out.")
    await trial.stores.nats.start()


async def _last_entries(redis: Redis) -> dict[str, str]:
    """The id of each outbox's last entry, by its key."""
    return {
        str(key): str(last[0][0])
        async for key in redis.scan_iter("{p*}:outbox")
        if (last := await redis.xrevrange(key, count=1))
    }


ROWS = (
    Row(
        name="control-entry-removed",
        expects="A control, which has to fail: an event not relayed yet leaves the outbox.",
        fault=entry_removed,
        control=True,
    ),
)
