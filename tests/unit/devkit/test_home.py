import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from pkg.devkit import log_files as logs
from pkg.devkit.errors import UnusableData
from pkg.devkit.home import Home, load, save
from pkg.devkit.process.records import Records, end_leftovers, record_of
from pkg.devkit.system import Desired


def test_state_is_read_as_it_was_saved(tmp_path: Path) -> None:
    desired = Desired(api_port=9000, replicas={"api-gateway": 3}, settings={"CONFLATE_MS": "50"})

    save(tmp_path / "new" / "desired.json", desired)

    assert load(tmp_path / "new" / "desired.json", Desired) == desired
    assert os.listdir(tmp_path / "new") == ["desired.json"]  # noqa: PTH208 - also hidden ones


def test_missing_state_is_none(tmp_path: Path) -> None:
    assert load(tmp_path / "desired.json", Desired) is None


def test_error_for_unreadable_state_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "desired.json").write_text('{"api_port": ')

    with pytest.raises(UnusableData, match=r"desired\.json cannot be read"):
        load(tmp_path / "desired.json", Desired)


def test_only_one_holds_the_lock(tmp_path: Path) -> None:
    with Home(tmp_path).lock() as first, Home(tmp_path).lock() as second:
        pass
    with Home(tmp_path).lock() as third:
        pass

    assert (first, second, third) == (True, False, True)


def test_leftover_process_is_stopped_by_its_own_signal(tmp_path: Path) -> None:
    left = sleeper(on_interrupt=tmp_path / "interrupted")
    records = Records(tmp_path / "processes.json")
    records.add(record_of("postgres", left.pid, stop_signal=signal.SIGINT, stop_within_s=5))

    names = end_leftovers(tmp_path / "processes.json")

    left.wait(timeout=5)
    assert (names, (tmp_path / "interrupted").exists()) == (["postgres"], True)
    assert not (tmp_path / "processes.json").exists()


def test_leftover_process_that_ignores_its_signal_is_killed(tmp_path: Path) -> None:
    left = sleeper(on_interrupt=None)
    records = Records(tmp_path / "processes.json")
    records.add(record_of("nats", left.pid, stop_signal=signal.SIGINT, stop_within_s=0.1))

    end_leftovers(tmp_path / "processes.json")

    left.wait(timeout=5)
    assert not psutil.pid_exists(left.pid)


def test_unrelated_process_with_a_recorded_pid_is_left_alone(tmp_path: Path) -> None:
    unrelated = sleeper(on_interrupt=None)
    record = record_of("redis", unrelated.pid, stop_signal=15, stop_within_s=5)
    earlier = type(record)(record.name, record.pid, record.started - 60, 15, 5)
    save(tmp_path / "processes.json", [earlier])

    names = end_leftovers(tmp_path / "processes.json")

    assert (names, unrelated.poll()) == ([], None)
    unrelated.kill()
    unrelated.wait()


def test_removed_process_is_no_longer_recorded(tmp_path: Path) -> None:
    records = Records(tmp_path / "processes.json")
    records.add(record_of("redis", psutil.Process().pid, stop_signal=15, stop_within_s=5))

    records.remove(psutil.Process().pid)

    assert end_leftovers(tmp_path / "processes.json") == []


def test_large_log_is_rotated_and_its_writer_goes_on(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.logs.mkdir()
    with home.log("redis").open("ab", buffering=0) as writer:
        writer.write(b"old\n" * 100)

        logs.keep_small(home, most_bytes=64)
        writer.write(b"new\n")

    assert home.log("redis").read_text() == "new\n"
    assert (home.logs / "redis.log.1").read_text() == "old\n" * 100


def test_followed_logs_show_new_lines_of_old_and_new_replicas(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.logs.mkdir()
    home.log("api-gateway-1").write_text("one\ntwo\n")
    home.log("redis").write_text("of no interest\n")

    following = logs.read(home, ("api-gateway",), last=1, follow=True)
    first = next(following)
    with home.log("api-gateway-1").open("a") as log:
        log.write("three\nunfinished")
    home.log("api-gateway-2").write_text("hello\n")
    second, third = next(following), next(following)

    assert [(one.replica, one.text) for one in (first, second, third)] == [
        ("api-gateway-1", "two"),
        ("api-gateway-1", "three"),
        ("api-gateway-2", "hello"),
    ]


def test_logs_of_replicas_that_ended_are_marked(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.logs.mkdir()
    home.log("api-gateway-1").write_text("one\n")
    home.log("api-gateway-2").write_text("scaled down\n")

    read = logs.read(home, ("api-gateway",), last=1, follow=False, alive={"api-gateway-1"})

    assert [(one.replica, one.ended) for one in read] == [
        ("api-gateway-1", False),
        ("api-gateway-2", True),
    ]


def sleeper(*, on_interrupt: Path | None) -> subprocess.Popen[bytes]:
    """Starts a process that writes the file and exits on SIGINT, or ignores it if None."""
    program = f"""
import pathlib, signal, sys, time
file = {str(on_interrupt or "")!r}
def interrupted(*_):
    if file:
        pathlib.Path(file).touch()
        sys.exit()
signal.signal(signal.SIGINT, interrupted)
print("listening", flush=True)
while True:
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout as output:
        output.readline()
    return process
