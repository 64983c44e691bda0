"""What the worker counts."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from prometheus_client.core import Metric

from pkg.archival.announcer import Announcer
from pkg.archival.belonging import Belonging
from pkg.archival.commit import Committed
from pkg.archival.deliveries import Deliveries
from pkg.archival.intake import Reason
from pkg.archival.stops import Stops
from pkg.archival.store import Store
from pkg.runtime.metrics import (
    SIZE_BOUNDS,
    Buckets,
    counter,
    gauge,
    labelled_counter,
    labelled_gauge,
)

_DELAY_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_CONFLICTS = (Reason.SEQ_CONFLICT, Reason.BID_ID_CONFLICT)


class ArchiveMetrics:
    def __init__(
        self,
        *,
        store: Store,
        deliveries: Deliveries,
        announcer: Announcer,
        stops: Stops,
        belonging: Belonging | None = None,
        asked: Callable[[], tuple[int, int]] = lambda: (0, 0),
    ) -> None:
        """``asked``: items that services looked up, and questions that could not be answered."""
        self._belonging = belonging
        self._asked = asked
        self._store = store
        self._deliveries = deliveries
        self._announcer = announcer
        self._stops = stops
        self._asked = asked
        self._archived = 0
        self._duplicates = 0
        self._dead_letters: Counter[str] = Counter(dict.fromkeys(Reason, 0))
        self._sizes = Buckets(SIZE_BOUNDS)
        self._latency = Buckets()
        self._delay = Buckets(_DELAY_BOUNDS_S)
        self._held_since: datetime | None = None
        self._pending: int | None = None
        self._progressed = time.monotonic()

    def taken(self, oldest: datetime | None) -> None:
        """A portion is on its way; ``oldest`` is when its first bid was placed."""
        self._held_since = oldest

    def committed(self, result: Committed, *, events: int, took_s: float) -> None:
        self._archived += result.archived
        self._duplicates += result.duplicates
        self._dead_letters.update(result.dead_letters)
        self._sizes.observe(events)
        self._latency.observe(took_s)
        if self._held_since is not None:
            self._delay.observe(_age_s(self._held_since))
        self._held_since = None
        self._progressed = time.monotonic()

    def backlog(self, pending: int | None) -> None:
        """Messages that the consumer has not delivered; None while NATS does not say."""
        self._pending = pending
        if pending == 0:
            self._progressed = time.monotonic()

    @property
    def lag_s(self) -> float:
        """How old the oldest bid is that was taken and is not archived. With messages waiting
        and none taken, the time since the archive last moved or had nothing to do.
        """
        held = _age_s(self._held_since) if self._held_since is not None else 0.0
        waiting = time.monotonic() - self._progressed if self._pending else 0.0
        return max(held, waiting)

    def collect(self) -> Iterable[Metric]:
        yield counter("bid_archive_events_total", "Bids archived", self._archived)
        yield counter(
            "bid_archive_duplicates_total",
            "Redelivered events that were already archived",
            self._duplicates,
        )
        yield labelled_counter(
            "bid_archive_dead_letters_total",
            "New dead letters, by reason",
            "reason",
            {reason: self._dead_letters[reason] for reason in Reason},
        )
        yield labelled_gauge(
            "bid_archive_unknown_version",
            "Messages that wait for a newer worker, by partition (alarm: roll the archival-worker)",
            "partition",
            dict.fromkeys(self._announcer.archived_to, 0) | self._stops.waiting,
        )
        yield gauge(
            "bid_other_system",
            "1 while work stops because the stores belong to different systems (alarm)",
            float(self._belonging is not None and self._belonging.other_system),
        )
        yield counter(
            "bid_archive_conflicts_total",
            "Alarm: accepted events whose (item, seq) or bid id belongs to another event",
            sum(self._dead_letters[reason] for reason in _CONFLICTS),
        )
        yield self._sizes.family("bid_archive_batch_events", "Events per transaction")
        yield self._latency.family(
            "bid_archive_transaction_seconds", "Time to commit a batch, including retries"
        )
        yield self._delay.family(
            "bid_archive_delay_seconds",
            "Time from acceptance to commit of a transaction's oldest bid",
        )
        yield gauge(
            "bid_archive_lag_seconds",
            "Age of the oldest bid not archived yet",
            self.lag_s,
        )
        if self._pending is not None:
            yield gauge(
                "bid_archive_consumer_pending",
                "Messages not yet delivered to the worker",
                self._pending,
            )
        archived_to = self._announcer.archived_to
        yield labelled_gauge(
            "bid_archive_watermark_milliseconds",
            "Outbox time up to which every event is archived",
            "partition",
            {partition: each.watermark.ms for partition, each in archived_to.items()},
        )
        yield labelled_gauge(
            "bid_archive_islands",
            "Archived ranges beyond a gap; if it stays above 0, events are missing",
            "partition",
            {partition: mark.islands for partition, mark in archived_to.items()},
        )
        yield counter(
            "bid_archive_retries_total", "Attempts that failed in PostgreSQL", self._store.retries
        )
        yield counter(
            "bid_archive_lost_acknowledgements_total",
            "Acknowledgements that could not be sent; NATS redelivers their messages",
            self._deliveries.lost_acknowledgements,
        )
        yield counter(
            "bid_archive_in_progress_total",
            "Times NATS was told that a held message is still being archived",
            self._deliveries.in_progress,
        )
        asked, failed = self._asked()
        yield counter(
            "bid_archive_items_asked_total", "Items that services looked up in the archive", asked
        )
        yield counter(
            "bid_archive_questions_failed_total",
            "Questions about items that could not be answered in time",
            failed,
        )
        yield gauge(
            "bid_archive_postgres_up", "1 while PostgreSQL is connected", int(self._store.up)
        )


def _age_s(moment: datetime) -> float:
    return max(0.0, (datetime.now(UTC) - moment).total_seconds())
