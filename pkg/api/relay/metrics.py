"""What the relay counts, and how full the outboxes are."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from prometheus_client.core import Metric

from pkg.api.errors import ApiError
from pkg.api.relay.idle_items import IdleCounts
from pkg.api.relay.item_walk import ItemCounts
from pkg.api.relay.outbox import Outbox
from pkg.api.relay.recovery_counts import RecoveryCounts
from pkg.runtime.metrics import SIZE_BOUNDS, Buckets, counter, gauge, labelled_gauge

LOOK_EVERY_S = 1.0


@dataclass
class RelayMetrics:
    """Counts of one process. Without the lease only the gauges of the outbox change."""

    holds_lease: Callable[[], bool]
    recovery: RecoveryCounts = field(default_factory=RecoveryCounts)
    items: ItemCounts = field(default_factory=ItemCounts)
    idle: IdleCounts = field(default_factory=IdleCounts)
    events: int = 0
    failures: int = 0
    restarts: int = 0
    fenced: int = 0
    resends: int = 0
    retired: int = 0
    watermarks_refused: int = 0
    foreign_messages: int = 0
    stream_bytes: int = 0
    purged: int = 0
    batch_events: Buckets = field(default_factory=lambda: Buckets(SIZE_BOUNDS))
    lag_seconds: Buckets = field(default_factory=Buckets)
    entries: dict[str, float] = field(default_factory=dict)
    depth: dict[str, float] = field(default_factory=dict)
    age_s: dict[str, float] = field(default_factory=dict)

    def relayed(self, count: int, *, oldest_ms: int) -> None:
        """A batch was stored; ``oldest_ms`` is when its first event was accepted (Redis' clock)."""
        self.events += count
        self.batch_events.observe(count)
        self.lag_seconds.observe(max(0.0, time.time() - oldest_ms / 1000))

    async def watch(self, outbox: Outbox) -> None:
        """Measures the outboxes every second until cancelled; skips while Redis is away."""
        while True:
            for partition in outbox.partitions:
                try:
                    state = await outbox.state(partition)
                except ApiError:
                    break
                self.entries[partition] = state.depth
                self.depth[partition] = state.depth + state.retired
                oldest = state.oldest
                age_s = (state.now_ms - oldest.ms) / 1000 if oldest else 0.0
                self.age_s[partition] = max(0.0, age_s)
            await asyncio.sleep(LOOK_EVERY_S)

    def collect(self) -> Iterable[Metric]:
        yield gauge("bid_relay_leader", "1 if this process relays", float(self.holds_lease()))
        yield counter("bid_relay_events_total", "Events stored in JetStream", self.events)
        yield counter(
            "bid_relay_failures_total",
            "Relay turns that failed because of Redis or NATS",
            self.failures,
        )
        yield counter(
            "bid_relay_restarts_total",
            "Times the relay was restarted after an error that nobody foresaw (alarm: report it)",
            self.restarts,
        )
        yield counter(
            "bid_relay_fenced_total",
            "Publishes refused because another relay had published",
            self.fenced,
        )
        yield counter(
            "bid_relay_resends_total",
            "Times a partition was published again because the archive was stuck",
            self.resends,
        )
        yield counter(
            "bid_retired_total",
            "Entries that left a filling outbox unarchived, as JetStream holds them",
            self.retired,
        )
        yield counter(
            "bid_watermarks_refused_total",
            "Watermarks beyond all that was stored, or of no possible epoch; none trimmed (alarm)",
            self.watermarks_refused,
        )
        yield counter(
            "bid_foreign_messages_total",
            "Messages at the end of the stream that are not of the outbox (alarm)",
            self.foreign_messages,
        )
        yield gauge("bid_stream_bytes", "Bytes in the stream", float(self.stream_bytes))
        yield counter(
            "bid_stream_purged_total",
            "Archived messages removed from the stream after STREAM_KEEP_S, or to make room",
            self.purged,
        )
        yield counter(
            "bid_recoveries_total",
            "Times Redis was opened for bids: at first start and after each restart",
            self.recovery.recoveries,
        )
        yield counter(
            "bid_recovered_bids_total",
            "Bids that Redis had lost and that were put back from JetStream",
            self.recovery.put_back,
        )
        yield counter(
            "bid_recovery_conflicts_total",
            "Bids in JetStream that contradict later bids in Redis (alarm)",
            self.recovery.refused,
        )
        yield counter(
            "bid_recoveries_without_stream_total",
            "Times Redis was opened while NATS was down (alarm: bids may conflict)",
            self.recovery.without_stream,
        )
        yield gauge(
            "bid_redis_superseded",
            "1 while bids are refused because another Redis was opened after this one (alarm)",
            float(self.recovery.superseded),
        )
        yield gauge(
            "bid_other_system",
            "1 while work stops because the stores belong to different systems (alarm)",
            float(self.recovery.other_system),
        )
        yield gauge(
            "bid_restore_needed",
            "1 while Redis lacks bids that the stream no longer holds (alarm: run restore)",
            float(self.recovery.waiting_for_restore),
        )
        yield labelled_gauge(
            "bid_items",
            "Items that a partition has in Redis (alarm)",
            "partition",
            self.items.items,
        )
        yield counter(
            "bid_items_corrected_total",
            "By how many the counts of items were off when they were counted again",
            self.items.corrected,
        )
        yield counter(
            "bid_items_departed_total",
            "Items that left Redis after ITEM_IDLE_S without a bid",
            self.idle.departed,
        )
        yield counter(
            "bid_items_kept_total",
            "Times an idle item stayed in Redis because the archive does not have it as it is",
            self.idle.kept,
        )
        yield labelled_gauge(
            "bid_departed_filter_share",
            "Share of the bits of a partition's filter of departed items that are set",
            "partition",
            self.items.filter_share,
        )
        yield self.batch_events.family("bid_relay_batch_events", "Events per message")
        yield self.lag_seconds.family(
            "bid_relay_lag_seconds",
            "Time from accepting a batch's oldest event to storing the batch",
        )
        yield labelled_gauge(
            "bid_outbox_entries", "Entries in a partition's outbox", "partition", self.entries
        )
        yield labelled_gauge(
            "bid_outbox_depth",
            "Unarchived events of a partition, in the outbox or only in JetStream; may be fewer",
            "partition",
            self.depth,
        )
        yield labelled_gauge(
            "bid_outbox_age_seconds",
            "Age of the oldest unarchived event, in the outbox or only in JetStream",
            "partition",
            self.age_s,
        )
