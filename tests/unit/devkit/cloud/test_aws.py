"""boto3 is asked for an emulator's answers without a look at the caller's configuration."""

from pathlib import Path

import pytest

from pkg.devkit.cloud.aws import AwsRefused, Boto
from pkg.devkit.cloud.place import Place
from pkg.devkit.cloud.system_verbs import aws_of
from pkg.devkit.errors import MissingServer
from pkg.devkit.ports import free_ports


@pytest.mark.usefixtures("no_boto3")
def test_missing_boto3_is_said_with_the_command_that_installs_it() -> None:
    with pytest.raises(
        MissingServer, match=r"boto3 is not installed here: .*requirements/cloud\.txt"
    ):
        Boto("us-east-1").ask("sts", "get_caller_identity")


def test_emulator_is_asked_whatever_the_callers_configuration_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody listens: the error names the address that was tried."""
    (port,) = free_ports(1)
    configuration = tmp_path / "config"
    configuration.write_text("[profile work]\nendpoint_url = https://sts.amazonaws.com\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(configuration))
    monkeypatch.setenv("AWS_PROFILE", "there-is-none")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "https://sts.amazonaws.com")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    aws = aws_of(Place(endpoint=f"http://127.0.0.1:{port}"))

    with pytest.raises(AwsRefused, match=rf'URL: "http://127\.0\.0\.1:{port}/"'):
        aws.ask("sts", "get_caller_identity")


def test_unusable_configuration_of_an_account_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "there-is-none")

    with pytest.raises(AwsRefused, match=r"configuration cannot be used: .*there-is-none"):
        aws_of(Place()).ask("sts", "get_caller_identity")


def test_missing_credentials_are_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))

    with pytest.raises(
        AwsRefused, match=r"no answer from AWS to get_caller_identity: .*credentials"
    ):
        aws_of(Place()).ask("sts", "get_caller_identity")
