"""Decisions of the cloud and aws backends before anything is started or changed."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from pkg.devkit.backend import BackendName, Options
from pkg.devkit.choice import Choice
from pkg.devkit.cloud import backend, emulator, system_verbs
from pkg.devkit.cloud.account import AwsBackend
from pkg.devkit.cloud.backend import CloudBackend, terraform_environment
from pkg.devkit.cloud.emulator import Emulator
from pkg.devkit.cloud.nats_image import nats_variables
from pkg.devkit.cloud.place import Place, WrongAccount
from pkg.devkit.cloud.state_dir import StateDir, System
from pkg.devkit.cloud.terraform import TerraformFailed
from pkg.devkit.docker_cli import NoEngine
from pkg.devkit.errors import BadArgument, BidkitError, MissingServer, NotRunning
from pkg.devkit.home import Home
from pkg.devkit.progress import Progress
from pkg.devkit.views import console
from tests.unit.devkit.cloud.fake_aws import OUTPUTS, FakeAws, quiet
from tests.unit.devkit.cloud.fake_terraform import FakeTerraform

ROOT = Path(__file__).resolve().parents[4]
SYSTEM = System(Place(endpoint="http://127.0.0.1:4566"), "bidding-emulator-1", 4566, "a", "b")
pytestmark = pytest.mark.usefixtures("no_docker")


def deployed(home: Home, kind: str) -> None:
    place = SYSTEM.place if kind == "cloud" else Place()
    StateDir(home.folder, kind).save(
        System(place, SYSTEM.emulator, SYSTEM.port, "a", "b", outputs=OUTPUTS)
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (Options(api_port=1), "one load balancer serves everything"),
        (Options(broadcast_port=1), "leave --api-port, --broadcast-port and --edge-port out"),
        (Options(edge_port=1), "one load balancer serves everything"),
        (Options(settings={"A": "b"}), "made by Terraform .*; leave --set out"),
    ],
)
def test_option_that_cloud_does_not_have_is_refused(
    home: Home, options: Options, sentence: str
) -> None:
    with Progress(console(), farewell="") as watcher, pytest.raises(BadArgument, match=sentence):
        CloudBackend(home).up(options, detach=True, watcher=watcher)
    assert not home.folder.exists()


def test_system_is_known_as_cloud_from_up_until_down(home: Home) -> None:
    choice = Choice(home)
    assert not CloudBackend.is_marked(home)

    StateDir(home.folder, "cloud").save(SYSTEM)

    assert choice.of_verb().name is BackendName.CLOUD
    with pytest.raises(
        BidkitError, match=r"runs on cloud, not process; `bidkit down` stops it, with its data"
    ):
        choice.for_up(BackendName.PROCESS)
    assert choice.for_up(None)[0].name is BackendName.CLOUD
    CloudBackend(home).down(volumes=False, say=quiet)
    choice.for_up(BackendName.CLOUD)
    StateDir(home.folder, "cloud").save(SYSTEM)
    CloudBackend(home).down(volumes=False, say=quiet)
    chosen, why = choice.for_up(BackendName.PROCESS)
    assert chosen.name is BackendName.PROCESS
    assert why == "It last ran on cloud, which keeps no data."


def test_passwords_are_readable_by_their_owner_only(home: Home) -> None:
    StateDir(home.folder, "cloud").save(SYSTEM)

    mode = StateDir(home.folder, "cloud").system_file.stat().st_mode

    assert mode & 0o077 == 0


def test_verbs_say_that_nothing_is_deployed_or_that_the_emulator_ended(home: Home) -> None:
    cloud = CloudBackend(home)
    with pytest.raises(NotRunning, match=r"nothing is deployed; `bidkit up --on cloud` does that"):
        cloud.status()

    deployed(home, "cloud")

    with pytest.raises(NotRunning, match="the emulator has ended"):
        cloud.status()


def test_second_bidkit_waits_for_nothing(home: Home) -> None:
    with (
        StateDir(home.folder, "cloud").lock(),
        pytest.raises(BidkitError, match="another bidkit is still bringing this system up or down"),
    ):
        CloudBackend(home).down(volumes=False, say=quiet)


def test_scale_returns_when_the_load_balancer_sends_the_new_task_requests(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ECS has it running before that."""
    monkeypatch.setattr(system_verbs, "_LOOK_EVERY_S", 0.0)
    aws = FakeAws()
    healthy: Any = aws.answers["describe_target_health"]
    nobody: dict[str, Any] = {"TargetHealthDescriptions": []}
    looks = iter([nobody, nobody, healthy])
    aws.answers["describe_target_health"] = lambda **_: next(looks)
    deployed(home, "cloud")

    CloudBackend(home, aws).scale({"api-gateway": 2}, say=quiet)

    assert next(looks, None) is None


