import re
from pathlib import Path

import pytest

from pkg.devkit.compose.place import Place
from pkg.devkit.errors import BidkitError
from pkg.devkit.settings import PROJECT


def test_the_checkouts_own_home_has_the_compose_files_own_name() -> None:
    assert Place(PROJECT / ".bidkit").project == "bidding-system"


def test_homes_elsewhere_have_names_of_their_own(tmp_path: Path) -> None:
    one, other = Place(tmp_path / "one").project, Place(tmp_path / "other").project

    assert one == Place(tmp_path / "one").project != other
    assert re.fullmatch(r"bidding-[0-9a-f]{8}", one)


def test_a_lock_that_another_holds_is_waited_for_only_so_long(tmp_path: Path) -> None:
    place = Place(tmp_path)

    with (
        place.lock(within_s=1, busy="too busy"),
        pytest.raises(BidkitError, match="too busy"),
        place.lock(within_s=0, busy="too busy"),
    ):
        pass

    with place.lock(within_s=0, busy="too busy"):
        pass
