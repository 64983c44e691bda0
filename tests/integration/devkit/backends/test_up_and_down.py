"""`up` and `down`, also interrupted."""

import asyncio
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import pytest

from pkg.trials.waiting import until
from tests.integration.devkit.conftest import Bidkit, Result, alive, removed_afterwards

pytestmark = pytest.mark.timeout(180)


@dataclass(frozen=True, slots=True)
class RestartedSystem:
    """A system that was used, stopped, and started again."""

    bidkit: Bidkit
    first_processes: list[psutil.Process]
    down: Result


@pytest.fixture(scope="module")
def restarted(
    no_leftovers: None, backend: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RestartedSystem]:
    home = tmp_path_factory.mktemp("second-life") / "home"
    with removed_afterwards(Bidkit(home, backend=backend)) as kit:
        options = "--bid-strategy", "optimistic", "--set", "LOG_LEVEL=debug", "--set=CONFLATE_MS=50"
        kit.start(*options)
        kit("scale", "broadcast=2")
        kit("bid", "lamp", "99.99", "--user", "ann")
        processes = kit.processes()
        down = kit("down")
        kit.start()
        yield RestartedSystem(kit, processes, down)


def test_down_leaves_no_process(restarted: RestartedSystem) -> None:
    assert (restarted.down.code, restarted.down.err) == (0, "")
    assert restarted.down.out.splitlines()[-1] == "Everything is stopped."
    assert len(restarted.first_processes) > 8
    assert alive(restarted.first_processes) == []


def test_bids_outlive_down_and_up(restarted: RestartedSystem) -> None:
    with urllib.request.urlopen(  # noqa: S310 - our own address
        f"{restarted.bidkit.api_url}/api/v1/items/lamp"
    ) as answer:
        assert b'"current_bid":99.99' in answer.read()
    assert restarted.bidkit("audit").code == 0


def test_replicas_and_options_are_kept_after_down(restarted: RestartedSystem) -> None:
    description = restarted.bidkit("describe", "broadcast").out

    assert restarted.bidkit.get("broadcast-service")["ready"] == 2
    assert "LOG_LEVEL=debug" in description
    assert "CONFLATE_MS=50" in description
    assert "BID_STRATEGY=optimistic" in restarted.bidkit("describe", "api").out


def test_down_with_volumes_deletes_bids_and_options_and_frees_the_ports(bidkit: Bidkit) -> None:
    bidkit.start("--bid-strategy", "optimistic")
    bidkit("bid", "lamp", "99.99", "--user", "ann")
    lines = bidkit("down", "--volumes").out.splitlines()
    assert lines[-1] == f"All data on {bidkit.backend} is deleted."
    with socket.create_server(("127.0.0.1", bidkit.api_port)):
        pass

    bidkit.start()

    assert bidkit("bid", "lamp", "1", "--user", "ann").code == 0
    assert "BID_STRATEGY=lua" in bidkit("describe", "api").out


def test_port_in_use_is_reported_before_anything_starts(bidkit: Bidkit) -> None:
    with socket.create_server(("127.0.0.1", bidkit.api_port)):
        ran = bidkit.up()

    assert ran.code == 5
    assert f"port {bidkit.api_port} for the api-gateway is taken" in ran.err
    assert bidkit("get").code == 3


def test_service_that_never_gets_ready_is_named_and_the_rest_keeps_running(
    bidkit: Bidkit,
) -> None:
    bidkit.start()  # the first gateway of a new system waits for the archive
    assert bidkit("down").code == 0
    # Nothing listens on port 1. Gateways wait ten seconds for the archive, hence 25 here.
    impatient = (
        f"from pkg.devkit.{bidkit.backend} import backend\n"
        "backend.READY_WITHIN_S = 25.0\n"
        "from pkg.devkit.cli import main\n"
        "main()\n"
    )
    unreachable = "--set=POSTGRES_URL=postgresql://nobody@127.0.0.1:1/nothing"
    ran = subprocess.run(
        [bidkit.command()[0], "-P", "-c", impatient, "up", "-d", unreachable, *bidkit.ports],
        env=bidkit.environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )

    assert ran.returncode == 8
    assert "archival-worker-1 does not get ready" in ran.stderr
    assert "Everything else keeps running; `bidkit down` stops it." in ran.stderr
    assert bidkit.get("api-gateway")["ready"] == 1


def test_invalid_setting_is_refused_and_not_kept(bidkit: Bidkit) -> None:
    bad = bidkit.up("--set", "CONFLATE_MS=abc")
    nothing_runs = bidkit("get")
    good = bidkit.up()

    assert (bad.code, nothing_runs.code, good.code) == (2, 3, 0), good.err
    assert "CONFLATE_MS: 'abc' is not a whole number from 1 to 60000." in bad.err


