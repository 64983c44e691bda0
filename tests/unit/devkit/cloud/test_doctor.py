"""Each heading of the guide's troubleshooting has a check, which finds what it is about."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pkg.devkit.cloud.account import AwsBackend
from pkg.devkit.cloud.aws import AwsRefused
from pkg.devkit.cloud.doctor import BEFORE, CHECKS, EXPECTED, Deployed, examine, needs
from pkg.devkit.cloud.place import Place, WrongAccount
from pkg.devkit.cloud.state_dir import System
from pkg.devkit.errors import NotRunning
from pkg.devkit.home import Home
from tests.unit.devkit.cloud.fake_aws import OUTPUTS, FakeAws, deployment

GUIDE = Path(__file__).resolve().parents[4] / "terraform/README.md"
API = "bidding-system-api-gateway"
EMULATED = System(Place(endpoint="http://127.0.0.1:4566"), "bidding-emulator-1", 4566)


def deployed(aws: FakeAws) -> Deployed:
    return Deployed(EMULATED, OUTPUTS, aws)


def test_every_heading_of_the_guide_has_a_check() -> None:
    section = GUIDE.read_text().partition("\n## Troubleshooting\n")[2].partition("\n## ")[0]
    headings = re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE)[2:]

    plain = {text.replace("`", "").strip() for text in headings}

    assert plain == {*CHECKS, *BEFORE, *EXPECTED}


def test_well_deployment_has_no_finding() -> None:
    aws = FakeAws()

    found = {name: check(deployed(aws)) for name, check in CHECKS.items()}

    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def change(operation: str, *path: str | int, to: object) -> Callable[[FakeAws], None]:
    def apply(aws: FakeAws) -> None:
        place: Any = aws.answers[operation]
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return apply


def of_service(**changes: object) -> Callable[[FakeAws], None]:
    return lambda aws: aws.services[API].update(changes)


def log_of_another_authority(aws: FakeAws) -> None:
    aws.answers["filter_log_events"] = lambda logGroupName, filterPattern, **_: {  # noqa: N803
        "events": [{}]
        if logGroupName.endswith("api-gateway") and "CERTIFICATE" in filterPattern
        else []
    }


BROKEN = [
    ("tasks do not start", of_service(runningCount=0), "api-gateway has 0 of 1"),
    (
        "a service stays at 0 tasks after the first apply",
        of_service(runningCount=0, deployments=[deployment("a", "FAILED")]),
        "bidkit restart api-gateway",
    ),
    (
        "a deployment is stable, but the old code runs",
        of_service(deployments=[deployment("a"), deployment("b", "FAILED", "INACTIVE")]),
        "api-gateway failed and was rolled back",
    ),
    (
        "tasks start and are replaced",
        of_service(deployments=[deployment("a") | {"failedTasks": 4}]),
        "4 failed, 0 unhealthy",
    ),
    (
        "the worker cannot reach RDS",
        lambda aws: aws.admitted["postgres"].clear(),
        "group bidding-system-postgres does not admit bidding-system-archival-worker on 5432",
    ),
    (
        "the worker cannot reach RDS",
        lambda aws: aws.environments["bidding-system-archival-worker"].update(
            POSTGRES_URL="postgresql://bidding@ministack-rds-1:5432/bidding"
        ),
        "POSTGRES_URL lacks sslmode=require",
    ),
    ("CERTIFICATE_VERIFY_FAILED in a service's log", log_of_another_authority, "api-gateway"),
    (
        "Redis errors, 503 redis_unavailable",
        lambda aws: aws.environments[API].update(REDIS_URL="redis://elsewhere:6379/0"),
        "REDIS_URL of api-gateway does not begin with rediss://ministack-redis-1:",
    ),
    (
        "Redis errors, 503 redis_unavailable",
        lambda aws: aws.admitted["redis"].remove("broadcast-service"),
        "group bidding-system-redis does not admit bidding-system-broadcast-service on 6379",
    ),
    (
        "503 from the load balancer itself",
        change("describe_target_health", "TargetHealthDescriptions", to=[]),
        "api-gateway and broadcast-service has no healthy target",
    ),
    (
        "WebSockets end after a minute of silence",
        change("describe_load_balancer_attributes", "Attributes", 0, "Value", to="50"),
        "closes after 50 s, pings come every 54 s",
    ),
    (
        "every plan wants to change the same node type or instance class",
        change("describe_db_instances", "DBInstances", 0, "PendingModifiedValues", to={"Class": 1}),
        "waits for its maintenance window: Class",
    ),
    (
        "apply: a secret with this name is scheduled for deletion",
        change("list_secrets", "SecretList", 0, "DeletedDate", to="yesterday"),
        "bidding-system/db-password",
    ),
]


@pytest.mark.parametrize(("name", "break_it", "sentence"), BROKEN)
def test_check_finds_what_it_is_about(
    name: str, break_it: Callable[[FakeAws], None], sentence: str
) -> None:
    aws = FakeAws()
    break_it(aws)

    assert sentence in str(CHECKS[name](deployed(aws)))


def test_every_check_is_broken_by_a_test() -> None:
    elsewhere = {"Set registry and emulated together"}

    assert {name for name, _, _ in BROKEN} | elsewhere == set(CHECKS)


def test_commands_that_push_to_the_other_aws_are_found() -> None:
    aws_system = System(Place())

    found = CHECKS["Set registry and emulated together"](Deployed(aws_system, OUTPUTS, FakeAws()))

    assert "images would go to localhost:4566, not to AWS" in str(found)


def test_question_that_aws_refuses_is_a_finding_not_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    aws = FakeAws()
    del aws.answers["list_secrets"]

    found = {
        name: (well, says) for name, well, says in examine(lambda: deployed(aws), account=False)
    }

    name = "apply: a secret with this name is scheduled for deletion"
    assert found[name] == (False, "cannot be told: AWS refused list_secrets.")
    assert found["tasks do not start"] == (True, "no sign of it")


def test_wrong_account_and_missing_credentials_are_found_before_anything_is_asked() -> None:
    def wrong() -> Deployed:
        raise WrongAccount("another account")

    def nothing() -> Deployed:
        raise NotRunning("nothing is deployed; `bidkit deploy --on aws` does that.")

    assert examine(wrong, account=False)[-1] == (BEFORE[2], False, "another account")
    assert examine(nothing, account=False)[-1][:2] == ("deployment", True)


@pytest.mark.usefixtures("no_boto3")
def test_missing_boto3_is_a_finding() -> None:
    found = {name: (well, says) for name, well, says in needs(account=False, environment={})}

    well, says = found["boto3"]
    assert not well
    assert "requirements/cloud.txt" in says


def nobody() -> dict[str, Any]:
    raise AwsRefused("no answer from AWS to get_caller_identity: Unable to locate credentials")


def test_missing_credentials_are_found_also_before_a_first_deployment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "TF_VAR_"))]:
        monkeypatch.delenv(name)
    home = Home(tmp_path / "home")
    anonymous = FakeAws()
    anonymous.answers["get_caller_identity"] = nobody

    without = examine(AwsBackend(home, anonymous).deployed, account=True)
    with_them = examine(AwsBackend(home, FakeAws("123456789012")).deployed, account=True)
    of_emulator = examine(AwsBackend(home, FakeAws()).deployed, account=True)

    assert without[-1][:2] == (BEFORE[0], False)
    assert "Unable to locate credentials" in without[-1][2]
    assert with_them[-1][:2] == ("deployment", True)
    assert of_emulator[-1][:2] == (BEFORE[2], False)


def test_wrong_region_is_a_finding_and_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "mars")
    monkeypatch.delenv("TF_VAR_aws_region", raising=False)
    aws = FakeAws("123456789012")

    found = examine(AwsBackend(Home(Path("/nowhere")), aws).deployed, account=True)

    assert ("environment", False) in [each[:2] for each in found]
    assert BEFORE[0] not in [each[0] for each in found]
    assert aws.calls == []


def test_account_needs_passwords_and_no_emulator_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("pkg.devkit.cloud.terraform.SOURCE", tmp_path)
    passwords = {"TF_VAR_db_password": "a", "TF_VAR_nats_password": "b"}

    bare = {name: well for name, well, _ in needs(account=True, environment={})}
    mixed = needs(account=True, environment={"AWS_ENDPOINT_URL": "http://localhost:4566"})
    given = {name: well for name, well, _ in needs(account=True, environment=passwords)}

    assert (bare[BEFORE[1]], given[BEFORE[1]]) == (False, True)
    assert (BEFORE[3], False) in [(name, well) for name, well, _ in mixed]
