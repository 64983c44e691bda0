"""`run.json`, which says what a folder of raw results is: experiments write it, reports read it."""

from datetime import datetime
from typing import Literal

import msgspec

FORMAT = 1

Experiment = Literal["contention", "fan-out", "resilience"]


class Machine(msgspec.Struct, frozen=True):
    cores: int
    memory_bytes: int
    cpu: str
    kernel: str
    python: str


class About(msgspec.Struct, kw_only=True):
    """Times have an offset from UTC."""

    format: int
    experiment: Experiment
    started: datetime
    ended: datetime | None
    complete: bool
    why_incomplete: str | None
    backend: str
    quick: bool
    commit: str
    dirty: bool
    machine: Machine
    settings: dict[str, object]
    command: str
    notes: list[str]
