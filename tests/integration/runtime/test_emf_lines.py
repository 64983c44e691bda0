"""What alarms and dashboard ask for is in the lines that the services' processes write."""

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
    """Its log's lines, each a JSON object: those of EMF, and the records of its logger."""
    [replica] = service.replicas
    *whole, _begun = replica.log_file.read_text().split("\n")
    return [json.loads(line) for line in whole]


def told_by(service: Service) -> set[tuple[str, str]]:
    """Metrics, and the service that they are said to be of."""
    return {
        (metric["Name"], line["Service"])
        for line in lines_of(service)
        if "_aws" in line
        for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]
    }


def asked() -> set[tuple[str, str]]:
    """Metrics and their services, as the alarms and the dashboard of Terraform name them."""
    text = "".join(
        (ROOT / "terraform" / f"{name}.tf").read_text() for name in ("observability", "dashboard")
    )
    return set(re.findall(r'"(bid_\w+)", (?:service =|"Service",) "([\w-]+)"', text))


@pytest.mark.timeout(90)
async def test_every_metric_is_told_by_the_service_that_alarms_name(services: Services) -> None:
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

    def told() -> bool:
        return set().union(*(told_by(each) for each in running)) >= asked()

    assert {metric for metric, _ in asked()} == {each.name for each in EMITTED}
    await until(told, within_s=20, log=lambda: "\n".join(each.log for each in running))


@pytest.mark.timeout(60)
async def test_what_was_counted_before_the_end_is_in_the_last_line(services: Services) -> None:
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
