"""Ports of loopback for servers of the tests."""

import socket


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, all different: held together until the last one is known."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports
