"""bidkit on the emulated AWS, from nothing to nothing, as a person would use it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pkg.devkit.cloud.emulator import remaining
from pkg.devkit.cloud.state_dir import StateDir
from pkg.devkit.docker_cli import ask
from tests.integration.cloud.emulated import ROOT

pytestmark = pytest.mark.timeout(2400)  # builds five images, applies and destroys

_NOTHING: dict[str, list[str]] = {"container": [], "volume": [], "network": []}
_ENDS_WITHIN_S = 1500.0


@dataclass(frozen=True, slots=True)
class Bidkit:
    home: Path

    @property
    def emulator(self) -> str:
        return StateDir(self.home, "cloud").emulator_name

    def run(self, *arguments: str, code: int = 0, **environment: str) -> str:
        """Its output; fails if it ends with another code."""
        ran = subprocess.run(
            self.command(*arguments),
            env=self.environment | environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_ENDS_WITHIN_S,
            check=False,
        )
        assert ran.returncode == code, ran.stdout
        return ran.stdout

    def output(self, *arguments: str) -> str:
        """What programs read: without standard error."""
        return subprocess.run(
            self.command(*arguments),
            env=self.environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            timeout=_ENDS_WITHIN_S,
            check=True,
        ).stdout

    def command(self, *arguments: str) -> tuple[str, ...]:
        return (sys.executable, "-P", "-m", "pkg.devkit", *arguments)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "BIDKIT_HOME": str(self.home), "PYTHONPATH": str(ROOT)}

    def get(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("get", "-o", "json"))
        return found

    def replicas(self, service: str) -> list[str]:
        """Names of those that are ready."""
        (found,) = [one for one in self.get()["services"] if one["service"] == service]
        return sorted(one["name"] for one in found["replicas"] if one["ready"])


@contextmanager
def watching(bidkit: Bidkit, item: str) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        bidkit.command("watch", item, "-o", "json"),
        env=bidkit.environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)


@pytest.fixture
def bidkit(tmp_path: Path) -> Iterator[Bidkit]:
    bidkit = Bidkit(tmp_path / "home")
    try:
        yield bidkit
    finally:
        bidkit.run("down", "--on", "cloud")


def test_system_goes_from_nothing_to_nothing(
    bidkit: Bidkit,
    record_testsuite_property: Any,  # noqa: ANN401
) -> None:
    said = bidkit.run("up", "-d", "--on", "cloud", AWS_PROFILE="of-somebody", AWS_REGION="x")
    print(said)  # noqa: T201 - progress is worth reading when a later step fails
    record_testsuite_property("bidkit_up", said.splitlines()[-12:])

    assert "AWS_PROFILE is ignored" in said
    assert "smoke test: a viewer saw a bid" in said
    assert "terraform apply: " in said
    published = [
        line
        for each in remaining(bidkit.emulator)["container"]
        for line in ask("port", each).splitlines()
    ]
    assert published
    assert [line for line in published if "-> 127.0.0.1:" not in line] == []
    volumes = _volumes(remaining(bidkit.emulator)["container"])

    with watching(bidkit, "lamp") as viewer:
        assert viewer.stdout is not None
        assert json.loads(viewer.stdout.readline())["type"] == "connected"
        assert "lamp: 125.50, seq 1" in bidkit.run("bid", "lamp", "125.50", "--user", "ann")
        assert json.loads(viewer.stdout.readline())["user_id"] == "ann"
    assert "Bid too low" in bidkit.run("bid", "lamp", "1", "--user", "bob", code=4)

    status = bidkit.get()
    assert status["backend"] == "cloud"
    assert status["api_url"].startswith("http://localhost:")
    assert [one["service"] for one in status["services"] if one["ready"] != one["desired"]] == []
    assert "BID_STRATEGY=lua" in bidkit.run("describe", "api-gateway")
    assert "archival-worker-" in bidkit.run("logs", "archival-worker", "-n", "5")

    bidkit.run("scale", "api-gateway=3")
    before = bidkit.replicas("api-gateway")
    assert len(before) == 3
    assert "scales itself between 2 and 4" in bidkit.run("scale", "api-gateway=5", code=2)

    bidkit.run("restart", "api-gateway")
    assert set(bidkit.replicas("api-gateway")).isdisjoint(before)

    audit = json.loads(bidkit.output("audit", "--json"))
    assert audit["ok"] is True

    findings = json.loads(bidkit.run("doctor", "--on", "cloud", "-o", "json"))
    assert [one for one in findings if not one["well"]] == []
    assert "already running" in bidkit.run("up", "-d", "--on", "cloud")
    endpoint = f"http://127.0.0.1:{StateDir(bidkit.home, 'cloud').applied()[0].port}"
    refused = bidkit.run("deploy", "--on", "aws", code=2, AWS_ENDPOINT_URL=endpoint)
    assert "AWS_ENDPOINT_URL in your environment means an emulator" in refused

    said = bidkit.run("down")

    assert "terraform destroy: " in said
    assert "goes with the emulator" not in said
    assert remaining(bidkit.emulator) == _NOTHING
    assert volumes & set(ask("volume", "ls", "-q").split()) == set()
    assert "nothing is deployed" in bidkit.run("get", code=3)


def _volumes(containers: list[str]) -> set[str]:
    """Also those without a label: the stores' images make some."""
    mounted = '{{range .Mounts}}{{if eq .Type "volume"}}{{.Name}} {{end}}{{end}}'
    return set(ask("inspect", "-f", mounted, *containers).split())
