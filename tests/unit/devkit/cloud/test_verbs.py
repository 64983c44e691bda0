"""The verbs' own words about where they act."""

import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from pkg.devkit.__main__ import app
from pkg.devkit.errors import BadArgument

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BIDKIT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize("verb", ["deploy", "destroy"])
def test_account_has_to_be_named(verb: str) -> None:
    ran = CliRunner().invoke(app, [verb])

    assert ran.exit_code == 2
    assert "--on" in ran.output


@pytest.mark.parametrize("on", ["cloud", "process"])
def test_only_an_account_is_deployed_to(on: str) -> None:
    assert CliRunner().invoke(app, ["deploy", "--on", on]).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["up", "--on", "aws"], "bidkit deploy --on aws"),
        (["down", "--on", "aws"], "bidkit destroy --on aws"),
        (["fault", "list", "--on", "cloud"], "faults are made on process and on compose"),
        (["fault", "run", "--all", "--on", "aws"], "not on aws"),
    ],
)
def test_verb_that_is_not_for_this_backend_says_so(
    arguments: list[str], sentence: str, home: Path
) -> None:
    ran = CliRunner().invoke(app, arguments)

    assert isinstance(ran.exception, BadArgument)
    assert sentence in str(ran.exception)
    assert not home.exists()


def test_operations_tells_of_every_verb_that_is_different_in_the_cloud() -> None:
    operations = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    section = operations.partition("\n## bidkit in the cloud\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    named = {words.split()[0] for row in rows for words in re.findall(r"`([^`]+)`", row)}
    named -= {"--on"}

    assert named <= set(typer.main.get_group(app).commands)
    assert named >= {"up", "down", "deploy", "destroy", "doctor", "scale", "restart", "logs"}
