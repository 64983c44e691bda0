"""What the services read from their environment, as their own settings classes tell."""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from pkg.api.settings import ApiSettings
from pkg.archival.settings import ArchivalSettings
from pkg.broadcast.settings import BroadcastSettings
from pkg.devkit.errors import BadArgument
from pkg.devkit.names import API, ARCHIVAL, BROADCAST
from pkg.runtime.settings.loading import SettingsError, load
from pkg.runtime.settings.sections import ServingSettings

READ_BY: Mapping[str, type[Any]] = {
    API: ApiSettings,
    BROADCAST: BroadcastSettings,
    ARCHIVAL: ArchivalSettings,
}
GIVEN_BY_OPTION = {
    "SERVER_ADDR": "use --api-port and --broadcast-port",
    "ADMIN_ADDR": "bidkit gives each replica its own, which `bidkit describe` shows",
}
HIDDEN = "(secret)"
STORES_STOP_WITHIN_S = 100.0
"""After the services: 10, 20 and 10 s, one after the other on processes, and as much again and more
for a machine that is busy, and for the removal of containers."""

_SPARE_S = 8.0
"""For an interpreter's end, on a machine that is busy."""


def check(name: str, value: str) -> None:
    """Raises BadArgument unless a service reads the setting, and understands the value.

    An empty value counts as not set, as it does for the services.
    """
    known = {known: field for service in READ_BY for known, field in _fields(service).items()}
    if name in GIVEN_BY_OPTION:
        raise BadArgument(f"{name} cannot be set; {GIVEN_BY_OPTION[name]}.")
    if name not in known:
        close = difflib.get_close_matches(name, known.keys() - GIVEN_BY_OPTION.keys())
        hint = f"did you mean {' or '.join(close)}?" if close else "docs/operations.md lists them."
        raise BadArgument(f"no service reads a setting {name}; {hint}")
    if value and known[name].name.upper() == name:  # else it is the name of a secret's file
        try:
            known[name].metadata["parse"](value)
        except ValueError as error:
            raise BadArgument(f"{name}: {error}.") from error


def check_together(service: str, environment: Mapping[str, str]) -> None:
    """Raises BadArgument when the service would not start with these, of which it reads its own."""
    try:
        load(READ_BY[service], environment)
    except SettingsError as error:
        raise BadArgument(
            f"{service} would not start: {error}. `--set NAME=` takes a setting back."
        ) from error


def stop_within_s(environment: Mapping[str, str]) -> float:
    """Seconds that a service with these settings may take to end by itself, and some more."""
    serving = load(ServingSettings, environment)
    return serving.deregister_s + serving.shutdown_timeout_s + _SPARE_S


def readers(name: str) -> list[str]:
    """The services that read the setting."""
    return [service for service in READ_BY if name in _fields(service)]


def read_by(service: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Those of the environment that the service reads, secrets hidden; a store reads none."""
    fields = _fields(service) if service in READ_BY else {}
    return {
        name: _shown(name, fields[name], value)
        for name, value in environment.items()
        if name in fields
    }


def _fields(service: str) -> dict[str, dataclasses.Field[Any]]:
    """By the variables' names; a secret has a second one, for a file."""
    fields = {field.name.upper(): field for field in dataclasses.fields(READ_BY[service])}
    files = {f"{name}_FILE": field for name, field in fields.items() if field.metadata["secret"]}
    return fields | files


def _shown(name: str, field: dataclasses.Field[Any], value: str) -> str:
    """A URL is shown less its password, which a user's own store may have."""
    if not field.metadata["secret"] or name.endswith("_FILE"):
        return value
    if not name.endswith("_URL"):
        return HIDDEN
    scheme, slashes, rest = value.partition("://")
    userinfo, at, place = rest.rpartition("@")
    user, colon, _ = userinfo.partition(":")
    return f"{scheme}{slashes}{user}{colon}{HIDDEN if colon else ''}{at}{place}"
