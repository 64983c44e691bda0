"""Reads values from the text of `/metrics`."""

import re
from collections.abc import Iterable

_LEADER = re.compile(rb"^bid_relay_leader 1(\.0)?$", re.MULTILINE)


def is_relaying(page: bytes) -> bool:
    return bool(_LEADER.search(page))


def total(pages: Iterable[bytes], name: str) -> float:
    pattern = re.compile(rf"^{name}(?:{{[^}}]*}})? (\S+)$".encode(), re.MULTILINE)
    return sum(float(value) for page in pages for value in pattern.findall(page))
