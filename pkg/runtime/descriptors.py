"""File descriptors. Each connection takes one, and shells allow a process 1,024 or fewer."""

import resource
from contextlib import suppress

from pkg.runtime import logs

SPARE = 300
"""For everything that is no client: listeners, stores (OPTIMISTIC_CONNECTIONS too), probes."""
_UNLIMITED = 65_536  # used where there is no limit: macOS refuses "unlimited"

log = logs.get("descriptors")


def raise_limit() -> None:
    """Raises the limit as far as this process may without privileges."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _UNLIMITED if most == resource.RLIM_INFINITY else most
    if now != resource.RLIM_INFINITY and now < wanted:
        with suppress(ValueError, OSError):  # macOS has a second limit; warn_if_short tells
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def warn_if_short(clients_max: int, *, setting: str) -> None:
    """Logs a warning if the limit cannot hold as many clients as the setting allows."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and limit < clients_max + SPARE:
        log.warning(
            "the limit of open files cannot hold that many clients; raise it or lower the setting",
            **{setting: clients_max},
            limit=limit,
            holds=max(0, limit - SPARE),
        )
