"""bidkit on an output that fails."""

import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")
ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has /dev/full")
def test_full_disk_is_reported_in_one_sentence() -> None:
    with FULL.open("w") as full:
        ran = subprocess.run(
            (sys.executable, "-m", "pkg.devkit", "fault", "list"),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            check=False,
        )

    assert ran.returncode == 1
    assert ran.stderr.startswith("bidkit: no space is left for what was to be written; ")
    assert len(ran.stderr.splitlines()) == 1
