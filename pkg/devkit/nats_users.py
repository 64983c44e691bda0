"""NATS' users: one for each service, one for restore, and the administrator."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pkg.devkit.home import load, save
from pkg.devkit.names import SERVICES
from pkg.devkit.settings import PROJECT

ADMINISTRATOR = "bidding"
"""May do everything. No service connects as this user."""

RESTORE = "restore"
USERS = (ADMINISTRATOR, *SERVICES, RESTORE)

PERMISSIONS = PROJECT / "terraform" / "nats" / "users.conf"
"""What each may publish and subscribe, the same on every backend."""


@dataclass(frozen=True, slots=True)
class NatsUsers:
    passwords: Mapping[str, str]
    """By user; of letters and digits only."""

    @classmethod
    def random(cls) -> Self:
        return cls({user: secrets.token_hex(16) for user in USERS})

    @classmethod
    def kept_in(cls, file: Path) -> Self:
        """Those of the file, which is made if it is missing. Raises UnusableData."""
        kept = load(file, dict[str, str]) or {}
        if kept.keys() < set(USERS):
            kept = {**cls.random().passwords, **kept}
            save(file, kept)
        return cls(kept)

    def settings_of(self, user: str) -> dict[str, str]:
        """The settings by which a service connects as this user."""
        return {"NATS_USER": user, "NATS_PASSWORD": self.passwords[user]}

    def url_of(self, user: str, port: int) -> str:
        return f"nats://{user}:{self.passwords[user]}@127.0.0.1:{port}"

    @property
    def configuration(self) -> str:
        """For the beginning of nats-server's configuration file."""
        defined = (f'{variable(user)}: "{self.passwords[user]}"\n' for user in USERS)
        return "".join(defined) + PERMISSIONS.read_text(encoding="utf-8")


def variable(user: str) -> str:
    """The name by which `users.conf` refers to the user's password."""
    name = "administrator" if user == ADMINISTRATOR else user
    return f"{name.replace('-', '_').upper()}_PASSWORD"
