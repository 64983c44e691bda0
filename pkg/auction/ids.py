"""Identifiers: which item and user ids are accepted, and how event and bid ids are made."""

import random
import re
import time

MAX_ID_LENGTH = 128
_IDENTIFIER = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)

_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)

# Seeded from the operating system. Ids must be unique, not unguessable: they grant nothing.
_random = random.Random()  # noqa: S311


def is_identifier(text: str) -> bool:
    """1-128 of ``A-Z a-z 0-9 . _ : -``: safe in keys, subjects, JSON and logs without escaping."""
    return _IDENTIFIER.fullmatch(text) is not None


def uuid7() -> str:
    """A time-ordered UUID (RFC 9562, version 7), so that the archive's index grows at its end."""
    return _uuid7_text(time.time_ns() // 1_000_000, _random.getrandbits(74))


def seconds_of_uuid7(text: str) -> float | None:
    """When it was made, in seconds since 1970; None for anything else."""
    if _UUID7.fullmatch(text) is None:
        return None
    return int(text[:8] + text[9:13], 16) / 1000


def _uuid7_text(unix_ms: int, noise: int) -> str:
    high = unix_ms << 16 | 0x7000 | noise >> 62
    low = 1 << 63 | noise & 0x3FFF_FFFF_FFFF_FFFF
    text = f"{high:016x}{low:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
