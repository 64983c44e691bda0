"""Tests for the compose backend only: containers, volumes, passwords."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pkg.devkit.compose import edge
from pkg.devkit.compose.fleet import Fleet
from pkg.devkit.compose.stack import Stack
from pkg.devkit.compose.state_dir import StateDir
from pkg.devkit.errors import BidkitError, NotReady
from pkg.devkit.names import API, BROADCAST
from pkg.devkit.signals import no_check
from pkg.devkit.system import Desired
from pkg.trials.waiting import until
from tests.integration.devkit.conftest import Bidkit, docker

pytestmark = pytest.mark.timeout(300)

QUERY = 'psql -U "${POSTGRES_USER:-postgres}" "${POSTGRES_DB:-${POSTGRES_USER:-postgres}}" -c "$0"'


@pytest.fixture(scope="module")
def backend() -> str:
    return "compose"


@pytest.fixture
def breakable(running: Bidkit) -> Iterator[Bidkit]:
    """A running system that the test may break; repaired afterwards."""
    yield running
    paused = docker("ps", "-q", "--filter", "status=paused", *label_filter(running)).split()
    if paused:
        docker("unpause", *paused)
    running.start()


def test_each_home_has_its_own_passwords_and_never_shows_them(breakable: Bidkit) -> None:
    shown = breakable("describe", "api").out + breakable("describe", "archival").out
    passwords = [file.read_text().strip() for file in (breakable.home / "secrets").iterdir()]

    assert len(passwords) >= 3
    assert len(set(passwords)) == len(passwords)
    assert not any(password in shown for password in passwords)
    assert (breakable.home / "secrets").stat().st_mode & 0o077 == 0


def test_paused_container_is_shown_as_paused(breakable: Bidkit) -> None:
    (redis,) = breakable.inspect("redis")
    docker("pause", redis["Id"])

    description = breakable("describe", "redis").out

    assert "phase    unready" in description
    assert "because  it is paused" in description


async def test_unready_service_is_shown_with_the_reason(breakable: Bidkit) -> None:
    (redis,) = breakable.inspect("redis")
    docker("pause", redis["Id"])

    replica = await until(lambda: unready(breakable, "api-gateway"), within_s=60)

    assert replica is not None
    assert replica["phase"] == "unready"
    assert replica["why"]
    assert replica["why"] in " ".join(breakable("describe", "api").out.split())


def test_killed_container_is_shown_and_restarted_by_up(breakable: Bidkit) -> None:
    (archival,) = breakable.inspect("archival-worker")
    docker("kill", archival["Id"])

    (replica,) = breakable.get("archival-worker")["replicas"]
    breakable.start()

    assert (replica["phase"], replica["pid"]) == ("stopped", None)
    assert replica["why"] == "ended with code 137; `bidkit up` starts it again"
    assert breakable.get("archival-worker")["ready"] == 1


def test_one_operation_at_a_time(breakable: Bidkit) -> None:
    with StateDir(breakable.home).lock("operation", within_s=0, busy="busy"):
        scale, restart = breakable("scale", "api=2"), breakable("restart", "api")

    sentence = "bidkit: a service is being scaled or restarted; try again when that is done.\n"
    assert [(scale.code, scale.err), (restart.code, restart.err)] == [(1, sentence)] * 2
    assert breakable.get("api-gateway")["desired"] == 1


def test_restart_whose_new_replica_is_unready_keeps_the_old_one(breakable: Bidkit) -> None:
    before = breakable.pids("api-gateway")
    override = breakable.home / "compose" / "override.json"
    good = override.read_text()
    changed = json.loads(good)
    changed["services"]["api-gateway"]["environment"]["REDIS_TIMEOUT_S"] = "never"
    override.write_text(json.dumps(changed))
    impatient = (
        "from pkg.devkit.compose import fleet\n"
        "fleet.READY_WITHIN_S = 8.0\n"
        "from pkg.devkit.cli import main\n"
        "main()\n"
    )

    ran = subprocess.run(
        [breakable.command()[0], "-P", "-c", impatient, "restart", "api"],
        env=breakable.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    override.write_text(good)
    assert ran.returncode == 8
    assert "api-gateway is not ready within 8 s (api-gateway-" in ran.stderr
    assert breakable.pids("api-gateway") == before


async def test_interrupted_restart_keeps_the_old_replica(breakable: Bidkit) -> None:
    before = breakable.pids("api-gateway")
    restarting = await asyncio.create_subprocess_exec(
        *breakable.command("restart", "api"),
        env=breakable.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    await until(lambda: len(breakable.inspect("api-gateway")) > 1, within_s=20)

    os.killpg(restarting.pid, signal.SIGINT)  # like Ctrl-C, docker gets it too
    stdout, stderr = await asyncio.wait_for(restarting.communicate(), timeout=60)

    assert (restarting.returncode, stderr) == (130, b"")
    assert b"api-gateway-2 is removed again; its log is " in stdout
    assert breakable.pids("api-gateway") == before


def test_scale_is_refused_while_the_system_is_being_stopped(breakable: Bidkit) -> None:
    state_dir = StateDir(breakable.home)
    project, check = Stack(state_dir).project, state_dir.check_wanted
    fleet = Fleet("api-gateway", project=project, state_dir=state_dir, check=check)
    state_dir.running.unlink()

    with pytest.raises(BidkitError, match="the system was stopped meanwhile"):
        fleet.scale(2, say=lambda _: None)

    state_dir.running.touch()
    assert len(breakable.inspect("api-gateway")) == 1


def test_await_found_waits_for_the_edge_to_find_a_replica(
    breakable: Bidkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "FINDS_WITHIN_S", 2.0)
    project = Stack(StateDir(breakable.home)).project
    replicas = [one for one in project.containers() if one.service in {API, BROADCAST}]
    unknown = replace(replicas[0], address="192.0.2.1")

    for one in replicas:
        edge.await_found(project, [one], check=no_check)
    with pytest.raises(NotReady, match=f"has not found .* requests to {replicas[0].address}"):
        edge.await_found(project, [unknown], check=no_check)


def test_dollars_in_settings_reach_the_services_unchanged(tmp_path: Path) -> None:
    stack = Stack(StateDir(tmp_path))
    stack.remember(Desired(settings={"NATS_USER": "a$b$$c"}))

    settings = stack.settings()

    assert {one["NATS_USER"] for one in settings.values()} == {"a$b$$c"}


def test_restart_uses_the_newest_image_of_that_tag(breakable: Bidkit) -> None:
    (old,) = breakable.inspect("api-gateway")
    name = old["Config"]["Image"]
    subprocess.run(
        ("docker", "build", "--tag", name, "-"),
        input=f"FROM {name}\nLABEL newest=yes\n".encode(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    try:
        ran = breakable("restart", "api")
        (restarted,) = breakable.inspect("api-gateway")
    finally:
        docker("tag", old["Image"], name)

    assert "building" not in ran.out
    assert restarted["Config"]["Labels"].get("newest") == "yes"


def test_audit_that_misses_a_bid_exits_with_1(breakable: Bidkit) -> None:
    breakable("bid", "sold", "10", "--user", "ann")
    assert breakable("audit").code == 0
    (postgres,) = breakable.inspect("postgres")
    delete = "DELETE FROM bids WHERE item_id = 'sold'"
    docker("exec", postgres["Id"], "sh", "-c", QUERY, delete)

    ran = breakable("audit", "--wait", "0", "--json")

    assert ran.code == 1
    assert json.loads(ran.out)


def test_up_removes_leftover_containers_of_this_home(bidkit: Bidkit) -> None:
    bidkit.start()
    (bidkit.home / "compose" / "running").unlink()
    old = {one["Id"] for one in bidkit.inspect("redis")}

    again = bidkit.up()

    assert (again.code, again.err) == (0, "")
    assert "ended what an earlier run had left: api-gateway-1, " in again.out
    assert old.isdisjoint(one["Id"] for one in bidkit.inspect("redis"))


def test_down_keeps_the_volumes_and_with_volumes_removes_everything(bidkit: Bidkit) -> None:
    bidkit.start()
    running = resources(bidkit)

    down = bidkit("down")
    kept = resources(bidkit)
    shutil.rmtree(bidkit.home / "secrets")
    without_passwords = bidkit.up()
    gone = bidkit("down", "--volumes")

    assert (down.code, gone.code) == (0, 0)
    assert [len(running[kind]) > 0 for kind in ("container", "network", "volume")] == [True] * 3
    assert kept == {"container": [], "network": [], "volume": running["volume"]}
    assert without_passwords.code == 7
    assert "the passwords of the data in " in without_passwords.err
    assert resources(bidkit) == {"container": [], "network": [], "volume": []}
    assert not (bidkit.home / "secrets").exists()


def test_missing_engine_is_reported_in_one_sentence(bidkit: Bidkit) -> None:
    ran = subprocess.run(
        bidkit.command("up", "-d", "--on=compose"),
        env={**bidkit.environment, "DOCKER_HOST": "unix:///nowhere"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert ran.returncode == 6
    assert "no Docker engine answers" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def label_filter(bidkit: Bidkit) -> tuple[str, str]:
    return ("--filter", f"label=com.docker.compose.project={bidkit.project}")


def resources(bidkit: Bidkit) -> dict[str, list[str]]:
    return {
        "container": docker("ps", "-aq", *label_filter(bidkit)).split(),
        "network": docker("network", "ls", "-q", *label_filter(bidkit)).split(),
        "volume": sorted(docker("volume", "ls", "-q", *label_filter(bidkit)).split()),
    }


def unready(bidkit: Bidkit, service: str) -> dict[str, str] | None:
    (replica,) = bidkit.get(service)["replicas"]
    return None if replica["ready"] else replica
