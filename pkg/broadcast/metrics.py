from collections.abc import Callable, Iterable

from prometheus_client.core import Metric

from pkg.broadcast.viewer import Mode
from pkg.runtime.metrics import (
    Buckets,
    counter,
    gauge,
    labelled_counter,
    labelled_gauge,
)


class Counts:
    """Counts since the start. Plain ints, because the fan-out increments them."""

    def __init__(self) -> None:
        self.viewers = dict.fromkeys(Mode, 0)
        self.viewers_behind = 0
        self.viewers_refused_full = 0
        self.viewers_refused_redis = 0
        self.slow_viewers_closed = 0
        self.flooding_viewers_closed = 0
        self.events_received = 0
        self.events_duplicate = 0
        self.events_undecodable = 0
        self.events_of_unknown_kind = 0
        self.batches_missed = 0
        self.inbox_dropped = 0
        self.frames_sent = 0
        self.frames_skipped = 0
        self.frames_conflated = 0
        self.snapshots_for_gap = 0
        self.snapshots_for_reset = 0
        self.snapshots_for_slow = 0
        self.snapshots_for_latest = 0
        self.gaps_filled = 0
        self.gaps_jumped = 0
        self.resets = 0
        self.fan_outs_collapsed = 0
        self.repair_reads = 0
        self.repair_reads_failed = 0
        self.delivery = Buckets()
        self.watched_items: Callable[[], int] = lambda: 0
        self.lookups_failed: Callable[[], int] = lambda: 0

    def collect(self) -> Iterable[Metric]:
        yield labelled_gauge(
            "bid_viewers",
            "Connected viewers, by mode",
            "mode",
            {mode.value: count for mode, count in self.viewers.items()},
        )
        yield gauge(
            "bid_viewers_behind",
            "Viewers whose buffer is full; they get a snapshot once it drains",
            self.viewers_behind,
        )
        yield labelled_counter(
            "bid_viewers_refused_total",
            "Viewers refused with 503: MAX_VIEWERS reached, or the item could not be read",
            "reason",
            {"full": self.viewers_refused_full, "redis": self.viewers_refused_redis},
        )
        yield counter(
            "bid_slow_viewers_closed_total",
            "Viewers closed with 1013 because their buffer did not drain within SLOW_VIEWER_S",
            self.slow_viewers_closed,
        )
        yield counter(
            "bid_flooding_viewers_closed_total",
            "Viewers closed with 1008 because they sent more than VIEWER_MESSAGES_PER_S",
            self.flooding_viewers_closed,
        )
        yield counter(
            "bid_archive_lookups_failed_total",
            "Items that were looked up in the archive in vain, as it did not answer",
            self.lookups_failed(),
        )
        yield gauge("bid_watched_items", "Items with at least one viewer", self.watched_items())
        yield counter(
            "bid_events_received_total", "Events received from NATS", self.events_received
        )
        yield labelled_counter(
            "bid_events_ignored_total",
            "Events received but not sent: duplicates, unreadable or of an unknown kind",
            "reason",
            {
                "duplicate": self.events_duplicate,
                "undecodable": self.events_undecodable,
                "unknown_kind": self.events_of_unknown_kind,
            },
        )
        yield counter(
            "bid_batches_missed_total",
            "Times a partition's batches did not chain; its items were then read from Redis",
            self.batches_missed,
        )
        yield counter(
            "bid_inbox_dropped_total",
            "Messages from NATS dropped because the service was too slow; their items were "
            "then read from Redis",
            self.inbox_dropped,
        )
        yield from self._frames()
        yield from self._repairs()

    def _frames(self) -> Iterable[Metric]:
        yield counter(
            "bid_frames_sent_total", "Events and snapshots written to viewers", self.frames_sent
        )
        yield counter(
            "bid_frames_skipped_total",
            "Events not written because the viewer was behind",
            self.frames_skipped,
        )
        yield counter(
            "bid_frames_conflated_total",
            "Events that viewers of mode=latest got only as part of a snapshot",
            self.frames_conflated,
        )
        yield labelled_counter(
            "bid_snapshots_sent_total",
            "Snapshots written to viewers, by reason",
            "reason",
            {
                "gap": self.snapshots_for_gap,
                "reset": self.snapshots_for_reset,
                "slow": self.snapshots_for_slow,
                "latest": self.snapshots_for_latest,
            },
        )
        yield counter(
            "bid_fan_outs_collapsed_total",
            "Times an item's events arrived faster than they could be written to its viewers",
            self.fan_outs_collapsed,
        )
        yield self.delivery.family(
            "bid_delivery_seconds",
            "Time from an event's timestamp (Redis' clock) to the write to its last viewer",
        )

    def _repairs(self) -> Iterable[Metric]:
        yield labelled_counter(
            "bid_gaps_total",
            "Gaps in an item's events, by what closed them: the missing event or a snapshot",
            "outcome",
            {"filled": self.gaps_filled, "snapshot": self.gaps_jumped},
        )
        yield counter(
            "bid_resets_total", "Times an item went back to an older state of Redis", self.resets
        )
        yield counter("bid_repair_reads_total", "Reads of items from Redis", self.repair_reads)
        yield counter(
            "bid_repair_reads_failed_total",
            "Failed reads from Redis",
            self.repair_reads_failed,
        )
