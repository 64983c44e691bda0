"""What a service's scheduler should do next. Only decides, so tests need no containers."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Member:
    """A task that is to run."""

    arn: str
    deployment: str
    ready: bool
    """It runs, and every check of its health passes."""
    created: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    desired: int
    minimum_percent: int
    maximum_percent: int
    primary: str
    """The deployment whose tasks shall remain."""

    @property
    def fewest_ready(self) -> int:
        return -(-self.desired * self.minimum_percent // 100)

    @property
    def most_tasks(self) -> int:
        return max(self.desired * self.maximum_percent // 100, 1 if self.desired else 0)


@dataclass(frozen=True, slots=True)
class Plan:
    start: int
    stop: tuple[str, ...]
    complete: bool
    """The primary deployment's tasks are ready, and no others are left to stop."""


def plan(members: Sequence[Member], *, ending: int, wanted: Wanted) -> Plan:
    """`ending`: tasks that were told to stop and still run; they take room too."""
    current = sorted(
        (each for each in members if each.deployment == wanted.primary),
        key=lambda each: (not each.ready, each.created),
    )
    old = sorted(
        (each for each in members if each.deployment != wanted.primary),
        key=lambda each: (each.ready, each.created),
    )
    stop = [each.arn for each in current[wanted.desired :]]
    current = current[: wanted.desired]

    missing = wanted.desired - len(current)
    room = max(wanted.most_tasks - len(current) - len(old) - ending - len(stop), 0)
    start = min(missing, room)

    # Old tasks go as new ones become ready, or to make room for them.
    ready = sum(each.ready for each in current)
    surplus = len(old) - max(wanted.desired - ready, 0)
    making_room = missing - start - ending if start < missing else 0
    spare = ready + sum(each.ready for each in old) - wanted.fewest_ready
    for task in old[: max(surplus, making_room, 0)]:
        if task.ready:
            if spare <= 0:
                break
            spare -= 1
        stop.append(task.arn)
    complete = ready == wanted.desired and not old
    return Plan(start, tuple(stop), complete)
