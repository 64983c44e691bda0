"""Metrics in log lines are those that the services write."""

import json

import pytest
from prometheus_client import CollectorRegistry, Gauge

from localstack.emulator.alarms.extraction import data_of
from pkg.runtime.emf import Emf

_DESCRIBES_WHAT_IS_NOT_THERE = """{"_aws": {"Timestamp": 1, "CloudWatchMetrics": [
    {"Namespace": "N", "Dimensions": [["Service"]], "Metrics": [{"Name": "gone"}]}]}}"""


def test_line_of_a_service_gives_its_metric_with_its_dimension() -> None:
    registry = CollectorRegistry()
    Gauge("bid_outbox_age_seconds", "age", registry=registry).set(7.5)
    line = Emf(registry, service="api-gateway").line(now_ms=1_700_000_000_500)
    assert line

    found = list(data_of(line.decode()))

    assert found == [
        (
            "BiddingSystem",
            {
                "MetricName": "bid_outbox_age_seconds",
                "Value": 7.5,
                "Unit": "Seconds",
                "Timestamp": 1_700_000_000.5,
                "Dimensions": [{"Name": "Service", "Value": "api-gateway"}],
            },
        )
    ]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "bid accepted",
        '{"event": "bid accepted"}',
        '{"_aws": 1}',
        '{"_aws": {"Timestamp": 1}}',
        _DESCRIBES_WHAT_IS_NOT_THERE,
        '{"_aws": ',
    ],
)
def test_other_lines_give_none(line: str) -> None:
    assert list(data_of(line)) == []


def test_each_set_of_dimensions_gives_a_datum() -> None:
    directive = {"Namespace": "N", "Dimensions": [["A"], ["A", "B"]], "Metrics": [{"Name": "m"}]}
    described = {"Timestamp": 1000, "CloudWatchMetrics": [directive]}
    line = json.dumps({"_aws": described, "A": "a", "B": "b", "m": 3})

    dimensions = [datum["Dimensions"] for _namespace, datum in data_of(line)]

    a, b = {"Name": "A", "Value": "a"}, {"Name": "B", "Value": "b"}
    assert dimensions == [[a], [a, b]]
