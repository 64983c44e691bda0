"""Logs from CloudWatch, under the names that `get` shows."""

from itertools import islice
from typing import Any
from uuid import uuid4

import pytest

from pkg.devkit.cloud import logs as module
from pkg.devkit.cloud import oneoff
from pkg.devkit.cloud.aws import AwsRefused
from pkg.devkit.cloud.logs import Logs
from pkg.devkit.cloud.oneoff import OneOff, is_aside
from pkg.devkit.cloud.services import Services
from pkg.devkit.errors import BadArgument, BidkitError
from pkg.devkit.signals import no_check
from tests.unit.devkit.cloud.fake_aws import CLUSTER, FakeAws, quiet

RUNNING, ENDED = "ecs/main/00000000aa", "ecs/main/ffffffffff"
TASK = "arn:aws:ecs:task/c/0123456789"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> FakeAws:
    monkeypatch.setattr(module, "_FOLLOW_EVERY_S", 0.0)
    monkeypatch.setattr(oneoff, "_LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(oneoff, "_QUIET_S", 0.05)
    monkeypatch.setattr(oneoff, "_LOGS_WITHIN_S", 1.0)
    aws = FakeAws()
    aws.answers["describe_log_streams"] = {
        "logStreams": [{"logStreamName": RUNNING}, {"logStreamName": ENDED}]
    }
    aws.answers["get_log_events"] = (
        lambda logStreamName, **_: {  # noqa: N803
            "events": [{"message": f"{logStreamName[-2:]} {number}\n"} for number in range(3)]
        }
    )
    return aws


@pytest.fixture
def logs(aws: FakeAws) -> Logs:
    return Logs(aws, Services(aws, CLUSTER))


@pytest.fixture
def once(aws: FakeAws) -> OneOff:
    aws.answers["run_task"] = {"tasks": [{"taskArn": TASK}]}
    aws.answers["stop_task"] = {}
    aws.answers["describe_tasks"] = {
        "tasks": [{"lastStatus": "STOPPED", "containers": [{"exitCode": 1}]}]
    }
    return OneOff(aws, Services(aws, CLUSTER))


def test_last_lines_of_each_task_are_shown_and_ended_ones_marked(logs: Logs) -> None:
    shown = list(logs.read(("api-gateway",), last=2, follow=False))

    assert [(one.replica, one.text, one.ended) for one in shown] == [
        ("api-gateway-ffffffff", "ff 1", True),
        ("api-gateway-ffffffff", "ff 2", True),
        ("api-gateway-00000000", "aa 1", False),
        ("api-gateway-00000000", "aa 2", False),
    ]


def test_followed_lines_are_shown_once_and_equal_ones_each(aws: FakeAws, logs: Logs) -> None:
    def event(time_ms: int, text: str) -> dict[str, Any]:
        own = {"eventId": str(uuid4()), "timestamp": time_ms}
        return {**own, "message": text, "logStreamName": RUNNING}

    looks = iter([[(1, "a"), (1, "b")], [(1, "a"), (1, "b"), (1, "b")], [(1, "b"), (2, "a")]])
    aws.answers["filter_log_events"] = lambda **_: {"events": [event(*one) for one in next(looks)]}

    shown = islice(logs.read(("api-gateway",), last=0, follow=True), 4)

    assert [one.text for one in shown] == ["a", "b", "b", "a"]


def test_store_run_by_aws_has_no_log_here(logs: Logs) -> None:
    with pytest.raises(BadArgument, match=r"redis is run by AWS.*api-gateway"):
        list(logs.read(("redis",), last=1, follow=False))


def test_group_that_does_not_exist_yet_is_empty(aws: FakeAws, logs: Logs) -> None:
    def missing(**_: object) -> dict[str, Any]:
        raise AwsRefused("no such group", "ResourceNotFoundException")

    aws.answers["describe_log_streams"] = missing

    assert list(logs.read(("api-gateway",), last=1, follow=False)) == []


def test_command_runs_in_the_workers_network_and_its_exit_code_is_ours(
    aws: FakeAws, once: OneOff
) -> None:
    shown: list[str] = []

    code = once.run("archival-worker", ("audit", "--json"), show=shown.append, check=no_check)

    (call,) = aws.asked("ecs.run_task")
    assert code == 1
    assert call["taskDefinition"] == "bidding-system-archival-worker"
    assert call["networkConfiguration"] == {"awsvpcConfiguration": {"subnets": ["a"]}}
    command = ["python", "-m", "pkg.archival", "audit", "--json"]
    assert call["overrides"] == {"containerOverrides": [{"name": "main", "command": command}]}
    assert shown == ["89 0", "89 1", "89 2"]
    assert aws.asked("ecs.stop_task") == []


def test_task_that_did_not_start_is_an_error_with_ecs_reason(aws: FakeAws, once: OneOff) -> None:
    stopped = {"lastStatus": "STOPPED", "containers": [{}], "stoppedReason": "CannotPull"}
    aws.answers["describe_tasks"] = {"tasks": [stopped]}

    with pytest.raises(BidkitError, match="the task did not start: CannotPull"):
        once.run("archival-worker", ("audit",), show=quiet, check=no_check)


def test_task_that_ecs_refuses_is_an_error(aws: FakeAws, once: OneOff) -> None:
    aws.answers["run_task"] = {"tasks": [], "failures": [{"reason": "RESOURCE:MEMORY"}]}

    with pytest.raises(BidkitError, match="did not run the task: RESOURCE:MEMORY"):
        once.run("archival-worker", ("audit",), show=quiet, check=no_check)


def test_interrupt_stops_the_task(aws: FakeAws, once: OneOff) -> None:
    aws.answers["describe_tasks"] = {"tasks": [{"lastStatus": "RUNNING"}]}
    looks = iter([None])

    def interrupt() -> None:
        if next(looks, "over") == "over":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        once.run("archival-worker", ("audit",), show=quiet, check=interrupt)

    (call,) = aws.asked("ecs.stop_task")
    assert call["task"] == TASK


@pytest.mark.parametrize(
    ("line", "aside"),
    [
        ("audit: waiting for 3 bids", True),
        ('{"event": "connected", "level": "info"}', True),
        ('{"_aws": {}, "bid_total": 1}', True),
        ('{"items": 3}', False),
        ("{", False),
        ("1 item, all accounted for", False),
        ("3", False),
    ],
)
def test_standard_error_of_a_task_is_told_from_its_output(line: str, *, aside: bool) -> None:
    assert is_aside(line) == aside
