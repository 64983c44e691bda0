"""Terraform, run in a folder; what it does is said as it happens."""

import json
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from pkg.devkit.backend import Say
from pkg.devkit.cloud.command import CommandFailed, Hear, run
from pkg.devkit.cloud.state_dir import Outputs
from pkg.devkit.errors import BidkitError, MissingServer
from pkg.devkit.settings import PROJECT
from pkg.devkit.signals import Check, no_check

SOURCE = PROJECT / "terraform"
PLAN = "tfplan"
PASSWORDS = ("TF_VAR_db_password", "TF_VAR_nats_password")
"""Variables that have no default and no value in the files for dev and prod."""

_KEPT = shutil.ignore_patterns(".terraform*", "*.tfstate*", "terraform.tfvars", "tests", PLAN)
_READ_BY_ITSELF = ("terraform.tfvars", "terraform.tfvars.json", "*.auto.tfvars*")
_SAY_EVERY_S = 15.0
_ENDS_WITHIN_S = 240.0
"""After an interrupt: it finishes what it has begun, so that the state knows of it."""

_PROGRAM = "terraform"
_LONGEST_REPORT = 3


class TerraformFailed(BidkitError):  # noqa: N818 - see errors.py
    """Terraform ended with errors. What it had done by then is in its state."""


def copy(folder: Path) -> None:
    """The checkout's configuration as it is now; keeps the state that is in the folder."""
    if folder.exists():
        for path in folder.iterdir():
            if path.is_dir() and path.name != ".terraform":
                shutil.rmtree(path)
            elif path.is_file() and ".tfstate" not in path.name and path.name[0] != ".":
                path.unlink()
    shutil.copytree(SOURCE, folder, ignore=_KEPT, dirs_exist_ok=True)


def forget_state(folder: Path) -> None:
    """For an emulator that is gone: it kept nothing of what the state lists."""
    for path in folder.glob("*.tfstate*"):
        path.unlink()


def missing_passwords(environment: Mapping[str, str]) -> list[str]:
    """Those that neither the environment nor a file that Terraform reads by itself may hold."""
    if any(path for pattern in _READ_BY_ITSELF for path in SOURCE.glob(pattern)):
        return []
    return [name for name in PASSWORDS if not environment.get(name)]


@dataclass(frozen=True, slots=True)
class Terraform:
    folder: Path
    environment: Mapping[str, str]
    var_file: str

    def init(self, *, check: Check) -> None:
        """Raises TerraformFailed."""
        if not shutil.which(_PROGRAM, path=self.environment.get("PATH")):
            raise MissingServer("terraform is not on PATH; install 1.11 or newer.")
        try:
            self._run(("init", "-input=false"), check=check)
        except CommandFailed as error:
            raise TerraformFailed(f"terraform init failed:\n  {error}") from error

    def plan(self, *, check: Check, hear: Hear, destroy: bool = False) -> None:
        """Saves a plan to PLAN. It may hold secrets: delete it. Raises TerraformFailed."""
        arguments = ("plan", "-input=false", f"-var-file={self.var_file}", f"-out={PLAN}")
        try:
            self._run((*arguments, *(("-destroy",) if destroy else ())), check=check, hear=hear)
        except CommandFailed as error:
            raise TerraformFailed(f"terraform plan failed:\n  {error}") from error

    def apply(self, *, say: Say, check: Check, planned: bool = False) -> None:
        """`planned` applies PLAN, for which nothing is asked. Raises TerraformFailed."""
        what = (PLAN,) if planned else (f"-var-file={self.var_file}",)
        self._change("apply", what, say=say, check=check)

    def destroy(self, *, say: Say, check: Check) -> None:
        self._change("destroy", (f"-var-file={self.var_file}",), say=say, check=check)

    def outputs(self) -> Outputs:
        """Raises TerraformFailed before everything has been applied."""
        try:
            text = self._run(("output", "-json"), check=no_check)
            values = {name: one["value"] for name, one in json.loads(text).items()}
            return msgspec.convert(values, Outputs)
        except (CommandFailed, ValueError) as error:
            raise TerraformFailed(f"terraform has no usable outputs: {error}.") from error

    def resources(self) -> list[str]:
        """Addresses in the state; none if there is no state."""
        try:
            return self._run(("state", "list"), check=no_check).splitlines()
        except CommandFailed:
            return []

    def _change(self, verb: str, what: Sequence[str], *, say: Say, check: Check) -> None:
        report = Report(verb, say)
        arguments = (verb, "-json", "-auto-approve", "-input=false", *what)
        try:
            self._run(arguments, check=check, hear=report.hear)
        except CommandFailed as error:
            reasons = "\n  ".join(report.errors[:_LONGEST_REPORT]) or str(error)
            more = len(report.errors) - _LONGEST_REPORT
            rest = f"\n  and {more} more" if more > 0 else ""
            raise TerraformFailed(f"terraform {verb} failed:\n  {reasons}{rest}") from error

    def _run(self, arguments: Sequence[str], *, check: Check, hear: Hear | None = None) -> str:
        return run(
            (_PROGRAM, *arguments),
            environment={**self.environment, "TF_IN_AUTOMATION": "1", "NO_COLOR": "1"},
            folder=self.folder,
            check=check,
            hear=hear,
            stop=signal.SIGINT,
            ends_within_s=_ENDS_WITHIN_S,
        )


@dataclass(slots=True)
class Report:
    """Reads `terraform apply -json`; says every now and then how far it is."""

    verb: str
    say: Say
    errors: list[str] = field(default_factory=list)
    _planned: int = 0
    _done: int = 0
    _busy: dict[str, float] = field(default_factory=dict)
    _said: float = field(default_factory=time.monotonic)

    def hear(self, line: str) -> None:
        try:
            message: dict[str, Any] = json.loads(line)
            kind = message["type"]
        except (ValueError, KeyError, TypeError):
            return
        now = time.monotonic()
        hook = message.get("hook", {})
        address = hook.get("resource", {}).get("addr", "")
        if hook.get("action") == "read":
            return
        match kind:
            case "change_summary" if message["changes"]["operation"] == "plan":
                counts = message["changes"]
                self._planned = counts["add"] + counts["change"] + counts["remove"]
                self.say(f"terraform {self.verb}: {self._planned} changes to make")
            case "apply_start":
                self._busy[address] = now
            case "apply_complete":
                self._busy.pop(address, None)
                self._done += 1
            case "apply_errored":
                self._busy.pop(address, None)
            case "diagnostic" if message.get("@level") == "error":
                about = message["diagnostic"]
                where = f"{about['address']}: " if about.get("address") else ""
                detail = " ".join(about.get("detail", "").split())
                self.errors.append(f"{where}{about['summary']}{f': {detail}' if detail else ''}")
        if now - self._said >= _SAY_EVERY_S:
            self._said = now
            self.say(self._progress(now))

    def _progress(self, now: float) -> str:
        if not self._planned:
            return f"terraform {self.verb}: planning"
        done = f"terraform {self.verb}: {self._done} of {self._planned} done"
        if not self._busy:
            return done
        slowest = min(self._busy, key=lambda address: self._busy[address])
        return f"{done}, waiting for {slowest} ({now - self._busy[slowest]:.0f} s)"
