"""Settings of the gateway and of the relay, which also runs alone."""

from dataclasses import dataclass

from pkg.auction.bid import Strategy
from pkg.runtime.settings.loading import setting
from pkg.runtime.settings.parsers import Address, address, flag, one_of, seconds, whole
from pkg.runtime.settings.sections import (
    LogSettings,
    NatsSettings,
    OriginSettings,
    RedisSettings,
    ServingSettings,
)


@dataclass(frozen=True, kw_only=True)
class RelaySettings(LogSettings, ServingSettings, RedisSettings, NatsSettings):
    """What ``python -m pkg.api relay`` reads."""

    relay_linger_max_ms: int = setting(
        whole(0, 1000), default=10, what="milliseconds the relay waits for more under load"
    )
    outbox_retention_s: float = setting(
        seconds(1, 12 * 3600),
        default=600.0,
        what="seconds after which an unarchived entry that JetStream holds may leave the outbox",
    )

    resend_after_s: float = setting(
        seconds(1, 24 * 3600),
        default=60.0,
        what="seconds a watermark may stand still, nothing pending, before all is published again",
    )
    recovery_wait_s: float = setting(
        seconds(0, 3600),
        default=10.0,
        what="seconds a Redis that forgot waits for NATS before it opens without the stream",
    )
    archive_hearing_s: float = setting(
        seconds(0, 60),
        default=1.5,
        what="seconds the archive is listened for before Redis opens; RECOVERY_WAIT_S for an empty "
        "Redis; 0: not at all",
    )


@dataclass(frozen=True, kw_only=True)
class ApiSettings(RelaySettings, OriginSettings):
    """What ``python -m pkg.api`` reads."""

    server_addr: Address = setting(  # noqa: RUF009 - a field of a frozen value
        address, default=Address(port=8080), what="where HTTP is served"
    )
    max_connections: int = setting(
        whole(1, 1_000_000), default=20_000, what="HTTP connections at once; more are cut"
    )
    bid_strategy: str = setting(
        one_of(*Strategy), default=Strategy.LUA.value, what="how a bid is written"
    )
    bid_strategy_override: bool = setting(
        flag, default=False, what="whether X-Bid-Strategy may choose another (true in dev)"
    )
    redis_queue_max: int = setting(
        whole(16, 1_000_000), default=10_000, what="commands that may wait on one Redis connection"
    )
    outbox_max_entries: int = setting(
        whole(1, 100_000_000), default=100_000, what="entries of one partition's outbox; then 503"
    )
    redis_min_replicas: int = setting(
        whole(0, 5), default=0, what="replicas that must have a bid before it is answered (WAIT)"
    )
    optimistic_connections: int = setting(
        whole(1, 256), default=8, what="connections on which optimistic rounds run"
    )
    optimistic_queue_max: int = setting(
        whole(1, 100_000), default=1_000, what="rounds that may wait on one of those"
    )
    optimistic_tries: int = setting(
        whole(1, 1_000), default=20, what="rounds a bid gets before it is answered 503"
    )
    price_cache_items: int = setting(
        whole(0, 10_000_000), default=10_000, what="items whose last seen price may refuse a bid"
    )
    witnessed_bids: int = setting(
        whole(0, 1_000_000),
        default=20_000,
        what="accepted bids that a process remembers, to name those that Redis forgot",
    )
    relay_enabled: bool = setting(
        flag, default=True, what="whether this process may relay (false where a relay runs alone)"
    )
