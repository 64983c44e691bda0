"""The health check that containers run."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from pkg.runtime.health import main


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Yields the URL of a server that sends ``answer`` to one request."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/ready"
        thread.join(timeout=5)


def test_answer_200_is_healthy(capsys: pytest.CaptureFixture[str]) -> None:
    with answering(b"HTTP/1.1 200 OK\r\n\r\n{}") as url:
        assert main([url]) == 0

    assert capsys.readouterr().out == ""


def test_any_other_answer_is_printed_with_its_body(capsys: pytest.CaptureFixture[str]) -> None:
    with answering(b'HTTP/1.1 503 No\r\n\r\n{"ready":false}') as url:
        assert main([url]) == 1

    assert capsys.readouterr().out == '503 {"ready":false}\n'


def test_answer_that_is_not_http_is_unhealthy(capsys: pytest.CaptureFixture[str]) -> None:
    with answering(b"+PONG\r\n") as url:
        assert main([url]) == 1

    assert "not HTTP" in capsys.readouterr().out


def test_refused_connection_is_unhealthy(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    assert main([f"http://127.0.0.1:{port}/ready"]) == 1
    assert "no answer" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["https://x:1/"], ["http://x/ready"]])
def test_bad_arguments_print_an_error_and_exit_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err


def test_check_imports_neither_aiohttp_nor_asyncio() -> None:
    """It runs every few seconds in every container."""
    program = (
        "import sys, pkg.runtime.health; print(sorted({'aiohttp', 'asyncio'} & set(sys.modules)))"
    )

    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert result.stdout.strip() == "[]"


@contextmanager
def trickling(part: bytes, *, every_s: float) -> Iterator[str]:
    """Yields the URL of a server that sends ``part`` again and again until the client is gone."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                while True:
                    connection.sendall(part)
                    time.sleep(every_s)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/ready"
        thread.join(timeout=5)


def test_trickling_answer_is_given_up_at_the_limit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pkg.runtime.health.WITHIN_S", 0.3)
    began = time.monotonic()
    with trickling(b".", every_s=0.02) as url:
        assert main([url]) == 1

    assert time.monotonic() - began < 20  # the whole answer would take twenty minutes
    assert "no answer" in capsys.readouterr().out


def test_endless_answer_is_given_up(capsys: pytest.CaptureFixture[str]) -> None:
    with trickling(b"." * 65536, every_s=0.001) as url:
        assert main([url]) == 1

    assert "too long" in capsys.readouterr().out


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_ipv6_address_in_brackets_is_accepted() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        assert main([f"http://[::1]:{listener.getsockname()[1]}/ready"]) == 0
        thread.join(timeout=5)
