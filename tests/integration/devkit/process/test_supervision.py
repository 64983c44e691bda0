"""Errors that only the process backend has, such as a missing server or a killed supervisor."""

import os
import signal
import subprocess

import pytest

from tests.integration.devkit.conftest import Bidkit, Result, alive

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def backend() -> str:
    return "process"


def test_incomplete_data_directory_is_reported_and_left_alone(bidkit: Bidkit) -> None:
    cluster = bidkit.home / "data" / "postgres"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text("18\n")

    ran = bidkit.up()

    assert ran.code == 7
    assert "is not a whole PostgreSQL data directory: global/pg_control is missing" in ran.err
    assert os.listdir(cluster) == ["PG_VERSION"]  # noqa: PTH208 - hidden ones count
    assert bidkit("get").code == 3


def test_error_for_a_missing_server_says_what_to_install(bidkit: Bidkit) -> None:
    # Makes bidkit look for wheels where there are none.
    without_wheels = (
        "import sys\n"
        "from pkg.devkit.process.wheels import Programs\n"
        "Programs.__init__.__defaults__ = ('/nowhere',)\n"
        "sys.argv = ['bidkit', 'up']\n"
        "from pkg.devkit.cli import main\n"
        "main()\n"
    )
    ran = subprocess.run(
        [bidkit.command()[0], "-P", "-c", without_wheels],
        env=bidkit.environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert ran.returncode == 6
    assert "was not found" in ran.stderr
    assert "pip install" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "verb",
    [
        ("get", "edge"),
        ("get", "edge", "-o", "json"),
        ("describe", "edge"),
        ("logs", "edge"),
        ("scale", "edge=2"),
        ("scale", "api=2", "edge=1"),
        ("restart", "edge"),
    ],
)
def test_every_verb_gives_the_same_error_for_the_edge(
    running: Bidkit, verb: tuple[str, ...]
) -> None:
    ran = running(*verb)

    sentence = (
        "bidkit: the edge, a load balancer, exists only on compose and on cloud; "
        "on process api-gateway and broadcast-service answer on their own ports.\n"
    )
    assert ran == Result(2, "", sentence)
    assert running.get("api-gateway")["desired"] == 1


def test_port_for_the_edge_is_refused(bidkit: Bidkit) -> None:
    ran = bidkit.up("--edge-port=8000")

    assert (ran.code, "the edge, a load balancer, exists only on compose" in ran.err) == (2, True)


def test_error_for_a_port_of_another_bidkit_names_its_process(
    running: Bidkit, bidkit: Bidkit
) -> None:
    ran = bidkit.up(f"--api-port={running.api_port}")

    assert ran.code == 5
    assert f"is taken by another run of bidkit (process {running.supervisor})" in ran.err
    assert f"BIDKIT_HOME={running.home} bidkit down" in ran.err


def test_up_after_a_killed_supervisor_stops_orphans_and_keeps_the_data(bidkit: Bidkit) -> None:
    bidkit.start()
    bidkit("bid", "lamp", "50", "--user", "ann")
    orphans = bidkit.processes()
    os.kill(bidkit.supervisor, signal.SIGKILL)

    bidkit.start()

    assert alive(orphans) == []
    assert bidkit.get("api-gateway")["ready"] == 1
    assert bidkit("bid", "lamp", "50", "--user", "bob").code == 4


def test_down_after_a_killed_supervisor_stops_orphans(bidkit: Bidkit) -> None:
    bidkit.start()
    orphans = bidkit.processes()
    os.kill(bidkit.supervisor, signal.SIGKILL)

    ran = bidkit("down")

    assert ran.code == 0
    assert alive(orphans) == []
