"""Verbs on a running system."""

import asyncio
import json
import os
import re
import signal
import subprocess
from collections.abc import Awaitable

import aiohttp
import pytest

from pkg.trials.waiting import until
from tests.integration.devkit.conftest import Bidkit, Result

pytestmark = pytest.mark.timeout(180)

SERVICES = ["api-gateway", "broadcast-service", "archival-worker", "redis", "nats", "postgres"]
EXPECTED_SERVICES = {"process": SERVICES, "compose": [*SERVICES, "edge"]}
LOGS = {"process": "api-gateway-1.log", "compose": "-api-gateway-1"}


def test_get_as_json_shows_every_service(running: Bidkit) -> None:
    ran = running("get", "-o", "json")

    status = json.loads(ran.out)
    assert [one["service"] for one in status["services"]] == EXPECTED_SERVICES[running.backend]
    assert all(one["ready"] == one["desired"] >= 1 for one in status["services"])
    (api,) = (one for one in status["services"] if one["service"] == "api-gateway")
    assert api["port"] == running.api_port
    (replica,) = api["replicas"]
    assert replica["age_s"] > 0
    assert replica["memory_bytes"] > 2**20
    os.kill(replica["pid"], 0)


def test_get_shows_every_service_in_a_table(running: Bidkit) -> None:
    ran = running("get")

    head, *rows = (line.split() for line in ran.out.splitlines())
    assert head == ["SERVICE", "READY", "RESTARTS", "PORT", "PID", "CPU", "MEMORY", "AGE"]
    assert [row[:2] for row in rows] == [
        [name, "1/1"] for name in EXPECTED_SERVICES[running.backend]
    ]


def test_describe_shows_port_settings_and_log(running: Bidkit) -> None:
    ran = running("describe", "api")

    assert f"port      {running.api_port}" in ran.out
    assert "/ready (and /health, /metrics)" in ran.out
    assert "setting   BID_STRATEGY=lua" in ran.out
    assert LOGS[running.backend] in ran.out


def test_bids_are_accepted_refused_and_archived(running: Bidkit) -> None:
    accepted = running("bid", "lamp", "125.50", "--user", "alice", "-o", "json")
    refused = running("bid", "lamp", "125.50", "--user", "bob")
    second = running("bid", "lamp", "1130", "--user", "bob")
    invalid = running("bid", "lamp", "0.001", "--user", "bob")
    audited = running("audit", "--json")

    answer = json.loads(accepted.out)
    assert (accepted.code, answer["item_id"], answer["your_bid"], answer["seq"]) == (
        0,
        "lamp",
        125.5,
        1,
    )
    assert (second.code, second.out) == (
        0,
        "Bid placed successfully! lamp: 1,130.00, seq 2\n",
    )
    assert (refused.code, refused.err) == (
        4,
        "bidkit: Bid too low. Current highest bid is $125.50\n",
    )
    assert (invalid.code, "(400, " in invalid.err) == (2, True)
    assert audited.code == 0
    json.loads(audited.out)


async def test_watch_shows_new_bids_until_it_is_interrupted(running: Bidkit) -> None:
    watching = await asyncio.create_subprocess_exec(
        *running.command("watch", "vase"),
        env=running.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert watching.stdout is not None

    greeting = await watching.stdout.readline()
    await asyncio.to_thread(running, "bid", "vase", "12.30", "--user", "ann")
    bid = await watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    _, stderr = await watching.communicate()

    assert greeting.split()[-1] == b"(connected)"
    assert bid.split() == [b"#1", b"12.30", b"ann", b"(before:", b"0.00)"]
    assert (watching.returncode, stderr) == (130, b"")


def test_logs_name_the_replica(running: Bidkit) -> None:
    ran = running("logs", "redis", "-n", "2")

    lines = ran.out.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("redis | ") for line in lines)


