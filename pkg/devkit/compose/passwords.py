"""The stores' passwords, made by compose/make-secrets."""

import subprocess
from pathlib import Path

from pkg.devkit.compose.project import COMPOSE_FILE
from pkg.devkit.errors import BidkitError

_MAKE_SECRETS = COMPOSE_FILE.with_name("make-secrets")


def make_passwords(folder: Path) -> None:
    """Makes only those that are missing. Raises BidkitError."""
    made = subprocess.run(
        ("sh", str(_MAKE_SECRETS), str(folder)), capture_output=True, text=True, check=False
    )
    if made.returncode:
        last = (made.stderr.strip().splitlines() or ["without a message"])[-1]
        raise BidkitError(f"the secrets could not be made: {last}")
