import socket

from pkg.devkit.ports import Ports
from tests.integration.ports import free_ports


def test_two_systems_that_start_at_once_are_given_different_ports() -> None:
    (port,) = free_ports(1)

    first, second = Ports().free(port), Ports().free(port)

    assert first == port
    assert second != port


def test_a_port_in_use_is_not_given() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        assert Ports().free(port) != port