async def test_followed_logs_include_a_new_replica(running: Bidkit) -> None:
    following = await asyncio.create_subprocess_exec(
        *running.command("logs", "api", "-f", "-n", "1"),
        env=running.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert following.stdout is not None
    old = {replica["name"] for replica in running.get("api-gateway")["replicas"]}
    first = await asyncio.wait_for(following.stdout.readline(), timeout=10)
    await asyncio.to_thread(running, "scale", "api=2")
    new = {replica["name"] for replica in running.get("api-gateway")["replicas"]} - old

    async def replica_of_next_line() -> str:
        assert following.stdout is not None
        return (await following.stdout.readline()).decode().partition(" | ")[0]

    await until(lambda: _is_among(replica_of_next_line(), new), within_s=20)
    following.send_signal(signal.SIGINT)
    _, stderr = await following.communicate()
    assert first.decode().partition(" | ")[0] in old
    assert (following.returncode, stderr) == (130, b"")
    running("scale", "api=1")


async def _is_among(replica_of_next_line: Awaitable[str], names: set[str]) -> bool:
    return await replica_of_next_line in names


def test_services_scale_up_and_down(running: Bidkit) -> None:
    up = running("scale", "api-gateway=3", "broadcast=2")
    grown = running.get("api-gateway")
    down = running("scale", "api=1", "broadcast=1")
    shrunk = running.get("api-gateway")
    logs = running("logs", "api-gateway", "-n", "1")

    assert (up.code, down.code) == (0, 0)
    assert (grown["ready"], grown["desired"], shrunk["ready"], shrunk["desired"]) == (3, 3, 1, 1)
    kept = {replica["name"] for replica in shrunk["replicas"]}
    shown = {line.partition(" | ")[0] for line in logs.out.splitlines()}
    assert kept <= shown
    assert all(name.endswith(" (ended)") for name in shown - kept)


async def test_crashed_replica_is_restarted_and_counted(running: Bidkit) -> None:
    before = running.get("archival-worker")
    os.kill(before["replicas"][0]["pid"], signal.SIGKILL)

    await until(
        lambda: running.get("archival-worker")["restarts"] == before["restarts"] + 1,
        within_s=10,
    )
    await until(lambda: running.get("archival-worker")["ready"] == 1, within_s=15)


@pytest.mark.parametrize("replicas", [1, 2])
async def test_a_rolling_restart_fails_no_request(running: Bidkit, replicas: int) -> None:
    running("scale", f"api={replicas}")
    before = running.pids("api-gateway")
    answered, failures, done = 0, list[str](), asyncio.Event()

    async def client(user: str) -> None:
        # Bids, because aiohttp retries idempotent requests by itself.
        nonlocal answered
        url = f"{running.api_url}/api/v1/items/{user}-{replicas}/bid"
        async with aiohttp.ClientSession() as session:
            while not done.is_set():
                answered += 1
                body = {"user_id": user, "amount": answered}
                try:
                    async with session.post(url, json=body) as response:
                        if response.status not in {200, 201}:
                            failures.append(await response.text())
                except aiohttp.ClientError as error:
                    failures.append(repr(error))
                await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as clients:
        for number in range(8):
            clients.create_task(client(f"u{number}"))
        ran = await asyncio.to_thread(running, "restart", "api")
        restarted_at = answered
        await until(lambda: answered > restarted_at + 100, within_s=10)
        done.set()

    assert (ran.code, failures) == (0, [])
    after = running.pids("api-gateway")
    assert len(after) == replicas
    assert not before & after
    running("scale", "api=1")


async def test_restarted_store_keeps_its_data(running: Bidkit) -> None:
    running("bid", "chair", "10", "--user", "ann")
    before = running.pids("redis")

    ran = running("restart", "redis")
    # Bids get 503 until the gateways have checked that Redis kept its data.
    bid = await until(
        lambda: None if "(503, " in (bid := equal_bid(running)).err else bid, within_s=30
    )

    assert (ran.code, before & running.pids("redis")) == (0, set())
    assert bid == Result(4, "", "bidkit: Bid too low. Current highest bid is $10.00\n")
    assert running("audit").code == 0


def equal_bid(running: Bidkit) -> Result:
    return running("bid", "chair", "10", "--user", "bob")


def test_second_up_says_already_running(running: Bidkit) -> None:
    again = running.up()

    assert (again.code, "already running" in again.out) == (0, True)
    assert running.api_url in again.out


def test_second_up_with_other_options_is_refused(running: Bidkit) -> None:
    again = running.up("--bid-strategy", "optimistic")

    assert again.code == 2
    assert "with other options: --bid-strategy is lua, not optimistic. " in again.err


def test_second_up_with_the_same_options_succeeds(running: Bidkit) -> None:
    again = running.up("--bid-strategy", "lua", "--set", "LOG_FORMAT=text")

    assert (again.code, again.err) == (0, "")


def test_describe_shows_the_settings_of_a_service_and_none_of_a_store(running: Bidkit) -> None:
    redis, broadcast = running("describe", "redis").out, running("describe", "broadcast").out

    assert "setting" not in redis
    assert "setting   NATS_URL=" in broadcast
    assert "setting   NATS_USER=broadcast-service" in broadcast
    assert re.search(r"NATS_PASSWORD=\(secret\)|NATS_PASSWORD_FILE=/run/secrets/", broadcast)
    assert "POSTGRES_URL" not in broadcast


def test_bid_and_restart_say_if_there_are_no_replicas(running: Bidkit) -> None:
    running("scale", "api=0")

    bid, restart = running("bid", "lamp", "1", "--user", "ann"), running("restart", "api")

    assert running("scale", "api=1").code == 0
    assert running("bid", "first-after-none", "1", "--user", "ann").code == 0
    assert (bid.code, "api-gateway has 0 replicas" in bid.err) == (1, True)
    assert "`bidkit scale api-gateway=1`" in bid.err
    assert (restart.code, "there is nothing to restart" in restart.out) == (0, True)


def test_negative_amount_reaches_the_api_and_is_refused(running: Bidkit) -> None:
    ran = running("bid", "lamp", "-5", "--user", "ann")

    assert (ran.code, "(400, " in ran.err) == (2, True)


@pytest.mark.parametrize("verb", ["audit", "restore", "redrive"])
def test_unknown_option_of_a_passed_on_verb_shows_bidkit_s_usage(
    running: Bidkit, verb: str
) -> None:
    ran = running(verb, "--nosuch")

    assert (ran.code, f"Usage: bidkit {verb} [OPTIONS]" in ran.err) == (2, True)


def test_redrive_finds_no_dead_letters(running: Bidkit) -> None:
    ran = running("redrive", "--dry-run", "--reason", "bad_event", "--json")

    report = json.loads(ran.out)
    assert (ran.code, report["redriven"]) == (0, False)
    assert report["why_not"] == "There are no dead letters of reason bad_event."


def test_restore_finds_nothing_to_do(running: Bidkit) -> None:
    running("bid", "stool", "10", "--user", "ann")

    ran = running("restore", "--dry-run", "--json")

    report = json.loads(ran.out)
    assert (ran.code, report["restored"], report["put_back"]) == (0, False, 0)
    assert report["why_not"] == "Redis is open and lacks nothing that the other stores have."
    assert report["plan"]["open"]
    assert report["plan"]["items"] >= 1
    assert (report["plan"]["items_to_put_back"], report["plan"]["refused"]) == (0, 0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("get", "gateway"), "there is no service 'gateway'"),
        (("scale", "api=-1"), "can have 0 to 32 replicas, not '-1'"),
        (("scale", "redis=2"), "redis is a store and cannot be scaled"),
        (("restart", "lamp"), "there is no service 'lamp'"),
        (("bid", "lamp", "many", "--user", "ann"), "'many' is not an amount"),
        (("up", "--set", "conflate=5"), "'conflate=5' is not a setting"),
        (("up", "--set", "CONFLATE=5"), "no service reads a setting CONFLATE; did you mean"),
        (("watch", "my vase"), "'my vase' is not an item id; one has 1 to 128 of A-Z a-z 0-9"),
    ],
)
def test_usage_error_is_one_sentence(
    running: Bidkit, arguments: tuple[str, ...], sentence: str
) -> None:
    ran = running(*arguments)

    assert ran.code == 2
    assert sentence in ran.err
    assert len(ran.err.splitlines()) == 1


def test_up_on_the_other_backend_is_refused(running: Bidkit) -> None:
    (other,) = {"process", "compose"} - {running.backend}

    ran = running("up", "-d", f"--on={other}")

    assert ran.code == 1
    assert f"the system of this home runs on {running.backend}, not {other}" in ran.err
    assert running.get("api-gateway")["ready"] == 1
