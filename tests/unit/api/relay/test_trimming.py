"""Which entries may leave the outbox unarchived, against a model that knows every entry."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from pkg.api.relay.outbox import OutboxState
from pkg.api.relay.trimming import Retirement, retirement
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.stores.stream import MAX_AGE_S

RETENTION_S = 600.0
HALF_AGE_MS = MAX_AGE_S * 500


@dataclass
class Model:
    """All entries ever made, and which of them each store has."""

    now_ms: int = 1_000_000
    made: list[OutboxId] = field(default_factory=list)
    kept: list[OutboxId] = field(default_factory=list)
    relayed: OutboxId = BEGINNING
    archived: OutboxId = BEGINNING
    trimmed_to: OutboxId = BEGINNING
    unarchived_from: OutboxId = BEGINNING

    @property
    def lacking(self) -> list[OutboxId]:
        """Unarchived entries, wherever they are."""
        return [each for each in self.made if each > self.archived]

    def state(self) -> OutboxState:
        unarchived = [each for each in self.kept if each > self.archived]
        return OutboxState(
            depth=len(self.kept),
            first_unarchived=unarchived[0] if unarchived else None,
            archived_to=self.archived,
            trimmed_to=self.trimmed_to,
            unarchived_from=self.unarchived_from,
            now_ms=self.now_ms,
        )

    def retire(self) -> Retirement | None:
        may_go = retirement(self.state(), relayed=self.relayed, retention_s=RETENTION_S)
        if may_go:
            self.kept = [each for each in self.kept if each > may_go.through]
            self.trimmed_to, self.unarchived_from = may_go.through, may_go.unarchived_from
        return may_go


steps = st.lists(
    st.one_of(
        st.tuples(st.just("make"), st.integers(0, 3)),
        st.tuples(st.just("pass"), st.sampled_from([1_000, 601_000, HALF_AGE_MS // 2 + 1])),
        st.tuples(st.just("relay"), st.integers(1, 5)),
        st.tuples(st.just("archive"), st.integers(1, 3)),
        st.tuples(st.just("retire"), st.just(0)),
        st.tuples(st.just("retire"), st.just(0)),
    ),
    min_size=6,
    max_size=40,
)


@settings(max_examples=500)
@given(steps)
def test_entries_retired_unarchived_are_old_relayed_and_safe_in_jetstream(
    history: list[tuple[str, int]],
) -> None:
    model = Model()
    for what, number in history:
        match what:
            case "make":
                entry = OutboxId(model.now_ms, len(model.made))
                model.made.append(entry)
                model.kept.append(entry)
            case "pass":
                model.now_ms += number
            case "relay":
                behind = [each for each in model.made if each > model.relayed][:number]
                model.relayed = behind[-1] if behind else model.relayed
            case "archive":
                ready = [each for each in model.lacking if each <= model.relayed][:number]
                model.archived = ready[-1] if ready else model.archived
                model.kept = [each for each in model.kept if each > model.archived]
            case "retire":
                before, lacking = list(model.kept), list(model.lacking)
                model.retire()
                gone = [each for each in before if each not in model.kept]
                assert all(each <= model.relayed for each in gone)
                assert all(each.ms <= model.now_ms - RETENTION_S * 1000 for each in gone)
                if gone:
                    assert model.now_ms - lacking[0].ms <= HALF_AGE_MS
        missing = [each for each in model.made if each > model.relayed and each not in model.kept]
        assert not missing, "an entry that JetStream does not hold was removed"


def state(**changes: object) -> OutboxState:
    values: dict[str, object] = {
        "depth": 2,
        "first_unarchived": OutboxId(1_000, 0),
        "archived_to": BEGINNING,
        "trimmed_to": BEGINNING,
        "unarchived_from": BEGINNING,
        "now_ms": 1_000_000,
    }
    return OutboxState(**(values | changes))  # type: ignore[arg-type]


def test_relayed_entries_older_than_the_retention_go() -> None:
    may_go = retirement(state(), relayed=OutboxId(900_000, 0), retention_s=600)

    assert may_go == Retirement(through=OutboxId(400_000, 0), unarchived_from=OutboxId(1_000, 0))


def test_nothing_goes_that_jetstream_does_not_hold() -> None:
    may_go = retirement(state(), relayed=OutboxId(2_000, 5), retention_s=600)

    assert may_go is not None
    assert may_go.through == OutboxId(2_000, 5)


def test_nothing_goes_that_is_younger_than_the_retention_or_not_relayed() -> None:
    young = state(first_unarchived=OutboxId(999_000, 0))

    assert retirement(young, relayed=OutboxId(999_500, 0), retention_s=600) is None
    assert retirement(state(), relayed=BEGINNING, retention_s=600) is None
    assert retirement(state(first_unarchived=None), relayed=BEGINNING, retention_s=1) is None


def test_nothing_goes_once_the_oldest_may_soon_age_out_of_the_stream() -> None:
    late = state(now_ms=1_000 + HALF_AGE_MS + 1)

    assert retirement(late, relayed=OutboxId(2_000, 0), retention_s=600) is None


def test_the_age_is_that_of_the_oldest_unarchived_event_even_if_it_was_retired_long_ago() -> None:
    now_ms = HALF_AGE_MS + 50_000
    retired_before = state(
        first_unarchived=OutboxId(now_ms - 700_000, 0),
        trimmed_to=OutboxId(20_000, 0),
        unarchived_from=OutboxId(10_000, 0),
        now_ms=now_ms,
    )

    assert retirement(retired_before, relayed=OutboxId(now_ms, 0), retention_s=600) is None
