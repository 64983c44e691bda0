"""A document as Markdown, with its plots as files beside it."""

import re
from collections.abc import Iterator

from pkg.trials.report.document import (
    Block,
    Document,
    Heading,
    Plot,
    Points,
    Table,
    Text,
    Warnings,
    pieces,
)

_MEANT = re.compile(r"([\\*_<>\[\]|#~$])")


def render(document: Document) -> str:
    parts = [f"# {_inline(document.title)}"]
    parts += [part for block in document.blocks for part in _block(block)]
    return "\n\n".join(parts) + "\n"


def _block(block: Block) -> Iterator[str]:
    match block:
        case Heading(level=level):
            yield f"{'#' * level} {_inline(block.text)}"
        case Text(text):
            yield _inline(text)
        case Points(items):
            yield "\n".join(f"- {_inline(item)}" for item in items)
        case Warnings(items) if items:
            yield "> **To know first**\n>\n" + "\n".join(f"> - {_inline(item)}" for item in items)
        case Table():
            yield _table(block)
            yield f"Source: {_inline(block.source)}"
        case Plot():
            yield f"**{_inline(block.title)}**"
            yield f"![{_inline(block.shows)}]({block.name}.svg)"
            yield f"Source: {_inline(block.source)}"


def _table(table: Table) -> str:
    rule = ["---" if table.is_words(column) else "---:" for column in range(len(table.heads))]
    lines = [
        [_inline(head) for head in table.heads],
        rule,
        *([_inline(cell) or " " for cell in row] for row in table.rows),
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _inline(text: str) -> str:
    """On one line. Code keeps its characters; a bar in it would still end a table's cell."""
    return "".join(
        f"`{piece.text.replace('|', chr(92) + '|')}`"
        if piece.code
        else _MEANT.sub(r"\\\1", piece.text.replace("\n", " "))
        for piece in pieces(text)
    )
