"""What the gateway counts: plain ints on the hot path, families at a scrape."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import Metric

from pkg.api.bidding.optimistic import RoundCounts
from pkg.api.bidding.prices import PriceCounts
from pkg.runtime.metrics import Buckets, counter, gauge, labelled_counter


@dataclass
class GatewayMetrics:
    """Counts of one gateway process. ``in_flight`` returns the commands awaiting a reply."""

    prices: PriceCounts
    rounds: RoundCounts
    in_flight: Callable[[], int]
    connects: Callable[[], int]
    redis_refusals: Mapping[str, int]
    """Commands of bids that Redis refused, by the first word of its error."""
    connections: Callable[[], tuple[int, int]] = lambda: (0, 0)
    """HTTP connections now, and those cut at MAX_CONNECTIONS so far."""
    returning: Callable[[], tuple[int, int]] = lambda: (0, 0)
    """Items that came back from the archive, and look-ups in it that failed."""
    witness: Callable[[], tuple[int, int]] = lambda: (0, 0)
    """Bids that Redis forgot, and bids dropped because a partition's list in Redis was full."""

    accepted: int = 0
    refused: int = 0
    reads: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    bid_seconds: Buckets = field(default_factory=Buckets)
    read_seconds: Buckets = field(default_factory=Buckets)

    def count_bid(self, seconds: float, *, accepted: bool) -> None:
        self.bid_seconds.observe(seconds)
        if accepted:
            self.accepted += 1
        else:
            self.refused += 1

    def count_read(self, seconds: float) -> None:
        self.reads += 1
        self.read_seconds.observe(seconds)

    def count_error(self, code: str) -> None:
        self.errors[code] = self.errors.get(code, 0) + 1

    def collect(self) -> Iterable[Metric]:
        outcomes = {"accepted": self.accepted, "too_low": self.refused, "read": self.reads}
        yield labelled_counter(
            "bid_requests_total",
            "Requests for items and bids, by outcome; an error counts under its code",
            "outcome",
            outcomes | self.errors,
        )
        yield counter("bid_accepted_total", "Bids accepted", self.accepted)
        yield self.bid_seconds.family(
            "bid_place_seconds", "Time from reading a bid's headers to its answer"
        )
        yield self.read_seconds.family("bid_item_read_seconds", "The same for reads of an item")
        yield counter(
            "bid_price_cache_hits_total",
            "Bids refused from the price cache, without asking Redis",
            self.prices.hits,
        )
        yield counter(
            "bid_price_cache_evictions_total",
            "Items evicted from a price cache at PRICE_CACHE_ITEMS",
            self.prices.evictions,
        )
        yield counter(
            "bid_optimistic_retries_total",
            "Optimistic rounds that had to be repeated",
            self.rounds.retries,
        )
        yield counter(
            "bid_optimistic_exhausted_total",
            "Bids answered 503 after OPTIMISTIC_TRIES rounds",
            self.rounds.exhausted,
        )
        yield gauge("bid_redis_in_flight", "Commands awaiting a reply", self.in_flight())
        now, refused = self.connections()
        yield gauge("bid_connections", "Open HTTP connections", now)
        yield counter(
            "bid_connections_refused_total", "HTTP connections closed at MAX_CONNECTIONS", refused
        )
        yield labelled_counter(
            "bid_redis_refusals_total",
            "Commands of bids that Redis refused, by the first word of its error",
            "error",
            self.redis_refusals,
        )
        forgotten, dropped = self.witness()
        yield counter(
            "bid_forgotten_bids_total",
            "Accepted bids that Redis lacked when it came back; may be more (alarm: run audit)",
            forgotten,
        )
        yield counter(
            "bid_witnessed_dropped_total",
            "Remembered bids not written to Redis because their partition's list was full",
            dropped,
        )
        returned, failed = self.returning()
        yield counter(
            "bid_items_returned_total", "Items that came back to Redis from the archive", returned
        )
        yield counter(
            "bid_archive_lookups_failed_total",
            "Items that were looked up in the archive in vain, as it did not answer",
            failed,
        )
        yield counter(
            "bid_redis_connects_total", "Redis connections opened for bids", self.connects()
        )
