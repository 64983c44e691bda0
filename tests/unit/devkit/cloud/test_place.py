"""The emulator and AWS cannot be mixed up."""

import re
from pathlib import Path

import msgspec
import pytest

from pkg.devkit.cloud.place import (
    _REGION,
    DEFAULT_REGION,
    Place,
    WrongAccount,
    ignored,
    of_account,
)
from pkg.devkit.errors import BadArgument
from tests.unit.devkit.cloud.fake_aws import FakeAws

ROOT = Path(__file__).resolve().parents[4]
EMULATED = Place(endpoint="http://127.0.0.1:4566")
CALLER = {
    "PATH": "/bin",
    "AWS_PROFILE": "work",
    "AWS_ACCESS_KEY_ID": "AKIAREAL",
    "AWS_SESSION_TOKEN": "real",
    "AWS_ENDPOINT_URL_S3": "https://s3.amazonaws.com",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    "AWS_REGION": "eu-west-1",
    "TF_VAR_registry": "1.dkr.ecr.us-east-1.amazonaws.com",
    "TF_CLI_ARGS_apply": "-var-file=prod.tfvars",
    "TF_WORKSPACE": "prod",
    "TF_CLI_CONFIG_FILE": "/mirror.tfrc",
    "HTTPS_PROXY": "http://proxy:3128",
}


def test_emulator_gets_nothing_of_the_caller_that_leads_to_aws() -> None:
    given = EMULATED.environment(CALLER)

    assert {name: text for name, text in given.items() if name[:3] in {"AWS", "TF_"}} == {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:4566",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
        "TF_CLI_CONFIG_FILE": "/mirror.tfrc",
    }
    assert (given["NO_PROXY"], given["PATH"]) == ("127.0.0.1,localhost", "/bin")


def test_account_keeps_the_callers_credentials_and_no_configured_endpoint() -> None:
    caller = {"AWS_PROFILE": "work", "PATH": "/bin"}

    given = of_account(caller).environment(caller)

    assert given["AWS_PROFILE"] == "work"
    assert given["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] == "true"
    assert "AWS_ENDPOINT_URL" not in given


def test_ignored_credentials_are_named_without_their_values() -> None:
    sentence = ignored(CALLER)

    assert sentence == (
        "AWS_ACCESS_KEY_ID, AWS_SESSION_TOKEN, AWS_PROFILE are ignored: the emulator has keys of "
        "its own, AWS is not called"
    )
    assert ignored({"PATH": "/bin"}) is None


@pytest.mark.parametrize(
    "variable",
    [
        {"AWS_ENDPOINT_URL": "http://localhost:4566"},
        {"AWS_ENDPOINT_URL_STS": "http://localhost:4566"},
        {"TF_VAR_emulated": "true"},
        {"TF_VAR_registry": "localhost:4566"},
    ],
)
def test_account_is_refused_where_the_environment_means_an_emulator(
    variable: dict[str, str],
) -> None:
    with pytest.raises(BadArgument, match=rf"{next(iter(variable))} in .* means an emulator"):
        of_account(variable)


def test_real_account_is_refused_on_the_emulator() -> None:
    with pytest.raises(WrongAccount, match=r"account 123456789012 is not the emulator's"):
        EMULATED.check_account(FakeAws("123456789012"))


def test_emulators_account_is_refused_on_aws() -> None:
    with pytest.raises(WrongAccount, match=r"an emulator's account .*, not AWS"):
        Place().check_account(FakeAws("000000000000"))


def test_right_accounts_are_told() -> None:
    assert EMULATED.check_account(FakeAws("000000000000")) == "000000000000"
    assert Place().check_account(FakeAws("123456789012")) == "123456789012"


@pytest.mark.parametrize("endpoint", ["https://ecs.amazonaws.com", "http://127.0.0.1.evil:1", ""])
def test_emulator_is_on_this_machine_even_in_a_changed_file(endpoint: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="no emulator on this machine"):
        msgspec.convert({"endpoint": endpoint}, Place)


def test_default_region_is_terraforms() -> None:
    variables = (ROOT / "terraform/variables.tf").read_text()
    found = re.search(r'variable "aws_region".*?default\s*=\s*"([^"]+)"', variables, re.DOTALL)

    assert found
    assert found[1] == DEFAULT_REGION
    assert of_account({"AWS_REGION": "eu-west-1"}).region == "eu-west-1"


def test_region_has_the_form_that_terraform_wants() -> None:
    variables = (ROOT / "terraform/variables.tf").read_text()
    block = variables.partition('variable "aws_region"')[2].partition("\n}\n")[0]
    found = re.search(r'regex\("\^(.*)\$", var\.aws_region', block)

    assert found
    assert found[1] == _REGION.pattern
