"""A plan right after an apply wants nothing: the emulator describes all that it was given."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.cloud.deployment import Deployment

pytestmark = pytest.mark.timeout(1500)  # whichever is the first deploys

KNOWN: dict[str, str] = {}
"""Differences that the emulator still makes, by `ADDRESS ACTION` or `ADDRESS.ATTRIBUTE`, and why.

An entry that no plan shows fails as much as a difference that is not here.
"""


def differences(plan: dict[str, Any]) -> set[str]:
    found: set[str] = set()
    for resource in plan.get("resource_changes", ()):
        change, address = resource["change"], resource["address"]
        if change["actions"] == ["update"]:
            before, after = change["before"], change["after"]
            names = {*before, *after, *change["after_unknown"]}
            found |= {f"{address}.{name}" for name in names if before.get(name) != after.get(name)}
        elif change["actions"] not in (["no-op"], ["read"]):
            found.add(f"{address} {' and '.join(change['actions'])}")
    for name, change in plan.get("output_changes", {}).items():
        if change["actions"] != ["no-op"]:
            found.add(f"output.{name}")
    return found


def test_second_plan_shows_the_known_differences_and_no_other(
    deployment: Deployment, record_testsuite_property: Callable[[str, object], None]
) -> None:
    began = time.monotonic()
    found = differences(deployment.planned())
    record_testsuite_property("terraform_second_plan_s", round(time.monotonic() - began))

    assert found - set(KNOWN) == set(), "new"
    assert set(KNOWN) - found == set(), "no longer needed"


def test_difference_of_an_attribute_is_found(deployment: Deployment) -> None:
    cloudwatch = deployment.emulator.client("cloudwatch")
    name = "bidding-system-outbox-age"
    (alarm,) = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    read_only = ("AlarmArn", "AlarmConfigurationUpdatedTimestamp", "StateValue", "StateReason")
    settings = {
        key: value
        for key, value in alarm.items()
        if key not in read_only and not key.startswith("State")
    }
    cloudwatch.put_metric_alarm(**settings | {"Threshold": 61.0})

    found = differences(deployment.planned())

    cloudwatch.put_metric_alarm(**settings)
    assert found - set(KNOWN) == {'aws_cloudwatch_metric_alarm.own["outbox-age"].threshold'}
