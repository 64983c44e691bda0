"""Reads a settings class from the environment.

A settings class is a frozen dataclass whose fields are made by ``setting``; the variable is the
field's name in upper case. A test compares them with the list in ``docs/operations.md``.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

T = TypeVar("T")


class SettingsError(Exception):
    """Variables are missing or invalid; the message names each one. Nothing was started."""


def setting(
    parse: Callable[[str], T],
    *,
    default: Any = dataclasses.MISSING,  # noqa: ANN401 - of the field's type
    secret: bool = False,
    what: str,
) -> Any:  # noqa: ANN401 - as dataclasses.field
    """A field read from the environment.

    A secret may also be in a file that ``NAME_FILE`` names, and so may certificates. ``what``
    describes it, with its unit.
    """
    return dataclasses.field(
        default=default, metadata={"parse": parse, "secret": secret, "what": what}
    )


@dataclass(frozen=True, slots=True)
class Check:
    """A rule between fields: ``problem`` takes their values in order and returns a message."""

    fields: tuple[str, ...]
    problem: Callable[..., str | None]


class Checked:
    """Base of settings classes with ``checks``, which also hold for objects built in Python."""

    checks: ClassVar[tuple[Check, ...]] = ()

    def __post_init__(self) -> None:
        problems = _problems_between(type(self), vars(self))
        if problems:
            raise ValueError("; ".join(problems))


def load(settings: type[T], environ: Mapping[str, str]) -> T:
    """Reads a settings class from the environment. An empty value counts as unset.

    Raises:
        SettingsError: names every missing or invalid variable in one message.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        name = field.name.upper()
        try:
            text = _text_of(name, environ, secret=field.metadata["secret"])
            if text is not None:
                values[field.name] = field.metadata["parse"](text)
            elif field.default is not dataclasses.MISSING:
                values[field.name] = field.default
            else:
                problems.append(f"{name} is not set ({field.metadata['what']})")
        except ValueError as error:
            problems.append(f"{name}: {error}")
    problems += _problems_between(settings, values)
    if problems:
        raise SettingsError("; ".join(problems))
    return settings(**values)


def _problems_between(settings: type[Any], values: Mapping[str, Any]) -> list[str]:
    """Messages of failed checks of a class and its bases; skips checks that lack a value."""
    problems = []
    known = {field.name for field in dataclasses.fields(settings)}
    for check in (check for part in settings.__mro__ for check in vars(part).get("checks", ())):
        if not known.issuperset(check.fields):
            raise TypeError(f"{settings.__name__} has a check of fields that it lacks: {check}")
        if all(name in values for name in check.fields):
            problems.append(check.problem(*(values[name] for name in check.fields)))
    return [problem for problem in problems if problem]


def _text_of(name: str, environ: Mapping[str, str], *, secret: bool) -> str | None:
    text = environ.get(name) or None
    file = environ.get(f"{name}_FILE") if secret else None
    if not file:
        return text
    if text is not None:
        raise ValueError(f"set it or {name}_FILE, not both")
    try:
        text = Path(file).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {name}_FILE: {error}") from error
    if not text:
        # Unset would mean: no password, or any authority that the system trusts.
        raise ValueError(f"the file that {name}_FILE names is empty")
    return text
