"""Alarms and dashboard use only metrics that the services emit."""

import json
import re
from typing import Any

from pkg.runtime.emf import EMITTED, NAMESPACE
from tests.terraform.conftest import PROJECT, Planned

NAMES = {each.name for each in EMITTED}


AWS_METRICS_ON_DASHBOARD = {
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
"""Metrics of AWS that the dashboard shows, besides those of the services."""


def own_alarms(planned: Planned) -> list[dict[str, Any]]:
    return [
        alarm
        for alarm in planned.after("aws_cloudwatch_metric_alarm")
        if alarm["namespace"] == NAMESPACE
    ]


def test_emitted_metrics_are_documented() -> None:
    listed = (PROJECT / "docs" / "operations.md").read_text()

    # Another test compares the document with the code.
    assert set(re.findall(r"^\| `(bid_\w+)` \|", listed, re.MULTILINE)) >= NAMES


def test_metrics_documented_as_alarms_are_alarming() -> None:
    listed = (PROJECT / "docs" / "operations.md").read_text()

    documented = set(
        re.findall(r"^\| `(bid_\w+)` \|[^|]+\|[^|]*\b[Aa]larm\b", listed, re.MULTILINE)
    )
    assert documented
    assert documented <= {each.name for each in EMITTED if each.alarming}


def test_every_alarm_uses_an_emitted_metric(planned: Planned) -> None:
    assert own_alarms(planned)
    assert {alarm["metric_name"] for alarm in own_alarms(planned)} <= NAMES


def test_every_alarming_metric_has_an_alarm(planned: Planned) -> None:
    alarming = {each.name for each in EMITTED if each.alarming}

    # Alarms on SampleCount only check that a service emits anything.
    on_values = {
        alarm["metric_name"] for alarm in own_alarms(planned) if alarm["statistic"] != "SampleCount"
    }
    assert on_values == alarming


def test_alarms_name_the_service_that_emits_the_metric(planned: Planned) -> None:
    emitting = {
        "archival-worker": "bid_archive_",
        "broadcast-service": "bid_viewers",
        "api-gateway": "bid_(?!archive_|viewers)",
    }

    for alarm in own_alarms(planned):
        assert re.match(emitting[alarm["dimensions"]["Service"]], alarm["metric_name"])


def test_dashboard_shows_every_emitted_metric_in_cloudwatch_s_format(
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
    assert shown == {(NAMESPACE, name) for name in NAMES} | AWS_METRICS_ON_DASHBOARD
    assert len(places) == len(widgets)


def test_redis_rds_and_the_load_balancer_have_alarms(planned: Planned) -> None:
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
