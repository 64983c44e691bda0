"""checkov on dev and prod: every finding has a skip comment with a reason, and no skip is stale."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.terraform.conftest import ENVIRONMENTS, SOURCES

SKIP = re.compile(r"^ *# checkov:skip=(\w+):(.*)\n", re.MULTILINE)
BLOCK = re.compile(r'^(?:resource|data) "(\w+)" "(\w+)" \{\n((?: *#.*\n)*)', re.MULTILINE)


def skips() -> dict[tuple[str, str], str]:
    """The reasons of the skip comments, by check and resource."""
    found = {}
    for path in SOURCES.rglob("*.tf"):
        if ".terraform" in path.parts:
            continue
        for kind, name, comments in BLOCK.findall(path.read_text()):
            for check, reason in SKIP.findall(comments):
                found[check, f"{kind}.{name}"] = reason
    return found


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str]]:
    """What checkov finds without the skip comments."""
    folder = tmp_path_factory.mktemp("checkov") / "terraform"
    shutil.copytree(SOURCES, folder, ignore=shutil.ignore_patterns(".terraform*", "tests"))
    for path in folder.rglob("*.tf"):
        path.write_text(SKIP.sub("", path.read_text()))
    found = set()
    for environment in ENVIRONMENTS:
        ran = subprocess.run(
            [
                *(str(Path(sys.executable).with_name("checkov")), "-d", str(folder)),
                *("--framework", "terraform", "--compact", "--skip-download", "-o", "json"),
                *("--var-file", str(folder / f"{environment}.tfvars")),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        report = json.loads(ran.stdout)
        assert report["summary"]["parsing_errors"] == 0
        assert report["summary"]["passed"] > 200
        for failed in report["results"]["failed_checks"]:
            resource = re.sub(r"\[.*?\]", "", failed["resource"])
            found.add((failed["check_id"], ".".join(resource.split(".")[-2:])))
    return found


@pytest.mark.timeout(240)
def test_every_finding_has_a_skip_and_no_skip_is_stale(
    findings: set[tuple[str, str]],
) -> None:
    assert findings == set(skips())


def test_every_skip_has_a_reason() -> None:
    for reason in skips().values():
        assert len(reason.split()) >= 4
