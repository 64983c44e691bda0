"""Decides when a started system is ready and when it has failed."""

import time
from collections.abc import Callable

from pkg.devkit.backend import Watcher
from pkg.devkit.errors import NotReady
from pkg.devkit.system import SystemStatus

HOPELESS_RESTARTS = 3


def is_settled(
    now: SystemStatus,
    watcher: Watcher,
    *,
    deadline: float,
    last_words: Callable[[str], str | None],
) -> bool:
    """Raises NotReady if a replica keeps ending, or past the deadline."""
    watcher.status(now)
    if now.ready:
        return True
    overdue = time.monotonic() > deadline
    for service in now.services:
        for replica in service.replicas:
            if (overdue or replica.restarts >= HOPELESS_RESTARTS) and not replica.ready:
                last = last_words(replica.name)
                said = f' Its log ends with "{last}".' if last else ""
                raise NotReady(
                    f"{replica.name} does not get ready: {replica.why or replica.phase}.{said} "
                    f"`bidkit logs {service.service}` shows the rest."
                )
        if overdue and service.ready < service.desired:
            raise NotReady(f"{service.service} has {service.ready} of {service.desired} ready.")
    return False
