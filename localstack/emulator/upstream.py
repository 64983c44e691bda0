"""Replaces functions of MiniStack, but only the very ones that a completion was written for.

A completion says which function it replaces and the hash of that function's source. With another
source `replace_all` raises, so the emulator doesn't start: a new release of MiniStack is read
before it is used. To accept a changed function, read it, adapt the completion and put in its hash.
"""

import hashlib
import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from types import ModuleType
from typing import Any

Function = Callable[..., Any]


class UpstreamChangedError(Exception):
    """MiniStack's functions aren't those that were replaced. Nothing was replaced."""


@dataclass(frozen=True, slots=True)
class Replacement:
    module: str
    name: str
    source: str
    """The first twelve digits of the SHA-256 of the function's source."""
    by: Function
    """Gets the replaced function as its first argument."""

    def found(self) -> str:
        function = getattr(importlib.import_module(self.module), self.name, None)
        return hash_of(function) if function else "missing"


@dataclass(frozen=True, slots=True)
class Reading:
    module: str
    source: str
    """As of a replacement, but of the module's source."""
    by: str

    def found(self) -> str:
        return hash_of(importlib.import_module(self.module))


replacements: list[Replacement] = []
readings: list[Reading] = []


def hash_of(function: Function | ModuleType) -> str:
    source = inspect.getsource(
        function if isinstance(function, ModuleType) else inspect.unwrap(function)
    )
    return hashlib.sha256(source.encode()).hexdigest()[:12]


def replaces(module: str, name: str, *, source: str) -> Callable[[Function], Function]:
    """Registers the decorated function in place of `module.name`.

    It is called with the replaced function, then that one's arguments.
    """

    def register(by: Function) -> Function:
        replacements.append(Replacement(module, name, source, by))
        return by

    return register


def reads(module: str, *, source: str, by: str) -> None:
    """Registers that the module named `by` uses what is private to `module`."""
    readings.append(Reading(module, source, by))


def replace_all(these: Sequence[Replacement], *, read: Sequence[Reading] = ()) -> None:
    changed = [
        f"{each.module}.{each.name} is {found}, not {each.source} as {each.by.__module__} expects"
        for each in these
        if (found := each.found()) != each.source
    ]
    changed += [
        f"{each.module} is {found}, not {each.source} as {each.by} expects"
        for each in read
        if (found := each.found()) != each.source
    ]
    if changed:
        raise UpstreamChangedError("; ".join(changed))
    for each in these:
        _replace(importlib.import_module(each.module), each.name, each.by)


def _replace(module: ModuleType, name: str, by: Function) -> None:
    original = getattr(module, name)

    @wraps(original)
    def replacement(*arguments: object, **named: object) -> object:
        return by(original, *arguments, **named)

    setattr(module, name, replacement)
    # MiniStack finds the functions of most actions in tables.
    for table in [each for each in vars(module).values() if isinstance(each, dict)]:
        for key, function in list(table.items()):
            if function is original:
                table[key] = replacement
