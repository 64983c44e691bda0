"""CPU and memory of containers.

`docker stats` takes two to three seconds, as the engine samples once a second. Processes on this
machine are measured directly instead, as on the process backend.
"""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from pkg.devkit.docker_cli import ask
from pkg.devkit.errors import BidkitError

MEASURED_FOR_S = 0.2
_STATS_WITHIN_S = 8.0
_UNITS = {"B": 1, "kB": 10**3, "KiB": 2**10, "MB": 10**6, "MiB": 2**20, "GB": 10**9, "GiB": 2**30}
_SIZE = re.compile(r"([\d.]+)\s*([kKMG]?i?B)")


@dataclass(frozen=True, slots=True)
class Usage:
    cpu_percent: float
    memory_bytes: int


def usage(pids: Mapping[str, int]) -> dict[str, Usage]:
    """By container id, from their first processes' pids; leaves out what cannot be measured."""
    local = {one: pid for one, pid in pids.items() if _is_here(one, pid)}
    found = _measured(local) if local else {}
    elsewhere = [one for one in pids if one not in local]
    return found | (_from_stats(elsewhere) if elsewhere else {})


def _is_here(container: str, pid: int) -> bool:
    """False when the engine runs in a virtual machine, whose pids mean nothing here."""
    try:
        return container in Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return False


def _measured(pids: Mapping[str, int]) -> dict[str, Usage]:
    trees = {one: _tree(pid) for one, pid in pids.items()}
    before, began = {one: _cpu_s(tree) for one, tree in trees.items()}, time.monotonic()
    time.sleep(MEASURED_FOR_S)
    took = time.monotonic() - began
    return {
        one: Usage(
            cpu_percent=100 * max(_cpu_s(tree) - before[one], 0.0) / took,
            memory_bytes=sum(_memory(process) for process in tree),
        )
        for one, tree in trees.items()
    }


def _tree(pid: int) -> list[psutil.Process]:
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.Error:
        return []


def _cpu_s(tree: list[psutil.Process]) -> float:
    spent = 0.0
    for process in tree:
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        spent += times.user + times.system
    return spent


def _memory(process: psutil.Process) -> int:
    try:
        rss: int = process.memory_info().rss
    except psutil.Error:
        return 0
    return rss


def _from_stats(containers: list[str]) -> dict[str, Usage]:
    command = ("stats", "--no-stream", "--no-trunc", "--format", "{{json .}}")
    try:
        said = ask(*command, *containers, within_s=_STATS_WITHIN_S)
    except BidkitError:
        return {}
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    return {line["ID"]: read for line in lines if (read := read_stats(line))}


def read_stats(line: Mapping[str, str]) -> Usage | None:
    """One line of `docker stats`; None when the container is not running."""
    size = _SIZE.match(line["MemUsage"])
    if size is None or size[2] not in _UNITS or not line["CPUPerc"].endswith("%"):
        return None
    return Usage(
        cpu_percent=float(line["CPUPerc"].rstrip("%")),
        memory_bytes=int(float(size[1]) * _UNITS[size[2]]),
    )
