"""Settings of the gateway and of the relay, which also runs alone."""

from dataclasses import dataclass

from pkg.auction.bid import Strategy
from pkg.runtime.settings.loading import setting
from pkg.runtime.settings.parsers import Address, address, flag, one_of, seconds, whole
from pkg.runtime.settings.sections import (
    ItemSettings,
    LogSettings,
    NatsSettings,
    OriginSettings,
    RedisSettings,
    ServingSettings,
)


@dataclass(frozen=True, kw_only=True)
class RelaySettings(LogSettings, ServingSettings, RedisSettings, NatsSettings, ItemSettings):
    """Settings of ``python -m pkg.api relay``."""

    relay_linger_max_ms: int = setting(
        whole(0, 1000),
        default=10,
        what="maximum milliseconds the relay waits under load to fill a batch",
    )
    outbox_max_entries: int = setting(
        whole(1, 100_000_000),
        default=100_000,
        what="maximum entries in one partition's outbox; beyond that, bids get 503; beyond half of "
        "it, the oldest leave if JetStream holds them",
    )
    stream_keep_s: float = setting(
        seconds(1, 365 * 24 * 3600),
        default=24 * 3600.0,
        what="seconds for which the stream keeps what is archived, if it has room",
    )
    resend_after_s: float = setting(
        seconds(1, 24 * 3600),
        default=60.0,
        what="seconds the archive's watermark may stand still, with nothing left to deliver, "
        "before the partition's outbox is published again",
    )
    recovery_wait_s: float = setting(
        seconds(0, 3600),
        default=10.0,
        what="seconds to wait for NATS after Redis restarted; then Redis opens without the stream",
    )
    archive_hearing_s: float = setting(
        seconds(0, 60),
        default=1.5,
        what="seconds to wait for the archive's watermarks before a Redis that is not empty opens; "
        "0: do not wait",
    )


@dataclass(frozen=True, kw_only=True)
class ApiSettings(RelaySettings, OriginSettings):
    """Settings of ``python -m pkg.api``."""

    server_addr: Address = setting(  # noqa: RUF009 - a field of a frozen value
        address, default=Address(port=8080), what="address of the HTTP API"
    )
    max_connections: int = setting(
        whole(1, 1_000_000),
        default=19_000,  # containers and some machines allow 20,000 open files
        what="maximum concurrent HTTP connections; further ones are closed",
    )
    bid_strategy: str = setting(
        one_of(*Strategy),
        default=Strategy.LUA.value,
        what="how bids are written: lua or optimistic",
    )
    bid_strategy_override: bool = setting(
        flag,
        default=False,
        what="whether the header X-Bid-Strategy may select the other strategy (true in dev)",
    )
    redis_queue_max: int = setting(
        whole(16, 1_000_000),
        default=10_000,
        what="maximum commands awaiting replies on one Redis connection",
    )
    items_max: int = setting(
        whole(1, 100_000_000),
        default=50_000,
        what="maximum items in one partition of Redis; beyond that, bids on new items get 503",
    )
    redis_min_replicas: int = setting(
        whole(0, 5),
        default=0,
        what="number of replicas that must have a bid before it is answered (WAIT)",
    )
    optimistic_connections: int = setting(
        whole(1, 256),
        default=8,
        what="number of Redis connections for optimistic rounds, where these can be chosen",
    )
    optimistic_queue_max: int = setting(
        whole(1, 100_000), default=1_000, what="maximum rounds waiting for one of those connections"
    )
    optimistic_tries: int = setting(
        whole(1, 1_000), default=20, what="maximum rounds per bid; then it is answered 503"
    )
    price_cache_items: int = setting(
        whole(0, 10_000_000),
        default=10_000,
        what="maximum items per Redis connection whose last price is cached to refuse low bids",
    )
    witnessed_bids: int = setting(
        whole(0, 1_000_000),
        default=20_000,
        what="accepted bids that a gateway remembers, to report those that Redis lost",
    )
    relay_enabled: bool = setting(
        flag,
        default=True,
        what="whether this process may relay (false if the relay runs separately)",
    )

    @property
    def strategies(self) -> tuple[Strategy, ...]:
        """The strategies that a bid may be placed by."""
        return tuple(Strategy) if self.bid_strategy_override else (Strategy(self.bid_strategy),)
