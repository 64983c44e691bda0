"""Which system each store belongs to; a restore between two systems would mix their bids."""

from dataclasses import dataclass

from nats.js import JetStreamContext
from redis.asyncio import Redis

from pkg.archival.restore.archive_side import ArchiveSide
from pkg.stores.system import system_of_redis, system_of_stream


@dataclass(frozen=True, slots=True)
class Systems:
    """None: the store names no system."""

    redis: str | None = None
    stream: str | None = None
    archive: str | None = None

    @property
    def agreed(self) -> str | None:
        return self.redis or self.archive or self.stream

    @property
    def refusal(self) -> str | None:
        """Why nothing may be restored; None if they belong together."""
        places = (("Redis", self.redis), ("JetStream", self.stream), ("PostgreSQL", self.archive))
        known = [(place, system) for place, system in places if system]
        if len({system for _, system in known}) <= 1:
            return None
        named = ", ".join(f"{place}: {system}" for place, system in known)
        return (
            f"The stores belong to different systems ({named}). "
            "Check REDIS_URL, NATS_URL and POSTGRES_URL."
        )


async def read_systems(
    redis: Redis, names: list[str], archive: ArchiveSide | None, jetstream: JetStreamContext
) -> Systems:
    """``archive`` is None if it has no schema yet.

    Raises redis.exceptions.RedisError, asyncpg.PostgresError, nats.errors.Error, OSError.
    """
    return Systems(
        redis=await system_of_redis(redis, names),
        stream=await system_of_stream(jetstream),
        archive=await archive.system() if archive else None,
    )
