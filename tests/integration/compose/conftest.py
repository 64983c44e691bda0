"""One compose stack per test module, with passwords that are hard to quote."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.compose.leftovers import end_leftovers
from tests.integration.devkit.conftest import Bidkit, removed_afterwards

PASSWORDS = (
    "redis_password",
    "nats_password",
    *(f"nats_{user}_password" for user in ("api_gateway", "broadcast_service", "archival_worker")),
    "nats_restore_password",
    "postgres_password",
)
ODD_PASSWORD = "a@b/c:d%e\"f\\g$h'i #j"
"""Every character with a meaning in URLs, shells, configuration files or compose."""

GATEWAYS, BROADCASTERS = 3, 2


def compose(*arguments: str, secrets: Path | None) -> subprocess.CompletedProcess[str]:
    """Runs `docker compose` on compose.yaml, as a user without bidkit does."""
    root = Path(__file__).resolve().parents[3]
    environment = {name: text for name, text in os.environ.items() if name != "SECRETS_DIR"}
    if secrets is not None:
        environment["SECRETS_DIR"] = str(secrets)
    return subprocess.run(
        # Ignores a .env file in the checkout.
        [
            *("docker", "compose", "--env-file", os.devnull),
            *("-f", str(root / "compose" / "compose.yaml"), *arguments),
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="session", autouse=True)
def no_leftovers() -> None:
    end_leftovers()


@pytest.fixture(scope="module")
def stack(no_leftovers: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bidkit]:
    kit = Bidkit(tmp_path_factory.mktemp("stack") / "home", backend="compose")
    secrets = kit.home / "secrets"
    secrets.mkdir(parents=True, mode=0o700)
    for name in PASSWORDS:
        file = secrets / name
        file.write_text(f"{ODD_PASSWORD}{name}")
        file.chmod(0o644)
    with removed_afterwards(kit):
        kit.start()
        scaled = kit(
            *("scale", f"api={GATEWAYS}", f"broadcast={BROADCASTERS}"),
            within_s=120,
        )
        assert scaled.code == 0, scaled.err
        yield kit
