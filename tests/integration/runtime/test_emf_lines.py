"""The services write the metrics that the alarms and the dashboard read."""

import json
import re
import signal
import time
from typing import Any

import aiohttp
import pytest

from pkg.runtime.emf import EMITTED
from pkg.trials.waiting import until
from tests.integration.processes import ROOT, Service, Services

ENV = {"EMF_EVERY_S": "0.5", "LOG_FORMAT": "json", "DRAIN_S": "0"}


def lines_of(service: Service) -> list[dict[str, Any]]:
    """The JSON objects in the service's log: EMF lines and log records."""
    [replica] = service.replicas
    *complete, _unfinished = replica.log_file.read_text().split("\n")
    return [json.loads(line) for line in complete]


def emitted_by(service: Service) -> set[tuple[str, str]]:
    """Names of the emitted metrics, each with the service in its line."""
    return {
        (metric["Name"], line["Service"])
        for line in lines_of(service)
        if "_aws" in line
        for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]
    }


def read_by_terraform() -> set[tuple[str, str]]:
    """Metrics and their services as named by Terraform's alarms and dashboard."""
    text = "".join(
        (ROOT / "terraform" / f"{name}.tf").read_text() for name in ("observability", "dashboard")
    )
    return set(re.findall(r'"(bid_\w+)", (?:service =|"Service",) "([\w-]+)"', text))


@pytest.mark.timeout(90)
async def test_every_metric_is_emitted_by_the_service_that_alarms_name(services: Services) -> None:
    running = [
        await services.api(env=ENV),
        await services.broadcast(env=ENV),
        await services.archival(env=ENV),
    ]
    api = running[0]
    async with (
        aiohttp.ClientSession(api.url) as client,
        client.post("/api/v1/items/vase/bid", data=b'{"user_id":"ann","amount":5}') as answer,
    ):
        assert answer.status == 201

    def all_emitted() -> bool:
        return set().union(*(emitted_by(each) for each in running)) >= read_by_terraform()

    assert {metric for metric, _ in read_by_terraform()} == {each.name for each in EMITTED}
    await until(all_emitted, within_s=20, log=lambda: "\n".join(each.log for each in running))


@pytest.mark.timeout(60)
async def test_last_line_has_the_counts_up_to_the_exit(services: Services) -> None:
    api = await services.api(env={**ENV, "EMF_EVERY_S": "600"})
    async with (
        aiohttp.ClientSession(api.url) as client,
        client.post("/api/v1/items/vase/bid", data=b'{"user_id":"ann","amount":5}') as answer,
    ):
        assert answer.status == 201

    assert await api.replicas[0].end(signal.SIGTERM) == 0

    [line] = [each for each in lines_of(api) if "_aws" in each]
    assert line["bid_accepted_total"] == 1
    assert isinstance(line["_aws"]["Timestamp"], int)
    assert abs(line["_aws"]["Timestamp"] / 1000 - time.time()) < 60  # CloudWatch wants ms
