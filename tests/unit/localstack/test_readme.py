"""The guide of the emulator lists every variable that its code reads."""

import re
from pathlib import Path

from localstack.emulator.containers import VARIABLES

EMULATOR = Path(__file__).resolve().parents[3] / "localstack"

SET_BY_DOCKER = {"HOSTNAME"}
READ_BY_MINISTACK = {"MINISTACK_HOSTNAME"}


def test_settings_are_listed() -> None:
    read = set(VARIABLES.values()) | READ_BY_MINISTACK
    for file in (EMULATOR / "emulator").glob("**/*.py"):
        if file.parent.name != "load_balancer":  # a program of its own, started by the emulator
            read |= set(re.findall(r'environ\.get\("([A-Z_]+)"', file.read_text("utf-8")))
    table = (EMULATOR / "README.md").read_text("utf-8").split("## Settings")[1].split("##")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    listed = {name for row in rows for name in re.findall(r"`([A-Z_]+)`", row)}

    assert listed == read - SET_BY_DOCKER
