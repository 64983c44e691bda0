"""The load test as its documents run it, against real services: whose counts must agree."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.processes import ROOT, Service, Services

LOCUST = Path(sys.executable).with_name("locust")


@dataclass
class Run:
    """A finished load test."""

    code: int
    bids: dict[str, Any]
    """By outcome."""
    requests: dict[str, int]
    """Requests by Locust's name of them."""
    failures: dict[str, int]
    output: str


async def locust(
    folder: Path, url: str, *arguments: str, env: dict[str, str] | None = None, within_s: float = 50
) -> Run:
    outcomes = folder / "outcomes.json"
    stats = folder / "stats"  # Locust adds .json
    process = await asyncio.create_subprocess_exec(
        *(LOCUST, "-f", "locustfile.py", "--headless", "--host", url, "--json-file", stats),
        *arguments,
        cwd=ROOT / "load-tests",
        env={**os.environ, "LOAD_OUTCOMES": str(outcomes), **(env or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), timeout=within_s)
    except TimeoutError:
        process.terminate()
        await process.wait()
        raise
    rows = json.loads(stats.with_suffix(".json").read_text(encoding="utf-8"))
    return Run(
        code=process.returncode or 0,
        bids=json.loads(outcomes.read_text(encoding="utf-8")),
        requests={row["name"]: row["num_requests"] for row in rows},
        failures={row["name"]: row["num_failures"] for row in rows},
        output=output.decode(),
    )


async def counted_by(api: Service) -> dict[str, int]:
    """``bid_requests_total`` of all replicas, by outcome."""
    counted: dict[str, int] = {}
    async with aiohttp.ClientSession() as client:
        for replica in api.replicas:
            async with client.get(f"{replica.admin_url}/metrics") as answer:
                page = await answer.text()
            for family in text_string_to_metric_families(page):
                for sample in family.samples:
                    if sample.name == "bid_requests_total" and sample.value:
                        outcome = sample.labels["outcome"]
                        counted[outcome] = counted.get(outcome, 0) + int(sample.value)
    return counted


@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    ("users", "strategy", "more"),
    [
        ("ContendedItemBidder", "lua", []),
        ("ContendedItemBidder", "optimistic", []),
        ("ContendedItemBidder", None, ["--processes", "2"]),
        ("BidderUser", "lua", []),
        ("MixedWorkloadUser", "optimistic", []),
    ],
)
async def test_its_counts_are_those_of_the_gateways_and_nothing_is_lost(
    services: Services, tmp_path: Path, users: str, strategy: str | None, more: list[str]
) -> None:
    await services.archival()
    api = await services.api(replicas=2)
    env = {"BID_STRATEGY": strategy} if strategy else {}

    run = await locust(tmp_path, api.url, "-u", "20", "-r", "20", "-t", "4s", users, *more, env=env)

    counted = await counted_by(api)
    bids = run.bids
    name = f"bid {strategy}" if strategy else "bid"
    assert run.code == 0, run.output
    assert bids["accepted"] == counted["accepted"] > 0
    assert bids["refused"] == counted.get("too_low", 0)
    assert bids["failed"] == counted.get("busy", 0)
    assert bids["unknown"] == 0
    assert run.requests["read item"] == counted["read"]
    assert run.requests[name] == bids["accepted"] + bids["refused"] + bids["failed"]
    assert run.failures[name] == bids["failed"]
    assert f"{bids['accepted']} accepted, {bids['refused']} refused by a rule" in run.output
    code, report, stderr = await services.run("archival", "audit", "--json")
    assert code == 0, report + stderr


async def test_where_a_request_may_not_choose_the_strategy_it_stops_with_a_sentence(
    services: Services, tmp_path: Path
) -> None:
    await services.archival()
    api = await services.api(env={"BID_STRATEGY_OVERRIDE": "false"})

    run = await locust(
        tmp_path,
        api.url,
        *("-u", "5", "-r", "5", "-t", "40s", "ContendedItemBidder"),
        env={"BID_STRATEGY": "lua"},
    )

    assert run.code == 2
    assert run.output.count("Unset BID_STRATEGY, or start the gateway with") == 1
    assert run.bids["accepted"] == 0
    assert run.bids["failures"].keys() == {"strategy_override_off"}


async def test_bid_without_an_answer_is_unknown_and_is_not_sent_again(tmp_path: Path) -> None:
    bids: list[bytes] = []

    async def answer(request: web.Request) -> web.Response:
        if request.method == "GET":
            return web.json_response({"current_bid": 1.00})
        bids.append(await request.read())
        match len(bids) % 3:
            case 0:
                return web.json_response({"code": "outcome_unknown"}, status=503)
            case 1:
                assert request.transport is not None
                request.transport.abort()
        return web.json_response({"code": "busy"}, status=503)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        run = await locust(
            tmp_path,
            f"http://127.0.0.1:{port}",
            *("-u", "3", "-r", "3", "-t", "4s", "ContendedItemBidder"),
        )
    finally:
        await runner.cleanup()

    assert run.bids["failed"] + run.bids["unknown"] == len(bids) == run.requests["bid"] > 0
    assert (
        run.bids["failed"] == run.bids["failures"]["busy"] == len(bids) // 3 + (len(bids) % 3 == 2)
    )
    assert run.bids["failures"]["outcome_unknown"] == len(bids) // 3


async def test_gateway_that_cannot_be_reached_has_taken_no_bid(tmp_path: Path) -> None:
    run = await locust(
        tmp_path,
        "http://127.0.0.1:9",
        *("-u", "2", "-r", "2", "-t", "2s", "ContendedItemBidder"),
    )

    assert run.code == 1
    assert run.bids["unknown"] == 0
    assert set(run.requests) == {"read item"}
    assert run.failures == run.requests


async def test_unknown_strategy_is_refused_with_those_there_are(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(LOCUST, "-f", "locustfile.py", "--headless", "--host", "http://127.0.0.1:9"),
        cwd=ROOT / "load-tests",
        env={**os.environ, "BID_STRATEGY": "Lua"},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()

    assert process.returncode == 2
    assert output.decode() == "BID_STRATEGY is 'Lua'; it must be one of: lua, optimistic\n"
