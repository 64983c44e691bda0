from pathlib import Path

import pytest

from pkg.devkit.errors import BadArgument
from pkg.devkit.settings import DevkitSettings


@pytest.mark.parametrize("below", ["", "home"])
def test_home_that_cannot_be_a_folder_is_refused(
    below: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("BIDKIT_HOME", str(file / below))

    with pytest.raises(BadArgument, match=f"{file} is not a folder"):
        DevkitSettings.read()


def test_home_need_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIDKIT_HOME", str(tmp_path / "new" / "home"))

    assert DevkitSettings.read().home == tmp_path / "new" / "home"
