import socket
import subprocess
import sys

from pkg.devkit.ports import free_port, free_ports


def test_no_port_is_given_twice_even_if_nothing_listens_on_it_yet() -> None:
    given = [port for _ in range(100) for port in free_ports(3)]

    assert len(set(given)) == len(given)


def test_another_process_does_not_get_our_port() -> None:
    (port,) = free_ports(1)
    asks = f"from pkg.devkit.ports import free_port; print(free_port({port}))"

    theirs = subprocess.run(
        (sys.executable, "-c", asks), capture_output=True, text=True, check=True
    ).stdout

    assert int(theirs) != port


def test_port_in_use_is_not_given() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        assert free_port(port) != port


def test_preferred_port_is_given_if_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as momentary:
        port = momentary.getsockname()[1]

    assert free_port(port) == port


def test_claims_that_cannot_be_written_are_not_told_as_ports_in_use() -> None:
    asks = (
        "import pathlib, pkg.devkit.ports as ports\n"
        "ports.CLAIMS = pathlib.Path('/nowhere/claims')\n"
        "ports.free_ports(1)\n"
    )

    ran = subprocess.run(
        (sys.executable, "-c", asks), stderr=subprocess.PIPE, text=True, check=False
    )

    assert "No such file or directory: '/nowhere/claims'" in ran.stderr
