"""What this machine must have for an experiment, and what makes its figures doubtful."""

import os
import resource
from dataclasses import dataclass
from pathlib import Path

import psutil

from pkg.devkit.errors import BadArgument
from pkg.runtime.descriptors import SPARE, raise_limit

CLIENTS_MAX = 4
"""Client processes at most."""
CLIENT_BUSY = 0.9
"""A client process with more of a core than this may be what is measured."""
_BUSY_PERCENT = 30.0
_MEASURED_S = 0.5
_MEMORY_PER_VIEWER_BYTES = 64 * 1024
_PORTS_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")


@dataclass(frozen=True, slots=True)
class Needs:
    connections: int
    """Most connections that are open at once, from this machine to one port."""

    @property
    def files(self) -> int:
        return self.connections + SPARE


def client_processes() -> int:
    """Half of the cores, for the system needs the others; two at least."""
    return max(2, min(CLIENTS_MAX, (os.cpu_count() or 1) // 2))


def check(needs: Needs) -> list[str]:
    """Sentences of doubt. Raises BadArgument for what cannot work. Also raises our own limit."""
    raise_limit()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit != resource.RLIM_INFINITY and limit < needs.files:
        raise BadArgument(
            f"{needs.connections:,} connections need {needs.files:,} open files, and the limit "
            f"is {limit:,}: raise it (`ulimit -n {needs.files}`), or ask for fewer."
        )
    if (ports := _client_ports()) and ports < needs.connections:
        raise BadArgument(
            f"{needs.connections:,} connections need as many client ports, and {_PORTS_FILE} "
            f"allows {ports:,}."
        )
    free = psutil.virtual_memory().available
    if free < needs.connections * _MEMORY_PER_VIEWER_BYTES:
        raise BadArgument(
            f"{free // 2**20} MiB of memory are free, too few for {needs.connections:,} "
            "connections."
        )
    doubts = []
    busy = psutil.cpu_percent(interval=_MEASURED_S)
    if busy > _BUSY_PERCENT:
        doubts.append(f"the machine was {busy:.0f} % busy before the experiment began")
    if (os.cpu_count() or 1) <= client_processes() + 1:
        doubts.append(
            f"clients and system share {os.cpu_count()} cores: rates and latencies are those of "
            "both together, only CPU times are the system's own"
        )
    return doubts


def _client_ports() -> int | None:
    try:
        first, last = _PORTS_FILE.read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return None
    return int(last) - int(first) + 1
