"""Containers of an emulator are its own, and reachable from this machine only."""

from typing import Any

import pytest

from localstack.emulator.containers import apply_image_prefix, own_and_on_loopback, own_name


def made(**settings: object) -> dict[str, Any]:
    def make(_collection: object, **given: object) -> object:
        return given

    result = own_and_on_loopback(make, own_name(4566))(None, **settings)
    assert isinstance(result, dict)
    return result


def test_port_is_published_on_loopback_wherever_one_is_free() -> None:
    assert made(ports={"5432/tcp": 15432})["ports"] == {"5432/tcp": ("127.0.0.1", None)}


def test_two_emulators_name_the_same_database_differently() -> None:
    name = "ministack-rds-0123-instance-bidding-system"

    assert made(name=name)["name"] == f"{name}-4566"
    assert own_name(4567)(name) == f"{name}-4567"


@pytest.mark.parametrize("name", ["ministack-ecs-0123-main", "0123456789abcdef", None])
def test_names_that_are_unique_anyway_stay(name: str | None) -> None:
    assert made(name=name)["name"] == name


def test_image_is_that_of_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_IMAGE", "mirror.test/postgres:15")

    assert apply_image_prefix(str, "postgres:15-alpine") == "mirror.test/postgres:15"
    assert apply_image_prefix(str, "redis:7-alpine") == "redis:7-alpine"


@pytest.fixture(autouse=True)
def _no_images(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REDIS_IMAGE", "POSTGRES_IMAGE"):
        monkeypatch.delenv(name, raising=False)
