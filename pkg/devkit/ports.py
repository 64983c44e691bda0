"""Free ports on loopback, never the same one for two systems that start at once."""

import fcntl
import os
import random
import socket
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

from pkg.devkit.errors import BidkitError

_FIRST, _LAST = 20_000, 32_767
"""Below the ports that the system gives to clients (from 32,768 on Linux), so that a server that is
away for a while finds its port free when it returns.
"""
_TRIES = 10_000
CLAIMS = Path(tempfile.gettempdir()) / f"bidkit-{os.getuid()}-ports"

_given: set[int] = set()


def free_port(preferred: int) -> int:
    """The preferred port if it is free, else another one."""
    _claims()
    with suppress(OSError), socket.create_server(("127.0.0.1", preferred)):
        if _claim(preferred):
            return preferred
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, and that no process of this user was given before.

    Servers start a moment after their port was chosen. So a port stays claimed until the process
    that asked for it ends.
    """
    _claims()
    with ExitStack() as held:
        ports: list[int] = []
        for _ in range(_TRIES):
            if len(ports) == count:
                return ports
            port = random.randint(_FIRST, _LAST)  # noqa: S311 - spreads the ports
            with suppress(OSError):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
                if _claim(port):
                    ports.append(port)
    raise BidkitError("no port is free on 127.0.0.1.")


def _claim(port: int) -> bool:
    """Locks one byte of a file for each port. Locks of another process of ours are respected, end
    with it, and are not inherited.
    """
    if port in _given:
        return False
    with suppress(BlockingIOError, PermissionError):
        fcntl.lockf(_claims(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        _given.add(port)
        return True
    return False


def _claims() -> int:
    """Opened once: closing any descriptor of the file would release all of this process' locks.

    Raises OSError, which says nothing about a port.
    """
    global _claims_file  # noqa: PLW0603 - one a process, as the locks are
    if _claims_file is None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        _claims_file = os.open(CLAIMS, flags, 0o600)
    return _claims_file


_claims_file: int | None = None
