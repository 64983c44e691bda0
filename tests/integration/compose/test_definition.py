"""compose.yaml as it is written; nothing runs here."""

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from pkg.devkit.compose import images
from pkg.devkit.service_settings import stop_within_s
from tests.integration.compose.conftest import compose

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
    said = compose("config", "--format", "json", secrets=secrets)
    assert said.returncode == 0, said.stderr
    parts: dict[str, Any] = json.loads(said.stdout)["services"]
    assert set(parts) == PARTS
    return parts


def test_compose_has_no_warnings(secrets: Path) -> None:
    said = compose("config", "--quiet", secrets=secrets)

    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_without_secrets_compose_says_how_to_make_them() -> None:
    said = compose("config", "--quiet", secrets=None)

    assert said.returncode != 0
    assert "sh compose/make-secrets" in said.stderr


def test_secrets_are_made_once_and_readable_by_us_alone(secrets: Path) -> None:
    before = {file.name: file.read_text() for file in secrets.iterdir()}

    subprocess.run(["sh", ROOT / "compose" / "make-secrets", secrets], check=True)

    assert {file.name: file.read_text() for file in secrets.iterdir()} == before
    assert set(before) == {"redis_password", "nats_password", "postgres_password"}
    assert len(set(before.values())) == len(before)
    assert all(len(text) == 32 for text in before.values())
    assert secrets.stat().st_mode & 0o077 == 0


def test_make_secrets_says_what_it_made(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"

    def says() -> str:
        command = ("sh", str(ROOT / "compose" / "make-secrets"), str(folder))
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    first = says()
    second = says()
    (folder / "nats_password").unlink()

    assert first == f"Made redis_password nats_password postgres_password in {folder}.\n"
    assert second == f"All passwords were in {folder} already; nothing changed.\n"
    assert says() == f"Made nats_password in {folder}.\n"


def test_an_existing_secrets_folder_is_closed_to_others_too(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)

    subprocess.run(["sh", ROOT / "compose" / "make-secrets", tmp_path], check=True)

    assert tmp_path.stat().st_mode & 0o077 == 0


def test_a_package_index_reaches_the_build_only_if_given(
    secrets: Path, definition: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.test/simple")

    said = compose("config", "--format", "json", secrets=secrets)

    parts = json.loads(said.stdout)["services"]
    for service in ("api-gateway", "broadcast-service", "archival-worker"):
        assert parts[service]["build"]["args"]["PIP_INDEX_URL"] == "https://index.test/simple"
        assert "index.test" not in json.dumps(definition[service])


@pytest.mark.parametrize("part", sorted(PARTS))
def test_every_container_is_hardened_and_bounded(definition: dict[str, Any], part: str) -> None:
    said = definition[part]

    assert said["read_only"] is True
    assert said["cap_drop"] == ["ALL"]
    assert "cap_add" not in said
    assert "privileged" not in said
    assert said["security_opt"] == ["no-new-privileges:true"]
    assert int(said["mem_limit"]) > 0
    assert float(said["cpus"]) > 0
    assert int(said["pids_limit"]) > 0
    assert said["restart"] == "unless-stopped"
    assert said["healthcheck"]["test"]
    assert said["ulimits"]["nofile"] <= 20_000
    assert said["logging"]["options"]["max-size"]


def test_only_the_edge_is_published_and_on_loopback_alone(definition: dict[str, Any]) -> None:
    published = {
        (name, port["target"], port.get("host_ip"))
        for name, said in definition.items()
        for port in said.get("ports", ())
    }

    assert published == {("edge", target, "127.0.0.1") for target in (8000, 8080, 8081)}


def test_a_service_has_time_to_drain_before_it_is_killed(definition: dict[str, Any]) -> None:
    for name in ("api-gateway", "broadcast-service", "archival-worker"):
        assert definition[name]["stop_grace_period"] == "25s"
        assert stop_within_s(definition[name]["environment"]) <= 25


def test_a_service_starts_when_every_store_is_healthy(definition: dict[str, Any]) -> None:
    for name in ("api-gateway", "broadcast-service", "archival-worker"):
        waits_for = definition[name]["depends_on"]

        assert {store: one["condition"] for store, one in waits_for.items()} == dict.fromkeys(
            ("redis", "nats", "postgres"), "service_healthy"
        )


def test_the_kit_and_compose_agree_on_the_official_images() -> None:
    text = (ROOT / "compose" / "compose.yaml").read_text()
    dockerfile = (ROOT / "compose" / "Dockerfile").read_text()

    for name, image in {**images.SERVER_IMAGES, "PYTHON_IMAGE": images.PYTHON_IMAGE}.items():
        assert f"${{{name}:-{image}}}" in text
    assert f"ARG PYTHON_IMAGE={images.PYTHON_IMAGE}" in dockerfile


def test_the_kit_builds_again_when_anything_in_the_images_changes() -> None:
    dockerfile = (ROOT / "compose" / "Dockerfile").read_text()

    copied = re.findall(r"^COPY (pkg/\S+)", dockerfile, re.MULTILINE)

    assert set(copied) == {name for name in images.SOURCES if name.startswith("pkg/")}


def test_every_variable_of_compose_is_explained() -> None:
    text = (ROOT / "compose" / "compose.yaml").read_text()
    explained = (ROOT / "docs" / "operations.md").read_text()
    table = explained[explained.index("| variable of compose.yaml |") :].partition("\n\n")[0]

    used = set(re.findall(r"\$\{(\w+)", text)) | set(
        re.findall(r"^  ([A-Z_]+):$", text, re.MULTILINE)
    )
    first_cells = "".join(line.split("|")[1] for line in table.splitlines()[2:])
    assert set(re.findall(r"`(\w+)`", first_cells)) == used


def test_the_images_have_the_projects_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert f"ARG VERSION={project['version']}\n" in (ROOT / "compose" / "Dockerfile").read_text()
