"""Shows that each guard is needed: without it, the search finds a violation.

``first`` is the seed to start from. Code changes alter the histories, so later seeds are tried too.
"""

import re
from collections.abc import Iterable

import pytest

from pkg.api.relay.lane import Lane
from pkg.archival.watermark import Stretch
from pkg.auction.outbox import OutboxId
from pkg.stores.epochs import Epoch
from tests.unit.model import processes
from tests.unit.model.archive import Archive, Row, Tables
from tests.unit.model.jetstream import JetStream, Stored
from tests.unit.model.search import search
from tests.unit.model.system import Stores
from tests.unit.model.world import Violation

TRIES = 600


def first_violation(first: int, stores: Stores | None = None) -> str:
    """The message of the first violation, searching from seed ``first``."""
    for seed in range(first, first + TRIES):
        try:
            search(seed, stores)
        except Violation as violation:
            return str(violation).splitlines()[0]
    pytest.fail("no history needs the guard")


class Unfenced(JetStream):
    def fence_lets_in(self, *_: object) -> bool:
        return True


def test_without_the_expected_sequence_events_are_published_twice() -> None:
    assert "published twice" in first_violation(100, Stores(stream=Unfenced))


class DropsConflicts(Archive):
    def left_out(self, tables: Tables, event: Row) -> Row | None:
        """Treats events with the same item and seq as the same."""


class TreatsDuplicatesAsConflicts(Archive):
    def left_out(self, tables: Tables, event: Row) -> Row | None:
        found = self.rival(tables, event)
        assert found
        holder = found["event_id"]
        return {"event_id": event["event_id"], "seq_holder": holder, "bid_holder": None}


class InsertsAnything(Archive):
    def rival(self, tables: Tables, event: Row) -> Row | None:
        """Behaves as if ``bids`` had no unique keys."""


def test_without_event_ids_the_archive_skips_one_of_two_events_with_a_seq() -> None:
    assert "passed" in first_violation(280, Stores(archive=DropsConflicts))


def test_without_event_ids_duplicates_become_dead_letters() -> None:
    assert "without a conflict" in first_violation(0, Stores(archive=TreatsDuplicatesAsConflicts))


def test_without_unique_keys_the_archive_holds_an_event_twice() -> None:
    assert "twice" in first_violation(40, Stores(archive=InsertsAnything))


def test_a_watermark_that_ignores_holes_passes_unarchived_events(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def furthest(
        watermark: OutboxId, stretches: Iterable[Stretch]
    ) -> tuple[OutboxId, list[Stretch]]:
        return max([watermark, *(stretch.last for stretch in stretches)]), []

    monkeypatch.setattr("pkg.archival.commit.fold", furthest)

    assert "passed" in first_violation(10)


def test_a_filling_outbox_that_does_not_ask_jetstream_loses_events_that_it_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pkg.api.relay.relay.held_through", lambda *_: OutboxId(2**62, 0))

    assert "no store holds" in first_violation(0)


class AgesByItself(JetStream):
    def archived_to(self) -> int:
        """Messages leave when they are old, archived or not."""
        return self.sequence


@pytest.mark.timeout(240)
def test_a_stream_that_drops_what_is_old_loses_events_that_the_archive_lacks() -> None:
    assert "no store holds" in first_violation(0, Stores(stream=AgesByItself))


def test_a_relay_that_follows_any_epoch_loses_what_another_redis_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Epoch, "follows", lambda *_: True)

    assert first_violation(200)


def test_a_watermark_that_is_believed_beyond_what_was_stored_loses_events(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def believe(lane: Lane, *, complete: bool) -> None:
        del complete
        lane._believe(lane.announced)

    monkeypatch.setattr(Lane, "judge", believe)

    assert "no store holds" in first_violation(10)


def test_without_resending_some_events_are_never_archived(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "RESEND_AFTER_S", float("inf"))

    assert "never archived" in first_violation(960)


class AcknowledgesOnDelivery(JetStream):
    def delivers(self, stored: Stored) -> None:
        super().delivers(stored)
        assert self.consumer
        self.consumer.done.add(stored.sequence)


def test_messages_acknowledged_before_the_commit_are_skipped() -> None:
    violation = first_violation(80, Stores(stream=AcknowledgesOnDelivery))

    assert re.search("passed|never archived|no store holds", violation)