def test_restart_of_what_aws_runs_is_refused(home: Home) -> None:
    deployed(home, "aws")

    with pytest.raises(BadArgument, match="redis is run by AWS"):
        AwsBackend(home, FakeAws("123456789012")).restart("redis", say=quiet)


def test_describe_shows_settings_of_the_task_and_only_the_begin_of_a_certificate(
    home: Home,
) -> None:
    aws = FakeAws()
    aws.environments["bidding-system-api-gateway"] = {"REDIS_CA": "-----BEGIN-----\nAAA\n"}
    deployed(home, "cloud")

    assert CloudBackend(home, aws).settings()["api-gateway"] == {"REDIS_CA": "-----BEGIN----- …"}


def test_terraform_of_the_emulator_gets_only_our_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TF_VAR_db_password", "of-the-account")
    monkeypatch.setenv("AWS_PROFILE", "work")

    given = terraform_environment(SYSTEM.place, {"emulated": "true"})

    assert {name for name in given if name.startswith("TF_VAR_")} == {"TF_VAR_emulated"}
    assert "AWS_PROFILE" not in given


@pytest.mark.parametrize(
    ("image", "given"),
    [
        ("", {}),
        ("nats:2.15.1-alpine", {"nats_image": "nats:2.15.1-alpine"}),
        ("host:5000/nats@sha256:ab", {"nats_image": "host:5000/nats@sha256:ab"}),
        ("host:5000/nats", {"nats_image": "bidding-system/nats-stand-in:e"}),
        ("offline/nats:latest", {"nats_image": "bidding-system/nats-stand-in:e"}),
    ],
)
def test_nats_image_without_a_tag_gets_one(image: str, given: dict[str, str]) -> None:
    assert nats_variables({"NATS_IMAGE": image}, "e") == given


def brought_up_to_the_account_check(
    home: Home, monkeypatch: pytest.MonkeyPatch, *, runs: bool
) -> list[str]:
    """What was done to emulators by an `up` that ends where AWS is asked first."""
    done: list[str] = []

    def answer(_: Place) -> FakeAws:
        raise WrongAccount("far enough")

    monkeypatch.setattr(backend, "aws_of", answer)
    monkeypatch.setattr(Emulator, "runs", lambda _: runs)
    monkeypatch.setattr(Emulator, "answers", lambda _: runs)
    monkeypatch.setattr(Emulator, "start", lambda one, **_: done.append(f"started {one.name}"))
    monkeypatch.setattr(emulator, "remove", lambda name: done.append(f"removed {name}"))
    with (
        Progress(console(), farewell="") as watcher,
        pytest.raises(WrongAccount, match="far enough"),
    ):
        CloudBackend(home).up(Options(), detach=True, watcher=watcher)
    return done


