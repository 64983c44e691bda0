import re
from pathlib import Path

import pytest

from pkg.devkit.compose import state_dir
from pkg.devkit.compose.state_dir import StateDir
from pkg.devkit.errors import BidkitError
from pkg.devkit.settings import PROJECT


def test_every_home_has_its_own_project(tmp_path: Path) -> None:
    one, other = StateDir(tmp_path / "one").project, StateDir(tmp_path / "other").project

    assert one == StateDir(tmp_path / "one").project != other
    assert re.fullmatch(r"bidding-[0-9a-f]{8}", one)
    assert StateDir(PROJECT / ".bidkit").project != "bidding-system"  # the name without bidkit


def test_every_checkout_has_its_own_images_for_all_homes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = StateDir(tmp_path / "one").image_tag, StateDir(tmp_path / "other").image_tag
    monkeypatch.setattr(state_dir, "PROJECT", tmp_path)
    elsewhere = StateDir(tmp_path / "one").image_tag

    assert one == other != elsewhere
    assert re.fullmatch(r"checkout-[0-9a-f]{8}", one)


def test_waiting_for_a_lock_times_out(tmp_path: Path) -> None:
    here = StateDir(tmp_path)

    with (
        here.lock(within_s=1, busy="too busy"),
        pytest.raises(BidkitError, match="too busy"),
        here.lock(within_s=0, busy="too busy"),
    ):
        pass

    with here.lock(within_s=0, busy="too busy"):
        pass
