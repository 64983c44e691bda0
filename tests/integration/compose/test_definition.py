"""compose.yaml and make-secrets; starts no container."""

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from pkg.api.settings import ApiSettings
from pkg.broadcast.settings import BroadcastSettings
from pkg.devkit.compose import images
from pkg.devkit.nats_users import ADMINISTRATOR, USERS
from pkg.devkit.service_settings import stop_within_s
from pkg.runtime.descriptors import SPARE
from tests.integration.compose.conftest import PASSWORDS, compose

ROOT = Path(__file__).resolve().parents[3]
PARTS = {
    *("redis", "nats", "postgres", "edge"),
    *("api-gateway", "broadcast-service", "archival-worker"),
}


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "secrets"
    subprocess.run(["sh", ROOT / "compose" / "make-secrets", folder], check=True)
    return folder


@pytest.fixture(scope="module")
def definition(secrets: Path) -> dict[str, Any]:
    result = compose("config", "--format", "json", secrets=secrets)
    assert result.returncode == 0, result.stderr
    parts: dict[str, Any] = json.loads(result.stdout)["services"]
    assert set(parts) == PARTS
    return parts


@pytest.fixture(scope="module")
def load(secrets: Path) -> dict[str, Any]:
    """What the profile adds."""
    result = compose("--profile", "load", "config", "--format", "json", secrets=secrets)
    assert result.returncode == 0, result.stderr
    parts: dict[str, Any] = json.loads(result.stdout)["services"]
    return {name: part for name, part in parts.items() if name not in PARTS}


def test_compose_has_no_warnings(secrets: Path) -> None:
    result = compose("config", "--quiet", secrets=secrets)

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_without_secrets_compose_names_the_command_that_makes_them() -> None:
    result = compose("config", "--quiet", secrets=None)

    assert result.returncode != 0
    assert "sh compose/make-secrets" in result.stderr


def test_secrets_are_made_once_in_a_private_folder(secrets: Path) -> None:
    before = {file.name: file.read_text() for file in secrets.iterdir()}

    subprocess.run(["sh", ROOT / "compose" / "make-secrets", secrets], check=True)

    assert {file.name: file.read_text() for file in secrets.iterdir()} == before
    assert set(before) == set(PASSWORDS)
    assert len(set(before.values())) == len(before)
    assert all(len(text) == 32 for text in before.values())
    assert secrets.stat().st_mode & 0o077 == 0


