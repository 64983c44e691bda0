"""Alarms and dashboard ask for metrics that the services really emit."""

import json
import re
from typing import Any

from pkg.runtime.emf import EMITTED, NAMESPACE
from tests.terraform.conftest import PROJECT, Planned

NAMES = {each.name for each in EMITTED}


SHOWN_OF_AWS = {
    ("AWS/ElastiCache", "DatabaseMemoryUsagePercentage"),
    ("AWS/ElastiCache", "EngineCPUUtilization"),
    ("AWS/ElastiCache", "Evictions"),
    ("AWS/ElastiCache", "ReplicationLag"),
    ("AWS/RDS", "CPUUtilization"),
    ("AWS/RDS", "DatabaseConnections"),
    ("AWS/RDS", "FreeStorageSpace"),
    ("AWS/ECS", "CPUUtilization"),
    ("AWS/ECS", "MemoryUtilization"),
    ("AWS/ApplicationELB", "RequestCount"),
    ("AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count"),
    ("AWS/ApplicationELB", "HTTPCode_Target_5XX_Count"),
    ("AWS/ApplicationELB", "TargetResponseTime"),
}
"""What the dashboard shows besides the services' own."""


def own_alarms(planned: Planned) -> list[dict[str, Any]]:
    return [
        alarm
        for alarm in planned.after("aws_cloudwatch_metric_alarm")
        if alarm["namespace"] == NAMESPACE
    ]


def test_what_is_emitted_is_what_the_services_count() -> None:
    listed = (PROJECT / "docs" / "operations.md").read_text()

    # The document is held against the code by a test of its own.
    assert set(re.findall(r"^\| `(bid_\w+)` \|", listed, re.MULTILINE)) >= NAMES


def test_what_operations_call_an_alarm_is_alarming() -> None:
    listed = (PROJECT / "docs" / "operations.md").read_text()

    called = set(re.findall(r"^\| `(bid_\w+)` \|[^|]+\|[^|]*\b[Aa]larm\b", listed, re.MULTILINE))
    assert called
    assert called <= {each.name for each in EMITTED if each.alarming}


def test_every_alarm_is_on_a_metric_that_is_emitted(planned: Planned) -> None:
    assert own_alarms(planned)
    assert {alarm["metric_name"] for alarm in own_alarms(planned)} <= NAMES


def test_everything_alarming_has_an_alarm(planned: Planned) -> None:
    alarming = {each.name for each in EMITTED if each.alarming}

    # The others only hear whether a service speaks at all.
    on_values = {
        alarm["metric_name"] for alarm in own_alarms(planned) if alarm["statistic"] != "SampleCount"
    }
    assert on_values == alarming


def test_an_alarm_names_the_service_that_emits_its_metric(planned: Planned) -> None:
    emitting = {
        "archival-worker": "bid_archive_",
        "broadcast-service": "bid_viewers",
        "api-gateway": "bid_(?!archive_|viewers)",
    }

    for alarm in own_alarms(planned):
        assert re.match(emitting[alarm["dimensions"]["Service"]], alarm["metric_name"])


def test_the_dashboard_shows_everything_that_is_emitted_and_has_cloudwatchs_shape(
    planned: Planned,
) -> None:
    (dashboard,) = planned.after("aws_cloudwatch_dashboard")
    widgets = json.loads(dashboard["dashboard_body"])["widgets"]

    shown = set()
    places = set()
    for widget in widgets:
        assert widget["type"] == "metric"
        assert widget["x"] + widget["width"] <= 24
        places.add((widget["x"], widget["y"]))
        properties = widget["properties"]
        assert {"title", "region", "stat", "period", "view"} <= set(properties)
        for namespace, metric, *dimensions in properties["metrics"]:
            names = [each for each in dimensions if isinstance(each, str)]
            assert len(names) % 2 == 0
            shown.add((namespace, metric))
            assert namespace != NAMESPACE or names[0] == "Service"
    assert shown == {(NAMESPACE, name) for name in NAMES} | SHOWN_OF_AWS
    assert len(places) == len(widgets)


def test_redis_rds_and_the_load_balancer_are_watched(planned: Planned) -> None:
    watched = {
        (alarm["namespace"], alarm["metric_name"])
        for alarm in planned.after("aws_cloudwatch_metric_alarm")
    }

    assert {
        ("AWS/ElastiCache", "DatabaseMemoryUsagePercentage"),
        ("AWS/ElastiCache", "EngineCPUUtilization"),
        ("AWS/ElastiCache", "Evictions"),
        ("AWS/RDS", "CPUUtilization"),
        ("AWS/RDS", "FreeStorageSpace"),
        ("AWS/ECS", "CPUUtilization"),
        ("AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count"),
        ("AWS/ApplicationELB", "HTTPCode_Target_5XX_Count"),
    } <= watched
    lag = ("AWS/ElastiCache", "ReplicationLag")
    assert (lag in watched) == (planned.environment == "prod")
