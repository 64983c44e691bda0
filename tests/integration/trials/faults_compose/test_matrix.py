"""The set of rows, their document, and what an interrupted run leaves behind."""

import asyncio
import itertools
import re
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from pkg.devkit.compose.engine import Engine
from pkg.devkit.compose.state_dir import StateDir
from pkg.devkit.names import SERVICES, STORES
from pkg.trials.faults.containers.rows import CONTROLS, ROWS
from pkg.trials.faults.document import section
from pkg.trials.waiting import until

ROOT = Path(__file__).resolve().parents[4]
BIDKIT = (sys.executable, "-m", "pkg.devkit", "fault")


def test_every_store_and_service_is_killed_paused_and_disconnected() -> None:
    names = {row.name for row in ROWS}

    wanted = itertools.product((*STORES, *SERVICES), ("killed", "paused", "disconnected"))

    assert {f"{part}-container-{fault}" for part, fault in wanted} <= names


def test_names_of_rows_are_unique() -> None:
    names = [row.name for row in (*ROWS, *CONTROLS)]

    assert len(set(names)) == len(names)


def test_only_a_killed_or_wiped_redis_may_lose_bids() -> None:
    may_lose = {row.name: row.forgets_s for row in ROWS if row.may_lose}

    assert may_lose == {"redis-container-killed": 2.0, "redis-volume-wiped-and-restored": 2.0}


def test_document_has_every_row_in_order_and_is_from_a_full_run_that_passed() -> None:
    text = section((ROOT / "docs" / "faults.md").read_text(encoding="utf-8"), "compose")

    listed = re.findall(r"^\| ([a-z-]+) \| \d", text, re.MULTILINE)

    assert listed == [row.name for row in ROWS]
    lines = text.splitlines()
    assert [row.name for row in ROWS if f"- **{row.name}**: {row.expects}" not in lines] == []
    assert "`./bidkit fault run --all --on compose --report docs/faults.md`" in text
    assert "**fails**" not in text
    assert tempfile.gettempdir() not in text


@pytest.mark.timeout(300)
async def test_sigterm_leaves_no_container_volume_network_or_folder(
    tmp_path: Path,
) -> None:
    bench = await asyncio.create_subprocess_exec(
        *("env", f"TMPDIR={tmp_path}", *BIDKIT, "run", "nats-container-paused"),
        *("--on", "compose", "--short"),
        cwd=ROOT,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    await until(lambda: _homes(tmp_path), within_s=30)
    (home,) = _homes(tmp_path)
    project = StateDir(home).project
    await until(
        lambda: len(Engine().containers(project)) > len(STORES) + len(SERVICES), within_s=120
    )
    assert Engine().volumes(project)

    bench.send_signal(signal.SIGTERM)

    assert await asyncio.wait_for(bench.wait(), timeout=120) == 128 + signal.SIGTERM
    left = Engine().containers(project), Engine().volumes(project), Engine().networks(project)
    assert left == ([], [], [])
    assert _homes(tmp_path) == []


def _homes(folder: Path) -> list[Path]:
    return list(folder.glob("bidkit-faults-*"))
