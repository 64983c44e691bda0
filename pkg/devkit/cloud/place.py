"""Which AWS is meant: the emulator on loopback, or the caller's account. Never both."""

import os
import re
from collections.abc import Mapping

import msgspec

from pkg.devkit.cloud.aws import Aws
from pkg.devkit.errors import BadArgument, BidkitError

EMULATED_ACCOUNT = "000000000000"
"""No account of AWS has this number."""

DEFAULT_REGION = "us-east-1"
"""As in terraform/variables.tf; a test compares them."""

EMULATED_KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}

_ENDPOINT = re.compile(r"http://127\.0\.0\.1:[0-9]{1,5}")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]")
"""As in terraform/variables.tf; a test compares them."""

_LEADS_TO_AWS = re.compile(r"AWS_|TF_VAR_|TF_CLI_ARGS|TF_WORKSPACE$|TF_DATA_DIR$")
_IDENTIFIES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE")


class WrongAccount(BidkitError):  # noqa: N818 - see errors.py
    """An emulator answered where AWS was meant, or the reverse. Nothing was changed."""


class NoRegion(BadArgument):
    """A variable of the caller's names no region. AWS was not called."""


class Place(msgspec.Struct, frozen=True):
    region: str = DEFAULT_REGION
    endpoint: str | None = None
    """The emulator's; None: AWS' own."""

    def __post_init__(self) -> None:
        if self.endpoint is not None and not _ENDPOINT.fullmatch(self.endpoint):
            raise ValueError(f"{self.endpoint} is no emulator on this machine")

    @property
    def emulated(self) -> bool:
        return self.endpoint is not None

    def environment(self, caller: Mapping[str, str]) -> dict[str, str]:
        """What Terraform and the AWS tools are given of the caller's environment, and more.

        With an emulator nothing that could lead to AWS: no variable, no file of profiles, no
        metadata service. On AWS nothing that could lead to an emulator.
        """
        if self.endpoint is None:
            return {
                **caller,
                "AWS_REGION": self.region,
                "AWS_DEFAULT_REGION": self.region,
                "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
            }
        return {
            **{name: text for name, text in caller.items() if not _LEADS_TO_AWS.match(name)},
            **EMULATED_KEYS,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            **dict.fromkeys(("NO_PROXY", "no_proxy"), _without_proxy(caller)),
        }

    def check_account(self, aws: Aws) -> str:
        """The account's number. Raises WrongAccount."""
        account = str(aws.ask("sts", "get_caller_identity")["Account"])
        if (account == EMULATED_ACCOUNT) != self.emulated:
            raise WrongAccount(
                f"this is an emulator's account ({account}), not AWS; unset AWS_ENDPOINT_URL, and "
                "endpoint_url in your AWS configuration. Nothing was changed."
                if account == EMULATED_ACCOUNT
                else f"account {account} is not the emulator's ({EMULATED_ACCOUNT}). "
                "Nothing was changed."
            )
        return account


def of_account(caller: Mapping[str, str]) -> Place:
    """Raises BadArgument if the caller's environment means an emulator, NoRegion if no region."""
    means_emulator = sorted(
        name
        for name, text in caller.items()
        if text
        and (
            name.startswith("AWS_ENDPOINT_URL")
            or name == "TF_VAR_registry"
            or (name == "TF_VAR_emulated" and text != "false")
        )
    )
    if means_emulator:
        raise BadArgument(
            f"{' and '.join(means_emulator)} in your environment means an emulator; "
            "unset it, or use `bidkit up --on cloud`."
        )
    for name in ("TF_VAR_aws_region", "AWS_REGION"):
        if region := caller.get(name):
            if not _REGION.fullmatch(region):
                raise NoRegion(
                    f"{name} is {region!r}, but a region looks like {DEFAULT_REGION}. "
                    "AWS was not called."
                )
            return Place(region=region)
    return Place()


def _without_proxy(caller: Mapping[str, str]) -> str:
    """Terraform's registry may be behind a proxy, the emulator never is."""
    given = caller.get("NO_PROXY") or caller.get("no_proxy")
    return ",".join(filter(None, (given, "127.0.0.1", "localhost")))


def ignored(caller: Mapping[str, str]) -> str | None:
    """A sentence about credentials of the caller's that the emulator does not get."""
    names = [name for name in _IDENTIFIES if caller.get(name)]
    if not names:
        return None
    verb = "is" if len(names) == 1 else "are"
    return f"{', '.join(names)} {verb} ignored: the emulator has keys of its own, AWS is not called"
