"""The health check of the containers, which have no shell and no curl.

usage: python -m pkg.runtime.health http://127.0.0.1:8080/ready

Exit code 0 if the answer is 200; otherwise 1 and one line with the answer or the error. It imports
only sockets: it runs every few seconds and must not cost more than what it checks.
"""

import socket
import sys
import time

WITHIN_S = 2.0
"""Limit for the whole answer, even one that trickles in."""
MOST_BYTES = 65536
_SHOWN = 300


def ask(url: str) -> tuple[int, str]:
    """Returns status and body.

    Raises:
        ValueError: the URL is not http:// with a port.
        OSError: there was no answer in time, or it was too long or not HTTP.
    """
    scheme, _, rest = url.partition("://")
    place, _, path = rest.partition("/")
    host, _, port = place.rpartition(":")
    if scheme != "http" or not host or not port.isdecimal():
        raise ValueError(f"{url!r} is not http://host:port/path")
    deadline = time.monotonic() + WITHIN_S
    address = (host.removeprefix("[").removesuffix("]"), int(port))
    with socket.create_connection(address, timeout=WITHIN_S) as connection:
        connection.settimeout(_left(deadline))
        connection.sendall(
            f"GET /{path} HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\n\r\n".encode()
        )
        connection.settimeout(_left(deadline))
        answer = b""
        while part := connection.recv(65536):
            answer += part
            if len(answer) > MOST_BYTES:
                raise OSError("the answer is too long")
            connection.settimeout(_left(deadline))
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(None, 2)
    if len(words) < 2 or not words[1].isdigit():  # noqa: PLR2004
        raise OSError("the answer is not HTTP")
    return int(words[1]), body.decode(errors="replace")


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the answer was not complete in time")
    return left


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m pkg.runtime.health URL", file=sys.stderr)  # noqa: T201
        return 2
    try:
        status, body = ask(arguments[0])
    except ValueError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    except OSError as error:
        print(f"no answer: {error}")  # noqa: T201 - the orchestrator keeps what a check prints
        return 1
    if status == 200:  # noqa: PLR2004
        return 0
    print(f"{status} {body[:_SHOWN]}")  # noqa: T201
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
