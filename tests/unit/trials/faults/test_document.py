"""docs/faults.md keeps the sections of other backends; the table fits the terminal."""

import io

import pytest
from rich.console import Console

from pkg.trials.faults.document import section, with_section
from pkg.trials.faults.report import table
from pkg.trials.faults.row import Result


def test_section_replaces_only_its_own_backend_s() -> None:
    both = with_section(with_section("", "process", "old words"), "compose", "of containers")

    renewed = with_section(both, "process", "new words")

    assert section(renewed, "process") == "new words"
    assert section(renewed, "compose") == "of containers"
    assert "old words" not in renewed


def test_processes_come_before_containers_whichever_ran_first() -> None:
    document = with_section(with_section("", "compose", "of containers"), "process", "words")

    assert document.index("## On processes") < document.index("## In containers")


def test_writing_the_same_section_twice_changes_nothing() -> None:
    once = with_section("", "compose", "of containers")

    assert with_section(once, "compose", "of containers") == once


@pytest.mark.parametrize("width", [80, 120, 174])
def test_table_fits_the_terminal_and_shows_lost_bids(width: int) -> None:
    row = "redis-volume-wiped-and-restored"
    result = Result(row=row, requests=54321, unknown=123, accepted=123456, lost=7, drain_s=123.4)
    file = io.StringIO()

    Console(file=file, width=width).print(table([result], width=width))

    heads, cells = file.getvalue().splitlines()
    assert len(cells) <= width
    assert dict(zip(heads.split(), cells.split(), strict=False))["row"] == row
    assert cells.split()[heads.split().index("lost")] == "7"
