"""The scheduler's decisions, and what holds for all of them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localstack.emulator.ecs_plan import Member, Wanted, plan

NEW, OLD = "new", "old"


def wanted(desired: int, minimum: int = 100, maximum: int = 200) -> Wanted:
    return Wanted(desired, minimum, maximum, NEW)


def tasks(count: int, deployment: str, *, ready: bool = True) -> list[Member]:
    return [Member(f"{deployment}-{ready}-{n}", deployment, ready, str(n)) for n in range(count)]


def test_missing_tasks_are_started() -> None:
    assert plan(tasks(1, NEW), ending=0, wanted=wanted(3)).start == 2


def test_surplus_is_stopped_and_unready_and_newest_go_first() -> None:
    members = [*tasks(2, NEW), *tasks(1, NEW, ready=False)]

    assert plan(members, ending=0, wanted=wanted(1)).stop == ("new-True-1", "new-False-0")


def test_old_tasks_stay_until_new_ones_are_ready() -> None:
    begun = plan(tasks(2, OLD), ending=0, wanted=wanted(2))
    starting = plan([*tasks(2, OLD), *tasks(2, NEW, ready=False)], ending=0, wanted=wanted(2))
    ready = plan([*tasks(2, OLD), *tasks(2, NEW)], ending=0, wanted=wanted(2))

    assert (begun.start, begun.stop) == (2, ())
    assert (starting.start, starting.stop) == (0, ())
    assert len(ready.stop) == 2


def test_old_tasks_stay_while_there_is_room_for_new_ones() -> None:
    assert plan(tasks(4, OLD), ending=0, wanted=wanted(4, minimum=50)).stop == ()


def test_single_service_stops_the_old_task_and_waits_for_its_end() -> None:
    single = wanted(1, minimum=0, maximum=100)

    assert plan(tasks(1, OLD), ending=0, wanted=single).stop == ("old-True-0",)
    assert plan([], ending=1, wanted=single).start == 0
    assert plan([], ending=0, wanted=single).start == 1


def test_roll_out_is_complete_when_its_tasks_are_ready_and_alone() -> None:
    assert plan(tasks(2, NEW), ending=1, wanted=wanted(2)).complete
    assert not plan([*tasks(2, NEW), *tasks(1, OLD)], ending=0, wanted=wanted(2)).complete
    assert not plan(tasks(2, NEW, ready=False), ending=0, wanted=wanted(2)).complete


def test_no_desired_tasks_is_complete_at_once() -> None:
    assert plan([], ending=0, wanted=wanted(0)).complete


@pytest.mark.parametrize(("minimum", "maximum"), [(100, 200), (50, 100), (0, 100), (100, 150)])
def test_roll_out_ends_with_new_tasks_only(minimum: int, maximum: int) -> None:
    want = wanted(4, minimum, maximum)
    members = tasks(4, OLD)

    for step in range(20):
        todo = plan(members, ending=0, wanted=want)
        if todo.complete:
            break
        members = [each for each in members if each.arn not in todo.stop]
        members = [replace(each, ready=True) for each in members]
        members += [Member(f"n{step}-{n}", NEW, ready=False) for n in range(todo.start)]

    assert todo.complete
    assert len(members) == 4


MEMBERS = st.lists(
    st.builds(
        Member,
        st.uuids().map(str),
        st.sampled_from([NEW, OLD]),
        st.booleans(),
        st.integers(0, 9).map(str),
    ),
    max_size=12,
)


@given(MEMBERS, st.integers(0, 3), st.integers(0, 6), st.integers(0, 100), st.integers(100, 200))
def test_percents_are_honoured(
    members: list[Member], ending: int, desired: int, minimum: int, maximum: int
) -> None:
    want = wanted(desired, minimum, maximum)

    todo = plan(members, ending=ending, wanted=want)

    left = [each for each in members if each.arn not in todo.stop]
    assert todo.start >= 0
    if todo.start:
        assert len(members) + ending + todo.start <= want.most_tasks
    before = sum(each.ready for each in members)
    after = sum(each.ready for each in left)
    assert after >= min(before, want.fewest_ready)
    assert len(set(todo.stop)) == len(todo.stop)
