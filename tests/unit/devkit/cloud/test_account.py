"""Decisions about an account, before anything is planned there."""

from pathlib import Path

import pytest

from pkg.devkit.backend import BackendName, Options
from pkg.devkit.choice import Choice
from pkg.devkit.cloud import account
from pkg.devkit.cloud import terraform as terraform_module
from pkg.devkit.cloud.account import CLUSTER, AwsBackend
from pkg.devkit.cloud.place import WrongAccount
from pkg.devkit.cloud.terraform import PASSWORDS
from pkg.devkit.errors import BadArgument, BidkitError
from pkg.devkit.home import Home
from pkg.devkit.progress import Progress
from pkg.devkit.views import console
from tests.unit.devkit.cloud.fake_aws import CLUSTER as CLUSTER_OF_FAKE
from tests.unit.devkit.cloud.fake_aws import FakeAws, quiet
from tests.unit.devkit.cloud.fake_terraform import FakeTerraform

ROOT = Path(__file__).resolve().parents[4]

pytestmark = pytest.mark.usefixtures("no_docker")


@pytest.mark.parametrize("verb", ["up", "down"])
def test_verbs_for_this_machine_do_nothing_to_an_account(home: Home, verb: str) -> None:
    aws = AwsBackend(home)

    with Progress(console(), farewell="") as watcher:
        if verb == "up":
            with pytest.raises(BadArgument, match="--on aws"):
                aws.up(Options(), detach=True, watcher=watcher)
        else:
            with pytest.raises(BadArgument, match="--on aws"):
                aws.down(volumes=True, say=quiet)
    with pytest.raises(BadArgument, match="bidkit deploy --on aws"):
        Choice(home).for_up(BackendName.AWS)


@pytest.fixture
def terraform(monkeypatch: pytest.MonkeyPatch) -> type[FakeTerraform]:
    monkeypatch.setattr(account, "Terraform", FakeTerraform)
    for name in PASSWORDS:
        monkeypatch.setenv(name, "a-password")
    FakeTerraform.calls = []
    return FakeTerraform


def answer_with(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setattr(account, "confirmed", lambda _, expected: given == expected)


def test_emulator_behind_the_accounts_name_is_refused_before_a_plan(
    home: Home, terraform: type[FakeTerraform]
) -> None:
    aws = AwsBackend(home, FakeAws("000000000000"))

    with Progress(console(), farewell="") as watcher, pytest.raises(WrongAccount):
        aws.deploy("dev.tfvars", show=quiet, watcher=watcher)
    with pytest.raises(WrongAccount):
        aws.destroy("dev.tfvars", say=quiet)

    assert terraform.calls == []


def test_endpoint_in_the_environment_is_refused_before_aws_is_asked(
    home: Home, terraform: type[FakeTerraform], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:4566")
    aws = FakeAws("123456789012")

    with Progress(console(), farewell="") as watcher, pytest.raises(BadArgument):
        AwsBackend(home, aws).deploy("dev.tfvars", show=quiet, watcher=watcher)

    assert (terraform.calls, aws.calls) == ([], [])


@pytest.mark.parametrize(
    ("variable", "text", "sentence"),
    [
        ("TF_VAR_nats_password", "", "Terraform needs TF_VAR_nats_password in your environment"),
        ("AWS_REGION", "mars", "AWS_REGION is 'mars', but a region looks like us-east-1"),
        ("TF_VAR_aws_region", "us-east", "TF_VAR_aws_region is 'us-east', but a region looks"),
    ],
)
def test_bad_environment_is_refused_before_aws_is_asked(
    home: Home,
    terraform: type[FakeTerraform],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    text: str,
    sentence: str,
) -> None:
    monkeypatch.setenv(variable, text)
    aws = FakeAws("123456789012")

    with Progress(console(), farewell="") as watcher, pytest.raises(BadArgument, match=sentence):
        AwsBackend(home, aws).deploy("dev.tfvars", show=quiet, watcher=watcher)
    with pytest.raises(BadArgument, match=sentence):
        AwsBackend(home, aws).destroy("dev.tfvars", say=quiet)

    assert (terraform.calls, aws.calls) == ([], [])


def test_passwords_in_a_file_of_terraforms_are_enough(
    home: Home,
    terraform: type[FakeTerraform],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(terraform_module, "SOURCE", tmp_path)
    answer_with(monkeypatch, CLUSTER)
    for name in PASSWORDS:
        monkeypatch.delenv(name)
    (tmp_path / "terraform.tfvars").touch()

    AwsBackend(home, FakeAws("123456789012")).destroy("dev.tfvars", say=quiet)

    assert "destroy" in terraform.calls


def test_plan_that_is_not_confirmed_is_not_applied(
    home: Home, terraform: type[FakeTerraform], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_with(monkeypatch, "y")

    with Progress(console(), farewell="") as watcher, pytest.raises(BidkitError, match="nothing"):
        AwsBackend(home, FakeAws("123456789012")).deploy("dev.tfvars", show=quiet, watcher=watcher)

    assert terraform.calls == ["init", "plan"]


@pytest.mark.parametrize("given", ["yes", "bidding-system", CLUSTER])
def test_only_the_clusters_name_destroys_it(
    home: Home, terraform: type[FakeTerraform], monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    answer_with(monkeypatch, given)
    aws = AwsBackend(home, FakeAws("123456789012"))

    if given == CLUSTER:
        aws.destroy("dev.tfvars", say=quiet)
    else:
        with pytest.raises(BidkitError, match="nothing was destroyed"):
            aws.destroy("dev.tfvars", say=quiet)

    assert ("destroy" in terraform.calls) == (given == CLUSTER)


def test_cluster_has_terraforms_name() -> None:
    assert CLUSTER == CLUSTER_OF_FAKE == "bidding-system-cluster"
    assert 'name = "${local.name}-cluster"' in (ROOT / "terraform/ecs.tf").read_text()
