"""Ports for the stores, never the same one for two systems that start at once."""

import fcntl
import os
import socket
import tempfile
from pathlib import Path

from pkg.devkit.errors import BidkitError


class Ports:
    """Between the look at a port and the server that listens there lies a second. Until our
    process ends, no other bidkit of this user is given a port that we were.
    """

    def __init__(self) -> None:
        self._claims: list[int] = []

    def free(self, preferred: int) -> int:
        for port in (preferred, 0):
            try:
                with socket.create_server(("127.0.0.1", port)) as free:
                    number: int = free.getsockname()[1]
            except OSError:
                continue
            if self._claim(number):
                return number
        raise BidkitError("no port is free on 127.0.0.1.")

    def _claim(self, port: int) -> bool:
        """The lock ends with our process; children do not inherit it."""
        file = Path(tempfile.gettempdir()) / f"bidkit-{os.getuid()}-port-{port}"
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._claims.append(descriptor)
        return True
