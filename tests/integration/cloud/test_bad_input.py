"""Bad input is answered by one clear sentence, and AWS is not called.

`bidkit`'s own decisions are in tests/unit/devkit/cloud; here Terraform and the docker command run.
"""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs

import pytest

from pkg.devkit.cloud import terraform
from pkg.devkit.docker_cli import ask
from pkg.trials.waiting import until
from tests.integration.cloud.conftest import SHORTENED
from tests.integration.cloud.emulated import IMAGE, ROOT, Emulated, emulated

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(not shutil.which("terraform"), reason="needs terraform"),
]

SECRETS = {"db_password": "k7Qm2vT9xLr4Wdpk7Qm", "nats_password": "n3h8Zp5sYc1Fbn3h8Zp"}
OF_EMULATOR = {"emulated": "true", "registry": "localhost:4566"}
ACCOUNT = "123456789012"
_WITHIN_S = 200.0


class Aws(HTTPServer):
    """Answers as STS of an account, and notes all that it is asked."""

    def __init__(self, account: str) -> None:
        self.account = account
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answer(BaseHTTPRequestHandler):
    server: Aws

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        action = parse_qs(body).get("Action", [self.headers.get("X-Amz-Target", "?")])[0]
        self.server.asked.append(action)
        answer = (
            "<GetCallerIdentityResponse><GetCallerIdentityResult>"
            f"<Arn>arn:aws:iam::{self.server.account}:user/ann</Arn><UserId>A</UserId>"
            f"<Account>{self.server.account}</Account>"
            "</GetCallerIdentityResult></GetCallerIdentityResponse>"
        ).encode()
        self.send_response(200 if action == "GetCallerIdentity" else 400)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """pytest shows what matters."""


@contextmanager
def answering(account: str) -> Iterator[Aws]:
    with Aws(account) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(10)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration, initialised. Nothing is applied."""
    folder = tmp_path_factory.mktemp("bad") / "terraform"
    terraform.copy(folder)
    ran = subprocess.run(
        ("terraform", "init", "-input=false"),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_WITHIN_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return folder


def environment(endpoint: str, variables: dict[str, str]) -> dict[str, str]:
    kept = {
        name: text for name, text in os.environ.items() if not name.startswith(("AWS_", "TF_VAR"))
    }
    return {
        **kept,
        **{f"TF_VAR_{name}": text for name, text in variables.items()},
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1,localhost",
        "TF_IN_AUTOMATION": "1",
    }


def refusal(folder: Path, endpoint: str, variables: dict[str, str]) -> str:
    """What a plan that fails says, in one line."""
    ran = subprocess.run(
        ("terraform", "plan", "-input=false", "-no-color", "-var-file=dev.tfvars"),
        cwd=folder,
        env=environment(endpoint, variables),
        capture_output=True,
        text=True,
        timeout=_WITHIN_S,
        check=False,
    )
    assert ran.returncode == 1, ran.stdout
    return re.sub(r"[\s│╷╵]+", " ", ran.stderr)


@pytest.mark.parametrize("missing", list(SECRETS))
def test_missing_password_is_named_before_aws_is_called(folder: Path, missing: str) -> None:
    variables = {name: text for name, text in SECRETS.items() if name != missing}

    with answering("000000000000") as aws:
        said = refusal(folder, aws.url, {**OF_EMULATOR, **variables})

    assert f'The root module input variable "{missing}" is not set' in said
    assert aws.asked == []


def test_region_that_aws_does_not_have_is_refused_before_it_is_called(folder: Path) -> None:
    with answering("000000000000") as aws:
        said = refusal(folder, aws.url, {**SECRETS, **OF_EMULATOR, "aws_region": "us-east-9"})

    assert "invalid AWS Region: us-east-9" in said
    assert aws.asked == []


@pytest.mark.parametrize(("account", "variables"), [(ACCOUNT, OF_EMULATOR), ("000000000000", {})])
def test_emulator_and_account_cannot_be_taken_for_each_other(
    folder: Path, account: str, variables: dict[str, str]
) -> None:
    with answering(account) as aws:
        said = refusal(folder, aws.url, {**SECRETS, **variables})

    assert f"AWS account ID not allowed: {account}" in said
    assert "GetCallerIdentity" in aws.asked
    assert set(aws.asked) <= {"GetCallerIdentity", "GetUser", "ListRoles"}, "more than who it is"


def test_without_an_engine_bidkit_says_so_and_begins_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    ran = subprocess.run(
        (sys.executable, "-P", "-m", "pkg.devkit", "up", "-d", "--on", "cloud"),
        cwd=ROOT,
        env={
            **os.environ,
            "BIDKIT_HOME": str(home),
            "PYTHONPATH": str(ROOT),
            "DOCKER_HOST": f"unix://{tmp_path}/nothing.sock",
        },
        capture_output=True,
        text=True,
        timeout=_WITHIN_S,
        check=False,
    )

    said = " ".join(ran.stderr.split())
    assert ran.returncode == 6, said
    assert "no Docker engine answers" in said
    assert "Traceback" not in said
    assert not (home / "cloud" / "system.json").exists()


@pytest.fixture(scope="module")
def own(image: None) -> Iterator[Emulated]:
    """One that may be killed."""
    with emulated(SHORTENED) as running:
        yield running


def test_port_that_is_taken_is_named_by_docker(own: Emulated) -> None:
    """By hand; bidkit chooses a free one."""
    name = f"{own.name}-second"
    command = ("docker", "run", "-d", "--name", name, "-p", f"127.0.0.1:{own.port}:4566", IMAGE)
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    ask("rm", "-f", name)

    assert ran.returncode != 0
    assert re.search(rf"{own.port}.* already ", ran.stderr)


def test_apply_whose_emulator_was_killed_is_completed_by_another_one(
    own: Emulated, folder: Path, tmp_path: Path
) -> None:
    """The new emulator knows nothing, so what the state lists is made again."""
    here = shutil.copytree(folder, tmp_path / "terraform", symlinks=True)
    given = environment(own.url, {**SECRETS, **OF_EMULATOR, "registry": own.registry})

    with applying(here, given) as (lines, first):
        for line in lines:
            if line.startswith("aws_secretsmanager_secret_version.db: Creation complete"):
                break
        # The VPC takes ten seconds.
        ask("kill", own.name)
        said = " ".join(lines)
    assert first.wait(_WITHIN_S) == 1
    assert "connection refused" in said
    ask("start", own.name)
    asyncio.run(until(own.answers, within_s=60, log=own.log))
    with applying(here, given) as (lines, second):
        said = " ".join(lines)

    assert second.wait(_WITHIN_S) == 0, said
    ours = [{"Name": "tag:Project", "Values": ["bidding-system"]}]
    found = own.client("ec2").describe_subnets(Filters=ours)
    assert len(found["Subnets"]) == 2
    secrets = own.client("secretsmanager").list_secrets()["SecretList"]
    assert [one["Name"] for one in secrets] == ["bidding-system/db-password"]


@contextmanager
def applying(
    folder: Path, given: dict[str, str]
) -> Iterator[tuple[Iterator[str], "subprocess.Popen[str]"]]:
    """What it prints, and the process: an apply of a few resources that are made quickly."""
    with subprocess.Popen(
        (
            *("terraform", "apply", "-auto-approve", "-input=false", "-no-color"),
            *("-var-file=dev.tfvars", "-target=aws_subnet.private"),
            "-target=aws_secretsmanager_secret_version.db",
        ),
        cwd=folder,
        env=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield iter(process.stdout), process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
