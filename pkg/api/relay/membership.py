"""The system that Redis and the stream belong to: they must name the same one.

Without it, a gateway given the wrong REDIS_URL or NATS_URL would mix two systems' bids.
"""

from collections.abc import Sequence

import nats.errors
from nats.js.errors import APIError
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from pkg.api.errors import OtherSystem, RedisUnavailable
from pkg.api.relay.event_stream import StreamUnavailableError
from pkg.api.relay.recovery_counts import RecoveryCounts
from pkg.auction.events import ArchiveState
from pkg.auction.keys import meta_key
from pkg.runtime import logs
from pkg.runtime.nats_link import NatsLink
from pkg.stores.redis_meta import OTHER_SYSTEM, RUN_ID
from pkg.stores.system import adopt_system, name_stream, new_system

log = logs.get("recovery")


class Membership:
    """Of the partitions ``names`` of one Redis."""

    id: str | None = None
    """The system that Redis belonged to when it was last read; ``None`` if to none yet."""

    def __init__(
        self, redis: Redis, link: NatsLink, names: Sequence[str], counts: RecoveryCounts
    ) -> None:
        self._redis = redis
        self._link = link
        self._names = names
        self._counts = counts
        self._logged: str | None = None

    async def refuse_other(self, found: str | None) -> None:
        """Closes Redis for bids if the stream belongs to another system.

        It opens by itself once it is back on the stream of its own.

        Raises:
            RedisUnavailable: Redis is away; call again.
            OtherSystem: it is closed.
        """
        if found is None or self.id is None:
            return
        if found == self.id:
            self._counts.other_system, self._logged = False, None
            return
        if self._logged != found:
            self._logged = found
            log.error(
                "Redis and the stream belong to different systems; bids are refused: "
                "check REDIS_URL and NATS_URL",
                redis=self.id,
                stream=found,
            )
        self._counts.other_system = True
        try:
            for name in self._names:
                await self._redis.hset(meta_key(name), RUN_ID, f"{OTHER_SYSTEM}{found}")
        except (RedisError, OSError) as error:
            raise RedisUnavailable from error
        raise OtherSystem

    async def join(self, found: str | None, archive: ArchiveState | None) -> None:
        """Sees to it that Redis and the stream, which belongs to ``found``, name the same system.

        Call it when the stream's history is known to be our own. If none has an id yet, one is made
        once the archive has said that it has none either.

        Raises:
            StreamUnavailableError, RedisUnavailable: a store is away; call again.
            OtherSystem: another process has just given Redis another id.
        """
        system = self.id or found
        if system is None and archive is not None:
            system = archive.system or new_system()
        if system is None:
            return
        if self.id is None:
            try:
                self.id = await adopt_system(self._redis, self._names, system)
            except ResponseError as error:  # its memory is full, which the relay will mend
                log.warning("Redis keeps no system id", why=str(error))
                return
            except (RedisError, OSError) as error:
                raise RedisUnavailable from error
            log.info("Redis belongs to a system now", system=self.id)
            await self.refuse_other(found)
        if found is None:
            await self._name_stream(self.id)

    async def _name_stream(self, system: str) -> None:
        try:
            await name_stream(self._link.jetstream, system)
        except APIError as error:
            # The stream works without it, as one of the previous release does.
            log.warning("the stream keeps no system id", why=str(error))
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise StreamUnavailableError(str(error)) from error
