"""Parsers of settings. A ValueError's text follows the variable's name: ``NAME: text``."""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: a host and port, or an inherited socket that is already bound."""

    host: str | None = None
    port: int = 0
    fd: int | None = None


def plain_text(text: str) -> str:
    return text


def user_name(text: str) -> str:
    """A name that can be part of a subject: the user's inboxes have it in theirs."""
    if not re.fullmatch(r"[^\s.*>]+(\.[^\s.*>]+)*", text):
        raise ValueError(f"{text!r} must not have spaces, * or >, nor empty parts between dots")
    return text


def one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"{text!r} is not one of {', '.join(choices)}")
        return text

    return parse


def flag(text: str) -> bool:
    if text.lower() not in {"true", "false", "1", "0"}:
        raise ValueError(f"{text!r} is neither true nor false")
    return text.lower() in {"true", "1"}


def whole(minimum: int, maximum: int) -> Callable[[str], int]:
    """A whole number from ``minimum`` to ``maximum``, inclusive."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and minimum <= int(text) <= maximum):
            raise ValueError(f"{text!r} is not a whole number from {minimum} to {maximum}")
        return int(text)

    return parse


def seconds(minimum: float, maximum: float) -> Callable[[str], float]:
    """A number of seconds from ``minimum`` to ``maximum``, inclusive."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not minimum <= value <= maximum:  # also refuses NaN
            raise ValueError(f"{text!r} is not a number of seconds from {minimum:g} to {maximum:g}")
        return value

    return parse


def address(text: str) -> Address:
    """``host:port``, ``:port`` (every interface), ``[v6]:port``, or ``fd:N`` (inherited)."""
    host, colon, port = text.rpartition(":")
    if not (colon and port.isascii() and port.isdecimal() and int(port) <= 65535):  # noqa: PLR2004
        raise ValueError(f"{text!r} is not an address (host:port, :port or fd:N)")
    if host == "fd":
        return Address(fd=int(port))
    if host.startswith("[") and host.endswith("]"):
        host = str(ipaddress.IPv6Address(host[1:-1]))
    return Address(host=host or None, port=int(port))


def url(*schemes: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        parts = urlsplit(text)
        if parts.scheme not in schemes:
            raise ValueError(f"must begin with {' or '.join(f'{each}://' for each in schemes)}")
        if not parts.hostname:
            raise ValueError("names no host")
        try:
            _ = parts.port
        except ValueError:
            # urllib's message quotes the bad port, which may be half a password.
            raise ValueError("has no port; a password's @ : / % must be URL-encoded") from None
        return text

    return parse


def urls(*schemes: str) -> Callable[[str], str]:
    """One URL, or several separated by commas."""
    check = url(*schemes)

    def parse(text: str) -> str:
        for each in text.split(","):
            check(each.strip())
        return text

    return parse


def origins(text: str) -> tuple[str, ...]:
    """Origins between commas, each as browsers send it: ``https://shop.example``, no slash."""
    found = tuple(each.strip() for each in text.split(","))
    for each in found:
        parts = urlsplit(url("http", "https")(each))
        if each != f"{parts.scheme}://{parts.netloc}".lower() or parts.username is not None:
            raise ValueError(f"{each!r} is no origin (such as https://shop.example, in lower case)")
    return found
