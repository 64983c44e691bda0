"""The tables of localstack/README.md, between two marks."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from localstack.probes.applied import Applied
from localstack.probes.paths import PATHS
from localstack.probes.prod import AFTERWARDS, PROPERTIES
from localstack.probes.resources import RESOURCES
from localstack.probes.row import Evidence

README = Path(__file__).resolve().parents[1] / "README.md"
COMMAND = "python -m localstack.probes --write"

_BEGIN, _END = "<!-- probes: begin -->", "<!-- probes: end -->"
_SECTION = re.compile(rf"(?<={_BEGIN}\n).*?(?={_END})", re.DOTALL)


def section() -> str:
    found = _SECTION.search(README.read_text("utf-8"))
    return found[0] if found else ""


def write(text: str) -> None:
    README.write_text(_SECTION.sub(lambda _: f"\n{text}\n", README.read_text("utf-8")), "utf-8")


def text(on: Applied, found: Mapping[str, str], *, head: str) -> str:
    """`found` holds what each probe of a prod property found, by its name."""
    resources = (
        (f"`{kind}`", str(on.dev[kind]), str(on.prod[kind]), _plan(on, kind), row.how, row.says,
         _proof(row.evidence))
        for kind, row in sorted(RESOURCES.items())
    )  # fmt: skip
    paths = ((name, row.how, row.says, _proof(row.evidence)) for name, row in PATHS.items())
    properties = (
        (f"`{name}`", one.how, found[name], _proof(one.evidence))
        for name, one in {**PROPERTIES, **AFTERWARDS}.items()
    )
    return "\n\n".join(
        (
            head,
            "### Resources",
            _table(
                ("type", "dev", "prod", "second plan of prod", "how", "here", "checked by"),
                resources,
            ),
            "### Ways of data",
            _table(("way", "how", "here", "checked by"), paths),
            "### What prod has and dev has not",
            _table(("variable", "how", "the probe found", "checked by"), properties),
        )
    )


def rows(title: str, *, text: str | None = None) -> list[list[str]]:
    """Cells of a table of the section."""
    part = (
        (section() if text is None else text).partition(f"### {title}\n")[2].partition("\n###")[0]
    )
    lines = [line for line in part.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines[2:]]


def _plan(on: Applied, kind: str) -> str:
    if not on.prod[kind]:
        return "-"
    return f"changes {on.changed[kind]}" if on.changed[kind] else "no change"


def _proof(evidence: Iterable[Evidence]) -> str:
    by_file: dict[str, list[str]] = {}
    for one in evidence:
        by_file.setdefault(one.file, []).append(one.text)
    return "; ".join(
        f"[{Path(file).name}](../{file}): {', '.join(_named(text) for text in texts)}"
        for file, texts in by_file.items()
    )


def _named(text: str) -> str:
    return f"`{text}`" if text.startswith("test_") else f'"{text.removesuffix(".")}"'


def _table(heads: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    heads = tuple(heads)
    numbers = {"dev", "prod"}
    rule = tuple("---:" if head in numbers else "---" for head in heads)
    return "\n".join(f"| {' | '.join(line)} |" for line in (heads, rule, *lines))
