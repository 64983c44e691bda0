"""Whether a Redis is open for bids: what its server and the ``meta`` of its partitions say."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pkg.auction.keys import meta_key
from pkg.stores.epochs import Epoch, parse_epoch
from pkg.stores.redis_meta import (
    EPOCH,
    OTHER_SYSTEM,
    PARTITIONS,
    RUN_ID,
    SUCCEEDS,
    SUPERSEDED,
    SYSTEM,
    Executes,
    NotOpenError,
    OtherSystemError,
    SupersededError,
    require_primary,
    server_run_id,
)

_FIELDS = (RUN_ID, EPOCH, SUCCEEDS, SYSTEM)


@dataclass(frozen=True, slots=True)
class Opening:
    """What was found at one look at one server's partitions."""

    run_id: str
    """The server's own, of now."""
    recorded: Mapping[str, str]
    """By partition; ``""`` if nothing is recorded as run id."""
    epochs: Mapping[str, Epoch]
    system: str | None
    """The system that this Redis belongs to, if it names one."""

    @property
    def emptied(self) -> bool:
        """Whether a partition was never opened, or its record is gone."""
        return not all(self.recorded.values())

    @property
    def superseded(self) -> bool:
        """Whether another Redis was opened after this one."""
        return any(each.startswith(SUPERSEDED) for each in self.recorded.values())

    @property
    def of_other_system(self) -> bool:
        """Whether the stream that its relay found belongs to another system."""
        return any(each.startswith(OTHER_SYSTEM) for each in self.recorded.values())

    @property
    def open_on(self) -> tuple[str, ...]:
        """The partitions opened on this very server."""
        return tuple(
            name for name, each in self.recorded.items() if each.partition(":")[0] == self.run_id
        )

    @property
    def open(self) -> bool:
        """Whether bids may be placed: all partitions were opened on this server, and together."""
        return len(self.open_on) == len(self.recorded) and len(set(self.recorded.values())) == 1

    def require(self) -> str:
        """Returns what is recorded as run id if bids may be placed.

        Raises:
            NotOpenError: the server restarted, failed over or was emptied, and is not recovered
                yet.
            SupersededError: another Redis was opened after this one.
            OtherSystemError: the stream belongs to another system.
        """
        if self.superseded:
            raise SupersededError("another Redis was opened after this one")
        if self.of_other_system:
            raise OtherSystemError("the stream belongs to another system: check NATS_URL")
        if not self.open:
            closed = ", ".join(name for name in self.recorded if name not in self.open_on)
            raise NotOpenError(
                f"{closed} not open on server {self.run_id}"
                if closed
                else "the partitions are just being opened"
            )
        return next(iter(self.recorded.values()))


async def read_opening(redis: Executes, names: Sequence[str]) -> Opening:
    """``names``: the partitions that this server holds.

    Raises:
        NotOpenError: the server is a replica. redis.exceptions.RedisError: Redis is away.
    """
    await require_primary(redis)
    run_id = await server_run_id(redis)
    recorded, epochs, systems = {}, {}, []
    for name in names:
        opening, *epoch, system = await redis.execute_command("HMGET", meta_key(name), *_FIELDS)
        recorded[name] = _text(opening) or ""
        epochs[name] = parse_epoch(*epoch)
        systems.append(_text(system))
    return Opening(run_id, recorded, epochs, systems[0])


async def require_open(redis: Executes, names: Sequence[str]) -> str:
    """Returns what is recorded as run id if bids may be placed.

    Raises what ``read_opening`` and ``Opening.require`` do.
    """
    return (await read_opening(redis, names)).require()


async def open_partitions(
    redis: Executes, names: Sequence[str], run_id: str, *, partitions: int
) -> None:
    """Opens the partitions for bids. Call it when nothing is left to put back.

    ``partitions`` is how many there are, of all servers.
    """
    opening = f"{run_id}:{secrets.token_hex(4)}"
    for name in names:
        await redis.execute_command(
            "HSET", meta_key(name), PARTITIONS, str(partitions), RUN_ID, opening
        )


def _text(value: bytes | str | None) -> str | None:
    return value.decode() if isinstance(value, bytes) else value