def test_conflicting_settings_are_refused_and_not_kept(bidkit: Bidkit) -> None:
    # REDIS_URL and REDIS_ADDR exclude each other; the backend sets one of them.
    second = {"process": "REDIS_ADDR=redis:6379", "compose": "REDIS_URL=redis://redis:6379"}
    bad = bidkit.up("--set", second[bidkit.backend])

    assert bad.code == 2
    assert "api-gateway would not start: set either REDIS_URL or REDIS_ADDR" in bad.err
    lines = bidkit("down", "--volumes").out.splitlines()
    assert lines[-1] == f"There was no data on {bidkit.backend} to delete."


def test_two_services_on_one_port_are_refused(bidkit: Bidkit) -> None:
    ran = bidkit.up(f"--api-port={bidkit.broadcast_port}")

    assert ran.code == 2
    assert f"cannot both serve on port {bidkit.broadcast_port}" in ran.err


def test_without_a_system_verbs_fail_and_down_succeeds(bidkit: Bidkit) -> None:
    results = [bidkit("get"), bidkit("scale", "api=2"), bidkit("bid", "a", "1", "-u", "u")]
    down = bidkit("down")

    sentence = "bidkit: nothing is running; `bidkit up` starts the system.\n"
    assert results == [Result(3, "", sentence)] * 3
    assert down == Result(0, "Nothing was running.\n", "")
    # Without --on, an empty home counts as one of the process backend.
    deleted = bidkit("down", "--volumes", "--on", bidkit.backend)
    assert deleted.out.splitlines() == [
        "Nothing was running.",
        f"There was no data on {bidkit.backend} to delete.",
    ]


async def test_interrupt_in_the_foreground_stops_the_system_gracefully(bidkit: Bidkit) -> None:
    process = await asyncio.create_subprocess_exec(
        *bidkit.command("up", *bidkit.ports),
        env=bidkit.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    while (await process.stdout.readline()) != b"Ctrl-C stops it.\n":
        assert process.returncode is None
    processes = await until(bidkit.processes, within_s=5)

    process.send_signal(signal.SIGINT)
    out, err = await process.communicate()

    assert (process.returncode, err) == (0, b"")
    assert out.splitlines()[-1] == b"Everything is stopped."
    assert alive(processes) == []


async def test_interrupt_during_the_start_stops_what_was_started(
    bidkit: Bidkit,
) -> None:
    process = await asyncio.create_subprocess_exec(
        *bidkit.command("up", *bidkit.ports),
        env=bidkit.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    first = await asyncio.wait_for(process.stdout.readline(), timeout=60)
    processes = psutil.Process(process.pid).children(recursive=True)

    process.send_signal(signal.SIGINT)
    out, err = await process.communicate()

    lines = (first + out).splitlines()
    assert b"Ctrl-C stops it." not in lines
    assert (process.returncode, err, lines[-1]) == (130, b"", b"Everything is stopped.")
    assert alive(processes) == []
    assert bidkit("get").code == 3


async def test_down_during_the_start_makes_up_fail(bidkit: Bidkit) -> None:
    never_ready = "--set=POSTGRES_URL=postgresql://nobody@127.0.0.1:1/nothing"
    process = await asyncio.create_subprocess_exec(
        *bidkit.command("up", never_ready, *bidkit.ports),
        env=bidkit.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    await until(lambda: bidkit("get").code == 0, within_s=60)

    down = await asyncio.to_thread(bidkit, "down")
    _, err = await process.communicate()

    assert (down.code, process.returncode) == (0, 1)
    assert err == b"bidkit: the system was stopped meanwhile.\n"


def test_two_ups_at_once_start_one_system(bidkit: Bidkit) -> None:
    both = [
        subprocess.Popen(
            bidkit.command("up", "-d", *bidkit.ports),
            env=bidkit.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]

    stderr = [process.communicate(timeout=60)[1] for process in both]

    assert ([process.returncode for process in both], stderr) == ([0, 0], [b"", b""])
    assert bidkit.get("api-gateway")["ready"] == 1


async def test_down_during_a_rolling_restart_stops_everything(
    bidkit: Bidkit,
) -> None:
    bidkit.start()
    bidkit("scale", "api=2")
    processes = bidkit.processes()
    old = bidkit.pids("api-gateway")
    restarting = await asyncio.create_subprocess_exec(
        *bidkit.command("restart", "api"),
        env=bidkit.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        # As soon as a new replica runs, the old one may drain.
        await until(lambda: bidkit.pids("api-gateway") - old, within_s=20)
        down = await asyncio.to_thread(bidkit, "down", "--volumes")
    finally:
        await asyncio.wait_for(restarting.wait(), timeout=60)

    assert (down.code, alive(processes)) == (0, [])
    assert bidkit("get").code == 3
    if bidkit.backend == "compose":
        assert bidkit.inspect("api-gateway") == []
    if bidkit.backend == "process":
        assert (bidkit.home / "supervisor.stderr").read_text() == ""
