"""What only the compose backend has: containers, volumes, passwords."""

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
def whole(running: Bidkit) -> Iterator[Bidkit]:
    """The system; repaired after the test."""
    yield running
    paused = docker("ps", "-q", "--filter", "status=paused", *of(running)).split()
    if paused:
        docker("unpause", *paused)
    running.started()


def test_the_passwords_are_the_homes_own_and_shown_nowhere(whole: Bidkit) -> None:
    shown = whole("describe", "api").out + whole("describe", "archival").out
    passwords = [file.read_text().strip() for file in (whole.home / "secrets").iterdir()]

    assert len(passwords) >= 3
    assert len(set(passwords)) == len(passwords)
    assert not any(password in shown for password in passwords)
    assert (whole.home / "secrets").stat().st_mode & 0o077 == 0


def test_a_paused_container_is_shown_as_paused(whole: Bidkit) -> None:
    (redis,) = whole.inspect("redis")
    docker("pause", redis["Id"])

    said = whole("describe", "redis").out

    assert "phase    unready" in said
    assert "because  it is paused" in said


async def test_an_unready_service_is_shown_with_its_last_check(whole: Bidkit) -> None:
    (redis,) = whole.inspect("redis")
    docker("pause", redis["Id"])

    replica = await until(lambda: unready(whole, "api-gateway"), within_s=60)

    assert replica is not None
    assert replica["phase"] == "unready"
    assert replica["why"]
    assert replica["why"] in " ".join(whole("describe", "api").out.split())


def test_a_killed_container_is_shown_and_started_by_up(whole: Bidkit) -> None:
    (archival,) = whole.inspect("archival-worker")
    docker("kill", archival["Id"])

    (replica,) = whole.get("archival-worker")["replicas"]
    whole.started()

    assert (replica["phase"], replica["pid"]) == ("stopped", None)
    assert replica["why"] == "ended with code 137; `bidkit up` starts it again"
    assert whole.get("archival-worker")["ready"] == 1


def test_one_operation_at_a_time(whole: Bidkit) -> None:
    with StateDir(whole.home).lock("operation", within_s=0, busy="busy"):
        scale, restart = whole("scale", "api=2"), whole("restart", "api")

    sentence = "bidkit: a service is being scaled or restarted; try again when that is done.\n"
    assert [(scale.code, scale.err), (restart.code, restart.err)] == [(1, sentence)] * 2
    assert whole.get("api-gateway")["desired"] == 1


def test_a_new_replica_that_does_not_get_ready_leaves_the_old_one(whole: Bidkit) -> None:
    before = whole.pids("api-gateway")
    override = whole.home / "compose" / "override.json"
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
        [whole.command()[0], "-P", "-c", impatient, "restart", "api"],
        env=whole.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    override.write_text(good)
    assert ran.returncode == 8
    assert "api-gateway is not ready within 8 s (api-gateway-" in ran.stderr
    assert whole.pids("api-gateway") == before


