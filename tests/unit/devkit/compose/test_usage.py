import os

from pkg.devkit.compose.usage import Usage, read_stats, usage


def test_line_of_docker_stats_is_read_in_its_units() -> None:
    running = read_stats({"CPUPerc": "12.50%", "MemUsage": "13.05MiB / 23.54GiB"})
    ended = read_stats({"CPUPerc": "--", "MemUsage": "-- / --"})

    assert running == Usage(cpu_percent=12.5, memory_bytes=int(13.05 * 2**20))
    assert ended is None


def test_process_with_the_container_s_pid_on_another_machine_is_not_measured() -> None:
    # With a remote engine, the pid belongs to an unrelated local process.
    assert usage({"no-such-container": os.getpid()}) == {}
