"""The commands of terraform/README.md, run one block after the other as a person would.

They differ from the text by the emulator's port and by what `INSTEAD` shows.
"""

import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.cloud.emulated import ROOT

_PYTHON = shlex.quote(sys.executable)
_GREETING = shlex.quote(str(Path(__file__).with_name("greeting.py")))

TEXT = (ROOT / "terraform" / "README.md").read_text()

INSTEAD = {
    # Version 1 of the command line has no `logs tail`, and `--follow` would not end.
    r"aws logs tail (\S+)( --since 5m| --follow)": (
        r"aws logs filter-log-events --log-group-name \1 "
        "--query 'events[-20:].message' --output text"
    ),
    # The example is interactive.
    r"python -m websockets (.*?)  +#.*": rf"{_PYTHON} {_GREETING} \1",
}
"""By pattern: what is run in its place, and why."""

LEFT_OUT = {
    'export TF_VAR_redis_auth_token="$(aws': "only prod's Redis has a token",
    'psql "postgresql://': "only a host in the VPC reaches PostgreSQL",
    "aws elasticache modify-replication-group": "only prod's Redis has a token",
    "terraform apply -var-file=prod.tfvars": "only prod is protected",
    "aws rds modify-db-instance": "only prod is protected",
}
"""By how a block begins: why it is not run for dev."""

ROTATION = 'export TF_VAR_db_password="$(openssl'
"""How the first block begins that changes the running system."""

AUDIT = "TASK=$(aws ecs run-task"
AUDITED = "0\n"
"""The exit code; then come its last lines."""

_WITHIN_S = 900.0
_SHOWN = 6000

# Terraform asks before it applies and destroys. A block that fails ends the loop.
_LOOP = 'while IFS= read -r part; do . "$part" <<<yes >"$part.out" 2>&1; echo done; done'


def blocks() -> list[str]:
    return re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)


def left_out(block: str) -> bool:
    return any(block.startswith(begin) for begin in LEFT_OUT)


@dataclass(slots=True)
class Guide:
    """One shell for all blocks, which keeps its folder and its variables."""

    shell: "subprocess.Popen[str]"
    scratch: Path
    port: int
    said: dict[str, str] = field(default_factory=dict)
    """What each block printed, by its text."""
    took_s: dict[str, float] = field(default_factory=dict)

    def block(self, begin: str) -> str:
        """What the block printed that begins so."""
        return self.said[_beginning(begin)]

    def seconds(self, begin: str) -> int:
        return round(self.took_s[_beginning(begin)])

    def to_the_running_system(self) -> None:
        for block in blocks()[: blocks().index(_beginning(ROTATION))]:
            self.follow(block)

    def rotation(self) -> None:
        self.follow(_beginning(ROTATION))

    def clean_up(self) -> None:
        for block in blocks()[blocks().index(_beginning(ROTATION)) + 1 :]:
            self.follow(block)

    def follow(self, block: str) -> str:
        if left_out(block):
            return ""
        text = block
        for pattern, instead in INSTEAD.items():
            text = re.sub(pattern, instead, text)
        began = time.monotonic()
        self.said[block] = self.run(text.replace("localhost:4566", f"localhost:{self.port}"))
        self.took_s[block] = time.monotonic() - began
        return self.said[block]

    def audit(self) -> str:
        """The guide's audit, once more. It begins with AUDITED if all is well."""
        return self.follow(_beginning(AUDIT))

    def run(self, script: str) -> str:
        """What the script prints in this shell; fails if one of its commands does."""
        part = self.scratch / f"{len(list(self.scratch.glob('*.sh'))):03d}.sh"
        part.write_text(script)
        assert self.shell.stdin is not None
        assert self.shell.stdout is not None
        assert self.shell.poll() is None, "an earlier command has failed"
        self.shell.stdin.write(f"{part}\n")
        self.shell.stdin.flush()
        ready, _, _ = select.select([self.shell.stdout], [], [], _WITHIN_S)
        if not ready:
            os.killpg(self.shell.pid, signal.SIGKILL)
        ended_well = bool(ready) and self.shell.stdout.readline() == "done\n"
        printed = part.with_name(f"{part.name}.out").read_text()
        assert ended_well, f"{script}\n--- printed ---\n{printed[-_SHOWN:]}"
        return printed


def _beginning(begin: str) -> str:
    (found,) = [block for block in blocks() if block.startswith(begin)]
    return found


@contextmanager
def opened(
    folder: Path, scratch: Path, *, port: int, environment: Mapping[str, str]
) -> Iterator[Guide]:
    """At the beginning, in a checkout's folder."""
    with subprocess.Popen(
        ("bash", "-eo", "pipefail", "-c", _LOOP),
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as shell:
        try:
            yield Guide(shell, scratch, port)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)


def checkout(folder: Path) -> Path:
    """This checkout's files in a repository of their own, without those that git ignores."""
    listed = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, os.fsdecode(names).split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    commit = ("-c", "user.name=x", "-c", "user.email=x@x.test", "commit", "-q", "--allow-empty")
    # Always the same commit, so that images made for it are not made again.
    dated = {f"GIT_{who}_DATE": "2000-01-01T00:00:00Z" for who in ("AUTHOR", "COMMITTER")}
    for git in (("init", "-q"), (*commit, "-m", "x")):
        subprocess.run(
            ("git", *git), cwd=folder, env={**os.environ, **dated}, check=True, timeout=60
        )
    return folder
