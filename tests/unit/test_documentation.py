"""What documents list is compared with the code."""

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import typer

from pkg.api.bidding.optimistic import RoundCounts
from pkg.api.bidding.prices import PriceCounts
from pkg.api.metrics import GatewayMetrics
from pkg.api.relay.metrics import RelayMetrics
from pkg.api.settings import ApiSettings, RelaySettings
from pkg.archival.announcer import Announcer
from pkg.archival.deliveries import Deliveries
from pkg.archival.metrics import ArchiveMetrics
from pkg.archival.settings import (
    ArchivalSettings,
    AuditSettings,
    RedriveSettings,
    RestoreSettings,
)
from pkg.archival.stops import Stops
from pkg.archival.store import Store
from pkg.broadcast.metrics import Counts
from pkg.broadcast.settings import BroadcastSettings
from pkg.devkit.__main__ import app
from pkg.runtime.settings.parsers import Address

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = (ROOT / "docs/operations.md").read_text(encoding="utf-8")

SETTINGS = {
    "api-gateway": ApiSettings,
    "relay": RelaySettings,
    "broadcast-service": BroadcastSettings,
    "archival-worker": ArchivalSettings,
    "audit": AuditSettings,
    "restore": RestoreSettings,
    "redrive": RedriveSettings,
}


def test_operations_lists_every_setting_with_its_default_and_who_reads_it() -> None:
    readers: dict[tuple[str, str], list[str]] = {}
    for service, settings in SETTINGS.items():
        for field in dataclasses.fields(settings):
            readers.setdefault((field.name.upper(), _default_text(field)), []).append(service)

    listed = {
        (name, default): services.split(", ")
        for name, default, services in _rows("Settings", columns=3)
    }

    assert listed == readers


def test_operations_lists_every_metric_with_its_kind() -> None:
    archive = ArchiveMetrics(
        store=cast("Store", SimpleNamespace(retries=0, up=True)),
        deliveries=cast("Deliveries", SimpleNamespace(lost_acknowledgements=0, in_progress=0)),
        announcer=cast("Announcer", SimpleNamespace(archived_to={})),
        stops=Stops(),
    )
    archive.backlog(0)
    gateway = GatewayMetrics(
        prices=PriceCounts(),
        rounds=RoundCounts(),
        in_flight=lambda: 0,
        connects=lambda: 0,
        redis_refusals={},
    )
    exported = {
        (family.name + ("_total" if family.type == "counter" else ""), family.type)
        for source in (gateway, RelayMetrics(holds_lease=lambda: False), Counts(), archive)
        for family in source.collect()
    }

    assert set(_rows("Metrics", columns=2)) == exported


def test_readme_lists_only_commands_that_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    mentioned = set(re.findall(r"\./bidkit ([a-z]+)", readme))

    assert mentioned <= set(typer.main.get_group(app).commands)


def test_readme_and_guide_list_every_experiment() -> None:
    experiment = typer.main.get_group(app).commands["experiment"]
    names = set(cast("typer.core.TyperGroup", experiment).commands)

    for document in ("README.md", "docs/experiments.md"):
        text = (ROOT / document).read_text(encoding="utf-8")
        (listed,) = re.findall(r"`\./bidkit experiment ([^\n]*?)(?: \||` measures)", text)
        assert set(re.findall(r"[a-z][a-z-]+", listed.replace("--quick", ""))) == names, document


def test_every_decision_record_is_numbered_without_a_gap() -> None:
    numbers = sorted(int(path.name[:4]) for path in (ROOT / "docs/decisions").glob("*.md"))

    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize(
    "document", ["README.md", *sorted(p.name for p in (ROOT / "docs").glob("*.md"))]
)
def test_links_between_documents_lead_somewhere(document: str) -> None:
    path = ROOT / document if (ROOT / document).exists() else ROOT / "docs" / document
    targets = re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8"))

    assert [target for target in targets if not (path.parent / target).exists()] == []


def _default_text(field: "dataclasses.Field[object]") -> str:
    value = field.default
    if value is dataclasses.MISSING:
        return "required"
    if isinstance(value, Address):
        return f"`{value.host or ''}:{value.port}`"
    if value in ("", None, ()):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _rows(heading: str, *, columns: int) -> Iterable[tuple[str, ...]]:
    """The first cells of each row that begins with a name in code, below a heading."""
    section = OPERATIONS.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    for line in section.splitlines():
        if line.startswith("| `"):
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            yield (cells[0].strip("`| "), *cells[1:columns])
