"""How the emulators are started, and what they leave."""

from pathlib import Path

import pytest

from pkg.devkit.cloud import emulator
from pkg.devkit.cloud.emulator import Emulator, remaining
from pkg.devkit.cloud.emulator_kinds import LOCALSTACK, MINISTACK
from pkg.devkit.errors import BidkitError
from tests.unit.devkit.cloud.fake_aws import quiet

pytestmark = pytest.mark.usefixtures("no_docker")


@pytest.fixture
def calls(no_docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What docker is asked for, a line each."""
    file = tmp_path / "calls"
    no_docker.write_text(f'#!/bin/sh\necho "$*" >>{file}\necho 1\n')
    monkeypatch.setattr(Emulator, "answers", lambda _: True)
    return file


def started(calls: Path, one: Emulator, **settings: str) -> str:
    one.start(say=quiet, check=lambda: None, settings=settings, labels={"a": "b"})
    (run,) = [line for line in calls.read_text().splitlines() if line.startswith("run ")]
    return run


def test_emulator_publishes_on_loopback_only(calls: Path) -> None:
    run = started(calls, Emulator("bidding-emulator-1", 4567))

    assert "-p 127.0.0.1:4567:4567 " in run
    assert run.count("-p ") == 1


def test_container_and_network_have_the_labels_and_settings_come_last(
    calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_IMAGE", "mine")
    monkeypatch.setenv("POSTGRES_IMAGE", "mine")

    run = started(calls, Emulator("one", 4567), POSTGRES_IMAGE="another", RDS_BASE_PORT="7")

    assert "network create --label a=b one" in calls.read_text().splitlines()
    assert "--network one --label a=b " in run
    assert "-e RDS_BASE_PORT=7 " in run
    assert "-e POSTGRES_IMAGE=another -e REDIS_IMAGE " in run
    assert run.count("POSTGRES_IMAGE") == run.count("RDS_BASE_PORT") == 1


def test_localstack_has_the_same_port_and_its_token_is_in_no_command(
    calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALSTACK_AUTH_TOKEN", "ls-secret")
    monkeypatch.setenv("LOCALSTACK_IMAGE", "localstack/localstack-pro:another")

    run = started(calls, Emulator("one", 4567, LOCALSTACK))

    assert "-p 127.0.0.1:4567:4567 " in run
    assert "-e GATEWAY_LISTEN=0.0.0.0:4567 " in run
    assert run.endswith("-e LOCALSTACK_AUTH_TOKEN localstack/localstack-pro:another")
    assert "ls-secret" not in calls.read_text()
    assert "build" not in calls.read_text()


def test_localstack_is_a_release_unless_the_environment_names_another() -> None:
    assert LOCALSTACK.image_of({}) == LOCALSTACK.image
    assert not LOCALSTACK.image.endswith(":latest")
    assert MINISTACK.image_of({"LOCALSTACK_IMAGE": "x"}) == MINISTACK.image


def test_what_an_emulator_left_is_found_by_its_name_not_by_a_prefix_of_it(no_docker: Path) -> None:
    no_docker.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        '"ps -a "*) echo "1 bidding-emulator-1:4566"; echo "2 bidding-emulator-12:4566" ;;\n'
        '"volume ls "*) echo "v1 bidding-emulator-1:4567"; echo "v2 other:1" ;;\n'
        "esac\n"
    )

    assert remaining("bidding-emulator-1") == {
        "container": ["1"],
        "volume": ["v1"],
        "network": [],
    }


def test_leftovers_that_stay_are_an_error(no_docker: Path) -> None:
    no_docker.write_text('#!/bin/sh\ncase "$*" in "network ls "*) echo n1 ;; esac\n')

    with pytest.raises(BidkitError, match="something of the emulator is left: network n1"):
        emulator.remove("bidding-emulator-1")
