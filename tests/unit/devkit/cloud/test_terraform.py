"""What is said of a running `terraform`, and what is kept of its folder."""

import json
import os
from pathlib import Path

import pytest

from pkg.devkit.cloud import terraform
from pkg.devkit.cloud.command import CommandFailed, run
from pkg.devkit.cloud.terraform import Report, Terraform, TerraformFailed
from pkg.devkit.errors import MissingServer
from pkg.devkit.signals import no_check
from tests.unit.devkit.cloud.fake_aws import quiet


def line(kind: str, **more: object) -> str:
    return json.dumps({"type": kind, **more})


def of(address: str) -> dict[str, object]:
    return {"hook": {"resource": {"addr": address}}}


SUMMARY = line("change_summary", changes={"operation": "plan", "add": 3, "change": 1, "remove": 0})
ERROR = line(
    "diagnostic",
    **{
        "@level": "error",
        "diagnostic": {
            "summary": "Invalid value",
            "detail": "the  password\nis short",
            "address": "aws_db_instance.this",
        },
    },
)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(terraform, "_SAY_EVERY_S", 0.0)
    return []


def test_progress_tells_how_much_is_done_and_what_takes_longest(said: list[str]) -> None:
    report = Report("apply", said.append)

    report.hear(SUMMARY)
    report.hear(line("apply_start", **of("aws_db_instance.this")))
    report.hear(line("apply_start", **of("aws_vpc.this")))
    report.hear(line("apply_complete", **of("aws_vpc.this")))

    assert said[0] == "terraform apply: 4 changes to make"
    assert said[-1] == "terraform apply: 1 of 4 done, waiting for aws_db_instance.this (0 s)"


def test_before_the_plan_is_made_it_says_so(said: list[str]) -> None:
    report = Report("apply", said.append)

    report.hear(line("apply_start", hook={"action": "read", "resource": {"addr": "data.a"}}))
    report.hear(line("version"))

    assert said == ["terraform apply: planning"]


def test_lines_that_are_no_messages_are_left_out(said: list[str]) -> None:
    report = Report("apply", said.append)

    for text in ("", "not json", "[]", "{}", '"text"'):
        report.hear(text)

    assert said == []


def fake(tmp_path: Path, script: str) -> Terraform:
    program = tmp_path / "bin/terraform"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    environment = {"PATH": f"{program.parent}:{os.environ['PATH']}"}
    return Terraform(tmp_path, environment, "dev.tfvars")


def test_errors_of_an_apply_are_shown_in_one_line_each(tmp_path: Path) -> None:
    failing = fake(tmp_path, f"echo '{ERROR}'; exit 1".replace("\\n", "\\\\n"))

    with pytest.raises(TerraformFailed) as failed:
        failing.apply(say=quiet, check=no_check)

    assert str(failed.value) == (
        "terraform apply failed:\n  aws_db_instance.this: Invalid value: the password is short"
    )


def test_apply_names_its_variables_and_asks_nothing(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    applying = fake(tmp_path, f'echo "$*" >>{calls}')

    applying.apply(say=quiet, check=no_check)
    applying.apply(say=quiet, check=no_check, planned=True)
    applying.destroy(say=quiet, check=no_check)

    common = "-json -auto-approve -input=false"
    assert calls.read_text().splitlines() == [
        f"apply {common} -var-file=dev.tfvars",
        f"apply {common} tfplan",
        f"destroy {common} -var-file=dev.tfvars",
    ]


def test_missing_terraform_is_said_in_a_sentence(tmp_path: Path) -> None:
    missing = Terraform(tmp_path, {"PATH": str(tmp_path)}, "dev.tfvars")

    with pytest.raises(MissingServer, match=r"terraform is not on PATH; install 1\.11 or newer"):
        missing.init(check=no_check)


def test_outputs_before_an_apply_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(TerraformFailed, match="no usable outputs"):
        fake(tmp_path, "echo '{}'").outputs()


def test_interrupted_terraform_may_finish_what_it_has_begun(tmp_path: Path) -> None:
    begun, done = tmp_path / "begun", tmp_path / "done"
    applying = fake(
        tmp_path,
        f'trap "echo saved >{done}; exit 1" INT; : >{begun}; while :; do sleep 0.05; done',
    )

    def interrupt() -> None:
        if begun.exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        applying.apply(say=quiet, check=interrupt)

    assert done.read_text() == "saved\n"


def test_command_that_fails_shows_its_last_lines(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed) as failed:
        run(
            ("sh", "-c", "seq 1 100; echo last >&2; exit 3"),
            environment=os.environ,
            folder=tmp_path,
        )

    assert failed.value.lines[-2:] == ["100", "last"]
    assert len(failed.value.lines) == 12


def test_copy_follows_the_checkout_and_keeps_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, folder = tmp_path / "source", tmp_path / "copy"
    (source / "modules/service").mkdir(parents=True)
    for name in (
        "main.tf",
        "old.tf",
        "terraform.tfvars",
        "terraform.tfstate",
        "modules/service/a.tf",
    ):
        (source / name).write_text("")
    monkeypatch.setattr(terraform, "SOURCE", source)

    terraform.copy(folder)
    (folder / "terraform.tfstate").write_text("state")
    (folder / ".terraform").mkdir()
    (source / "old.tf").unlink()
    terraform.copy(folder)

    assert sorted(path.name for path in folder.iterdir()) == [
        ".terraform",
        "main.tf",
        "modules",
        "terraform.tfstate",
    ]
    assert (folder / "terraform.tfstate").read_text() == "state"
    terraform.forget_state(folder)
    assert not (folder / "terraform.tfstate").exists()
