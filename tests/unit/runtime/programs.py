"""Runs small programs in a Python process of their own, like services."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def run(
    *arguments: str, env: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Runs ``python ARGUMENTS`` to its end, with only the variables of ``env``."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=dict(env or {}),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
