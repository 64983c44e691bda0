"""Ports that the tests give to their servers."""

from tests.integration.ports import free_ports


def test_no_port_is_given_twice_though_nobody_listens_on_it_yet() -> None:
    given = [port for _ in range(100) for port in free_ports(3)]

    assert len(set(given)) == len(given)