async def test_an_interrupted_restart_leaves_what_was_there(whole: Bidkit) -> None:
    before = whole.pids("api-gateway")
    restarting = await asyncio.create_subprocess_exec(
        *whole.command("restart", "api"),
        env=whole.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    await until(lambda: len(whole.inspect("api-gateway")) > 1, within_s=20)

    os.killpg(restarting.pid, signal.SIGINT)  # as Ctrl-C at the terminal, to docker's command too
    said, complaints = await asyncio.wait_for(restarting.communicate(), timeout=60)

    assert (restarting.returncode, complaints) == (130, b"")
    assert b"api-gateway-2 is removed again; its log is " in said
    assert whole.pids("api-gateway") == before


def test_nothing_is_started_in_a_system_that_is_being_stopped(whole: Bidkit) -> None:
    state_dir = StateDir(whole.home)
    project, check = Stack(state_dir).project, state_dir.check_wanted
    fleet = Fleet("api-gateway", project=project, state_dir=state_dir, check=check)
    state_dir.running.unlink()

    with pytest.raises(BidkitError, match="the system was stopped meanwhile"):
        fleet.scale(2, say=lambda _: None)

    state_dir.running.touch()
    assert len(whole.inspect("api-gateway")) == 1


def test_the_edge_says_which_replicas_it_has_found(
    whole: Bidkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "FINDS_WITHIN_S", 2.0)
    project = Stack(StateDir(whole.home)).project
    behind = [one for one in project.containers() if one.service in {API, BROADCAST}]
    stranger = replace(behind[0], address="192.0.2.1")

    for one in behind:
        edge.await_found(project, [one], check=no_check)
    with pytest.raises(NotReady, match=f"has not found .* requests to {behind[0].address}"):
        edge.await_found(project, [stranger], check=no_check)


def test_settings_reach_the_services_unchanged_dollars_included(tmp_path: Path) -> None:
    stack = Stack(StateDir(tmp_path))
    stack.remember(Desired(settings={"NATS_USER": "a$b$$c"}))

    given = stack.settings()

    assert {one["NATS_USER"] for one in given.values()} == {"a$b$$c"}


def test_a_restart_uses_the_image_now_tagged_with_the_name(whole: Bidkit) -> None:
    (old,) = whole.inspect("api-gateway")
    name = old["Config"]["Image"]
    subprocess.run(
        ("docker", "build", "--tag", name, "-"),
        input=f"FROM {name}\nLABEL given=yes\n".encode(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    try:
        ran = whole("restart", "api")
        (heir,) = whole.inspect("api-gateway")
    finally:
        docker("tag", old["Image"], name)

    assert "building" not in ran.out
    assert heir["Config"]["Labels"].get("given") == "yes"


def test_an_audit_that_misses_a_bid_exits_with_1(whole: Bidkit) -> None:
    whole("bid", "sold", "10", "--user", "ann")
    assert whole("audit").code == 0
    (postgres,) = whole.inspect("postgres")
    delete = "DELETE FROM bids WHERE item_id = 'sold'"
    docker("exec", postgres["Id"], "sh", "-c", QUERY, delete)

    ran = whole("audit", "--wait", "0", "--json")

    assert ran.code == 1
    assert json.loads(ran.out)


def test_up_removes_containers_that_no_up_of_this_home_started(bidkit: Bidkit) -> None:
    bidkit.started()
    (bidkit.home / "compose" / "running").unlink()
    old = {one["Id"] for one in bidkit.inspect("redis")}

    again = bidkit.up()

    assert (again.code, again.err) == (0, "")
    assert "ended what an earlier run had left: api-gateway-1, " in again.out
    assert old.isdisjoint(one["Id"] for one in bidkit.inspect("redis"))


def test_down_keeps_the_volumes_and_with_volumes_removes_everything(bidkit: Bidkit) -> None:
    bidkit.started()
    running = left(bidkit)

    down = bidkit("down")
    kept = left(bidkit)
    shutil.rmtree(bidkit.home / "secrets")
    locked_out = bidkit.up()
    gone = bidkit("down", "--volumes")

    assert (down.code, gone.code) == (0, 0)
    assert [len(running[kind]) > 0 for kind in ("container", "network", "volume")] == [True] * 3
    assert kept == {"container": [], "network": [], "volume": running["volume"]}
    assert locked_out.code == 7
    assert "the passwords of the data in " in locked_out.err
    assert left(bidkit) == {"container": [], "network": [], "volume": []}
    assert not (bidkit.home / "secrets").exists()


def test_where_no_engine_answers_a_sentence_says_so(bidkit: Bidkit) -> None:
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


def of(bidkit: Bidkit) -> tuple[str, str]:
    return ("--filter", f"label=com.docker.compose.project={bidkit.project}")


def left(bidkit: Bidkit) -> dict[str, list[str]]:
    return {
        "container": docker("ps", "-aq", *of(bidkit)).split(),
        "network": docker("network", "ls", "-q", *of(bidkit)).split(),
        "volume": sorted(docker("volume", "ls", "-q", *of(bidkit)).split()),
    }


def unready(bidkit: Bidkit, service: str) -> dict[str, str] | None:
    (replica,) = bidkit.get(service)["replicas"]
    return None if replica["ready"] else replica
