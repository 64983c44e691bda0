"""Tasks' logs, from CloudWatch."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from pkg.devkit.backend import LogLine
from pkg.devkit.cloud.aws import Aws, AwsRefused
from pkg.devkit.cloud.services import Services
from pkg.devkit.cloud.status import replica_name
from pkg.devkit.errors import BadArgument
from pkg.devkit.names import NATS, SERVICES

_GROUP = "/ecs/bidding-system/"
_FOLLOW_EVERY_S = 1.0
_LATE_MS = 60_000
"""CloudWatch may list an event that much after its time; what was shown already is known."""

_STREAMS = 20
"""Of the newest tasks of a group, running or ended."""

_NONE = "ResourceNotFoundException"
_KNOWN_EVENTS = 20_000


_Key = tuple[str, int, str]


@dataclass(frozen=True, slots=True)
class Group:
    part: str
    name: str


@dataclass(frozen=True, slots=True)
class Logs:
    aws: Aws
    services: Services

    def groups(self, parts: tuple[str, ...]) -> list[Group]:
        """Raises BadArgument if none of the parts keeps a log there."""
        found = [
            Group(part, _GROUP + name.removeprefix("bidding-system-"))
            for part in parts
            if part in {*SERVICES, NATS}
            for name in self.services.names(part)
        ]
        if not found:
            raise BadArgument(
                f"{', '.join(parts)} is run by AWS, which keeps its logs; "
                f"there are those of {', '.join((*SERVICES, NATS))}."
            )
        return found

    def read(self, parts: tuple[str, ...], *, last: int, follow: bool) -> Iterator[LogLine]:
        groups = self.groups(parts)
        began_ms = int(time.time() * 1000)
        shown: dict[_Key, int] = {}
        for group in groups:
            for stream in self._streams(group) if last else ():
                ended = stream not in self._running(group)
                for text in self._last(group, stream, last):
                    yield LogLine(_replica(group.part, stream), text, ended=ended)
        while follow:
            time.sleep(_FOLLOW_EVERY_S)
            for group in groups:
                yield from self._since(group, began_ms, shown)
            began_ms = max(began_ms, int(time.time() * 1000) - _LATE_MS)
            while len(shown) > _KNOWN_EVENTS:
                del shown[next(iter(shown))]

    def of_task(self, group: str, arn: str) -> list[str]:
        """All that a task has written so far."""
        return self._events(group, f"ecs/main/{arn.rpartition('/')[2]}")

    def _streams(self, group: Group) -> list[str]:
        """Oldest first."""
        try:
            answer = self.aws.ask(
                "logs",
                "describe_log_streams",
                logGroupName=group.name,
                orderBy="LastEventTime",
                descending=True,
                limit=_STREAMS,
            )
        except AwsRefused as error:
            if error.code == _NONE:
                return []
            raise
        return [str(one["logStreamName"]) for one in reversed(answer["logStreams"])]

    def _running(self, group: Group) -> set[str]:
        return {
            f"ecs/main/{task['taskArn'].rpartition('/')[2]}"
            for name in self.services.names(group.part)
            for task in self.services.tasks(name)
        }

    def _last(self, group: Group, stream: str, last: int) -> list[str]:
        answer = self.aws.ask(
            "logs",
            "get_log_events",
            logGroupName=group.name,
            logStreamName=stream,
            limit=min(last, 10_000),
            startFromHead=False,
        )
        return [one["message"].rstrip("\n") for one in answer["events"]][-last:]

    def _events(self, group: str, stream: str) -> list[str]:
        found: list[str] = []
        token: dict[str, str] = {}
        while True:
            try:
                answer = self.aws.ask(
                    "logs",
                    "get_log_events",
                    logGroupName=group,
                    logStreamName=stream,
                    startFromHead=True,
                    **token,
                )
            except AwsRefused as error:
                if error.code == _NONE:
                    return found
                raise
            found += [one["message"].rstrip("\n") for one in answer["events"]]
            following = answer.get("nextForwardToken")
            # AWS ends by giving the same token again.
            if not answer["events"] or not following or token.get("nextToken") == following:
                return found
            token = {"nextToken": following}

    def _since(self, group: Group, since_ms: int, shown: dict[_Key, int]) -> Iterator[LogLine]:
        """Known by stream, time and text, and how many of the same there were: an emulator gives
        an event another id in each answer.
        """
        seen: Counter[_Key] = Counter()
        token: dict[str, str] = {}
        while True:
            try:
                answer = self.aws.ask(
                    "logs",
                    "filter_log_events",
                    logGroupName=group.name,
                    startTime=since_ms,
                    **token,
                )
            except AwsRefused as error:
                if error.code == _NONE:
                    return
                raise
            for event in answer["events"]:
                key = (event["logStreamName"], event["timestamp"], event["message"])
                seen[key] += 1
                if seen[key] > shown.get(key, 0):
                    shown[key] = seen[key]
                    replica = _replica(group.part, event["logStreamName"])
                    yield LogLine(replica, event["message"].rstrip("\n"))
            if not answer.get("nextToken"):
                return
            token = {"nextToken": answer["nextToken"]}


def _replica(part: str, stream: str) -> str:
    return replica_name(part, stream)
