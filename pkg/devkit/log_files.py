"""Replicas' log files: read together, and kept small."""

import shutil
import time
from collections import deque
from collections.abc import Collection, Iterator
from pathlib import Path

from pkg.devkit.backend import LogLine
from pkg.devkit.home import Home

MOST_BYTES = 16 * 1024 * 1024
"""Largest size of one log; older lines move to a second file of at most that size."""

_FOLLOW_EVERY_S = 0.2


def set_aside(home: Home) -> None:
    """Moves the last run's logs to logs/previous, replacing those of the run before it."""
    previous = home.logs / "previous"
    if previous.exists():
        shutil.rmtree(previous)
    previous.mkdir(parents=True)
    for log in home.logs.glob("*.log*"):
        log.rename(previous / log.name)


def keep_small(home: Home, *, most_bytes: int = MOST_BYTES) -> None:
    """Copies and truncates, because processes keep appending to the file they opened."""
    for log in home.logs.glob("*.log"):
        if log.stat().st_size > most_bytes:
            shutil.copyfile(log, log.with_name(f"{log.name}.1"))
            with log.open("r+b") as writing:
                writing.truncate()


def tail(log: Path, lines: int) -> list[str]:
    try:
        with log.open(encoding="utf-8", errors="replace") as reading:
            return [line.rstrip("\n") for line in deque(reading, maxlen=lines)]
    except FileNotFoundError:
        return []


def read(
    home: Home,
    services: tuple[str, ...],
    *,
    last: int,
    follow: bool,
    alive: Collection[str] | None = None,
) -> Iterator[LogLine]:
    """The last lines of each replica's log, one replica after the other; then, as they come, new
    ones of all, also of replicas that appear later. Ends by itself only without `follow`.

    Replicas that are not `alive` are marked as ended. None marks none: nothing runs at all.
    """
    positions: dict[Path, int] = {}
    for log in _logs(home, services):
        positions[log] = log.stat().st_size
        for line in tail(log, last):
            yield LogLine(log.stem, line, ended=alive is not None and log.stem not in alive)
    while follow:
        time.sleep(_FOLLOW_EVERY_S)
        for log in _logs(home, services):
            for line in _since(log, positions):
                yield LogLine(log.stem, line)


def _since(log: Path, positions: dict[Path, int]) -> list[str]:
    size = log.stat().st_size
    begin = positions.get(log, 0)
    if size < begin:  # it was truncated
        begin = 0
    with log.open("rb") as reading:
        reading.seek(begin)
        new = reading.read(size - begin)
    whole = new[: new.rfind(b"\n") + 1]
    positions[log] = begin + len(whole)
    return whole.decode(errors="replace").splitlines()


def _logs(home: Home, services: tuple[str, ...]) -> list[Path]:
    logs = sorted(home.logs.glob("*.log"))
    return [log for log in logs if _service(log.stem) in services]


def _service(replica: str) -> str:
    """`api-gateway` of `api-gateway-2`; a store's log has no number."""
    name, _, number = replica.rpartition("-")
    return name if number.isdigit() else replica
