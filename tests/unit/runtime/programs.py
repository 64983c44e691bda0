"""Small programs run by a Python of their own, as services are."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def run(
    *arguments: str, env: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Runs ``python ARGUMENTS`` to its end, with these variables and no others."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=dict(env or {}),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
