"""Ports of loopback for servers of the tests."""

import os
import random
import socket
from contextlib import ExitStack, suppress

_GIVEN: set[int] = set()
"""Some were asked for by two calls before anything listened on those of the first."""

_FIRST, _EACH = 20_000, 3_000
"""Below those that the system gives to whoever connects (32768 on): a server that is away for a
while finds its port free when it starts again. Each worker of a run has its own."""


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on and no call of this process was given before.

    They are held together until the last one is known.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
    first = _FIRST + worker * _EACH
    with ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            if len(_GIVEN) > _EACH // 2:
                _GIVEN.clear()
            port = random.randrange(first, first + _EACH)
            if port in _GIVEN:
                continue
            with suppress(OSError):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
                ports.append(port)
                _GIVEN.add(port)
        return ports