def test_make_secrets_reports_what_it_made(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"

    def make_secrets() -> str:
        command = ("sh", str(ROOT / "compose" / "make-secrets"), str(folder))
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    first = make_secrets()
    second = make_secrets()
    (folder / "nats_password").unlink()

    assert first == f"Made {' '.join(PASSWORDS)} in {folder}.\n"
    assert second == f"All passwords were in {folder} already; nothing changed.\n"
    assert make_secrets() == f"Made nats_password in {folder}.\n"


def test_existing_secrets_folder_is_made_private(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)

    subprocess.run(["sh", ROOT / "compose" / "make-secrets", tmp_path], check=True)

    assert tmp_path.stat().st_mode & 0o077 == 0


def test_package_index_reaches_the_build_only_if_set(
    secrets: Path, definition: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.test/simple")

    result = compose("config", "--format", "json", secrets=secrets)

    parts = json.loads(result.stdout)["services"]
    for service in ("api-gateway", "broadcast-service", "archival-worker"):
        assert parts[service]["build"]["args"]["PIP_INDEX_URL"] == "https://index.test/simple"
        assert "index.test" not in json.dumps(definition[service])


def assert_hardened(container: dict[str, Any], *, restart: str = "unless-stopped") -> None:
    assert container["read_only"] is True
    assert container["cap_drop"] == ["ALL"]
    assert "cap_add" not in container
    assert "privileged" not in container
    assert container["security_opt"] == ["no-new-privileges:true"]
    assert int(container["mem_limit"]) > 0
    assert float(container["cpus"]) > 0
    assert int(container["pids_limit"]) > 0
    assert container["restart"] == restart
    assert container["ulimits"]["nofile"] <= 20_000
    assert container["logging"]["options"]["max-size"]


@pytest.mark.parametrize("part", sorted(PARTS))
def test_every_container_is_hardened_and_limited(definition: dict[str, Any], part: str) -> None:
    assert_hardened(definition[part])
    assert definition[part]["healthcheck"]["test"]


def test_load_is_a_profile_of_its_own_hardened_and_published_on_loopback(
    load: dict[str, Any],
) -> None:
    assert set(load) == {"load-master", "load-worker"}
    for container in load.values():
        assert_hardened(container, restart="on-failure")
        assert "secrets" not in container
    (page,) = load["load-master"]["ports"]
    assert (page["host_ip"], page["target"]) == ("127.0.0.1", 8089)
    assert not load["load-worker"].get("ports")


@pytest.mark.parametrize(
    ("service", "clients"),
    [
        ("api-gateway", ApiSettings.max_connections),
        ("broadcast-service", BroadcastSettings.max_viewers),
    ],
)
def test_a_service_allows_no_more_clients_than_its_container_has_files(
    definition: dict[str, Any], service: str, clients: int
) -> None:
    assert clients + SPARE <= definition[service]["ulimits"]["nofile"]


def test_each_service_has_its_own_nats_user_and_no_other_s_password(secrets: Path) -> None:
    result = compose("--profile", "commands", "config", "--format", "json", secrets=secrets)

    parts = json.loads(result.stdout)["services"]
    for user in set(USERS) - {ADMINISTRATOR}:
        secret = f"nats_{user.replace('-', '_')}_password"
        given = parts[user]["environment"]
        assert given["NATS_USER"] == user
        assert given["NATS_PASSWORD_FILE"] == f"/run/secrets/{secret}"
        held = {one["source"] for one in parts[user]["secrets"]}
        assert {name for name in held if name.startswith("nats")} == {secret}


def test_only_the_edge_is_published_and_only_on_loopback(definition: dict[str, Any]) -> None:
    published = {
        (name, port["target"], port.get("host_ip"))
        for name, container in definition.items()
        for port in container.get("ports", ())
    }

    assert published == {("edge", target, "127.0.0.1") for target in (8000, 8080, 8081)}


def test_services_have_time_to_drain_before_they_are_killed(definition: dict[str, Any]) -> None:
    for name in ("api-gateway", "broadcast-service", "archival-worker"):
        assert definition[name]["stop_grace_period"] == "25s"
        assert stop_within_s(definition[name]["environment"]) <= 25


def test_services_start_when_every_store_is_healthy(definition: dict[str, Any]) -> None:
    for name in ("api-gateway", "broadcast-service", "archival-worker"):
        waits_for = definition[name]["depends_on"]

        assert {store: one["condition"] for store, one in waits_for.items()} == dict.fromkeys(
            ("redis", "nats", "postgres"), "service_healthy"
        )


def test_bidkit_and_compose_use_the_same_official_images() -> None:
    text = (ROOT / "compose" / "compose.yaml").read_text()
    dockerfile = (ROOT / "compose" / "Dockerfile").read_text()

    for name, image in {**images.SERVER_IMAGES, "PYTHON_IMAGE": images.PYTHON_IMAGE}.items():
        assert f"${{{name}:-{image}}}" in text
    assert f"ARG PYTHON_IMAGE={images.PYTHON_IMAGE}" in dockerfile


def test_bidkit_rebuilds_images_when_any_copied_folder_changes() -> None:
    dockerfile = (ROOT / "compose" / "Dockerfile").read_text()

    copied = re.findall(r"^COPY (pkg/\S+)", dockerfile, re.MULTILINE)

    assert set(copied) == {name for name in images.SOURCES if name.startswith("pkg/")}


def test_every_variable_of_compose_is_documented() -> None:
    text = (ROOT / "compose" / "compose.yaml").read_text()
    documented = (ROOT / "docs" / "operations.md").read_text()
    table = documented[documented.index("| variable of compose.yaml |") :].partition("\n\n")[0]

    used = set(re.findall(r"\$\{(\w+)", text)) | set(
        re.findall(r"^  ([A-Z_]+):$", text, re.MULTILINE)
    )
    first_cells = "".join(line.split("|")[1] for line in table.splitlines()[2:])
    assert set(re.findall(r"`(\w+)`", first_cells)) == used


def test_images_have_the_project_s_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert f"ARG VERSION={project['version']}\n" in (ROOT / "compose" / "Dockerfile").read_text()