def test_emulator_that_was_killed_half_way_is_replaced_and_its_state_forgotten(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    state_dir = StateDir(home.folder, "cloud")
    state_dir.save(SYSTEM)
    state_dir.terraform.mkdir()
    state = state_dir.terraform / "terraform.tfstate"
    state.touch()

    done = brought_up_to_the_account_check(home, monkeypatch, runs=False)

    name = state_dir.emulator_name
    assert done == [f"removed {name}", f"started {name}"]
    assert not state.exists()
    system = state_dir.system()
    assert system is not None
    assert system.db_password != SYSTEM.db_password


def test_port_that_another_program_has_is_not_the_emulators(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(backend, "_PORT", port)

        brought_up_to_the_account_check(home, monkeypatch, runs=False)

    system = StateDir(home.folder, "cloud").system()
    assert system is not None
    assert system.port not in {None, port}
    assert system.place.endpoint == f"http://127.0.0.1:{system.port}"


def test_without_an_engine_nothing_is_begun(home: Home, no_docker: Path) -> None:
    no_docker.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")

    with (
        Progress(console(), farewell="") as watcher,
        pytest.raises(NoEngine, match=r"no Docker engine answers .* Start it, or run on processes"),
    ):
        CloudBackend(home).up(Options(), detach=True, watcher=watcher)

    assert not CloudBackend.is_marked(home)


@pytest.mark.usefixtures("no_boto3")
def test_without_boto3_no_emulator_is_started(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Emulator, "start", lambda *_, **__: pytest.fail("it was started"))

    with (
        Progress(console(), farewell="") as watcher,
        pytest.raises(MissingServer, match="boto3 is not installed here"),
    ):
        CloudBackend(home).up(Options(), detach=True, watcher=watcher)


def test_failed_apply_says_how_to_go_on_and_how_to_begin_anew(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    StateDir(home.folder, "cloud").save(SYSTEM)

    class Failing(FakeTerraform):
        folder = home.folder / "cloud/terraform"

        def apply(self, **_: object) -> None:
            raise TerraformFailed("terraform apply failed: no")

    monkeypatch.setattr(Emulator, "runs", lambda _: True)
    monkeypatch.setattr(Emulator, "answers", lambda _: True)
    monkeypatch.setattr(Emulator, "redis_ca", lambda _: "")
    monkeypatch.setattr(backend, "aws_of", lambda _: FakeAws())
    monkeypatch.setattr(backend, "Terraform", Failing)

    with (
        Progress(console(), farewell="") as watcher,
        pytest.raises(
            TerraformFailed, match=r"(?s)failed: no\n`bidkit up --on cloud` goes on.*down"
        ),
    ):
        CloudBackend(home).up(Options(), detach=True, watcher=watcher)


def test_emulator_that_runs_goes_on_with_its_state(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    state_dir = StateDir(home.folder, "cloud")
    state_dir.save(SYSTEM)
    state_dir.terraform.mkdir()
    state = state_dir.terraform / "terraform.tfstate"
    state.touch()

    assert brought_up_to_the_account_check(home, monkeypatch, runs=True) == []

    assert state.exists()
    assert state_dir.system() == SYSTEM


@pytest.mark.parametrize("verb", ["restore", "redrive"])
def test_plan_is_shown_and_confirmed_before_a_task_carries_it_out(
    home: Home, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    ran: list[tuple[str, ...]] = []

    def run(_: object, family: str, command: tuple[str, ...]) -> int:
        assert family == ("restore" if verb == "restore" else "archival-worker")
        ran.append(command)
        return 0

    monkeypatch.setattr(AwsBackend, "_run", run)
    monkeypatch.setattr(system_verbs, "confirmed", lambda *_: len(ran) == 1)
    carry_out = getattr(AwsBackend(home), verb)

    assert carry_out(()) == 0
    assert ran == [(verb, "--dry-run"), (verb, "--yes")]

    monkeypatch.setattr(system_verbs, "confirmed", lambda *_: False)
    assert carry_out(()) == 1
    assert ran[2:] == [(verb, "--dry-run")]


def test_without_a_terminal_nothing_is_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path(os.devnull).open() as nobody:
        monkeypatch.setattr("sys.stdin", nobody)

        with pytest.raises(BidkitError, match="no terminal to ask at; nothing was changed"):
            system_verbs.confirmed("Sure? ", "yes")


def test_wait_until_ready_names_what_is_not(monkeypatch: pytest.MonkeyPatch, home: Home) -> None:
    monkeypatch.setattr(backend, "_READY_WITHIN_S", 0.0)
    monkeypatch.setattr(backend, "_LOOK_EVERY_S", 0.0)
    aws = FakeAws()
    aws.services["bidding-system-nats"]["desiredCount"] = 2
    deployed(home, "cloud")

    with pytest.raises(BidkitError, match="nats not ready"):
        backend.await_ready(CloudBackend(home, aws).status, lambda: None)
