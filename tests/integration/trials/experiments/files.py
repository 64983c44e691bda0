"""Reads an experiment's raw files."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any


def about(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return found


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    path = folder / name
    with gzip.open(path, "rt") if name.endswith(".gz") else path.open() as file:
        return list(csv.DictReader(file))


def documented(document: str, name: str) -> list[list[str]]:
    """The columns of each file of this name in docs/experiments.md."""
    return [
        line.split("|")[2].replace("`", "").replace(" ", "").split(",")
        for line in document.splitlines()
        if line.startswith(f"| `{name}`")
    ]
