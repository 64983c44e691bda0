"""prod and dev can be planned against the emulator, and are what its guide says."""

import shutil
from pathlib import Path

import pytest

from localstack.probes.applied import deployment, planned
from localstack.probes.document import COMMAND, rows
from tests.integration.cloud.emulated import Emulated

pytestmark = [
    pytest.mark.timeout(1000),  # builds the image
    pytest.mark.skipif(not shutil.which("terraform"), reason="needs terraform"),
]


def test_tables_count_the_resources_of_both_sizes(emulator: Emulated, tmp_path: Path) -> None:
    fresh = deployment(emulator, tmp_path / "terraform")

    dev, _ = planned(fresh, "dev.tfvars")
    prod, created = planned(fresh, "prod.tfvars")

    assert created == prod, "nothing is applied yet, so all is to be created"
    listed = {row[0].strip("`"): (int(row[1]), int(row[2])) for row in rows("Resources")}
    assert listed == {kind: (dev[kind], prod[kind]) for kind in listed}, f"run {COMMAND}"
    assert set(listed) >= {*dev, *prod}
