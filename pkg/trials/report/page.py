"""A document as one HTML page that refers to nothing outside itself."""

import base64
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

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

_STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
# It makes the browser refuse what the page does not hold itself.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
"""


def render(document: Document) -> str:
    opening = _HEAD.format(title=escape(document.title), policy=_POLICY, style=_STYLE)
    headings = [block for block in document.blocks if isinstance(block, Heading)]
    links = "".join(
        f'<li><a href="#{escape(each.anchor)}">{_inline(each.text)}</a></li>'
        for each in headings
        if each.level == 2  # noqa: PLR2004 - as in h2
    )
    blocks = "\n".join(line for block in document.blocks for line in _block(block))
    return f"{opening}<nav><ul>{links}</ul></nav>\n{blocks}\n</main>\n</body>\n</html>\n"


def _block(block: Block) -> Iterator[str]:
    match block:
        case Heading(level=level):
            anchor = escape(block.anchor)
            yield f'<h{level} id="{anchor}">{_inline(block.text)}</h{level}>'
        case Text(text):
            yield f"<p>{_inline(text)}</p>"
        case Points(items):
            yield from _list(items)
        case Warnings(items) if items:
            yield '<div class="warnings" role="note"><p>To know first</p>'
            yield from _list(items)
            yield "</div>"
        case Table():
            yield from _table(block)
        case Plot():
            yield from _plot(block)


def _list(items: Sequence[str]) -> Iterator[str]:
    yield "<ul>"
    for item in items:
        yield f"<li>{_inline(item)}</li>"
    yield "</ul>"


def _table(table: Table) -> Iterator[str]:
    classes = [' class="words"' if table.is_words(n) else "" for n in range(len(table.heads))]
    yield '<div class="scroll"><table><thead><tr>'
    for kind, head in zip(classes, table.heads, strict=True):
        yield f'<th scope="col"{kind}>{_inline(head)}</th>'
    yield "</tr></thead><tbody>"
    for row in table.rows:
        cells = zip(classes, row, strict=True)
        yield f"<tr>{''.join(f'<td{kind}>{_inline(cell)}</td>' for kind, cell in cells)}</tr>"
    yield f'</tbody></table></div><p class="source">Source: {_inline(table.source)}</p>'


def _plot(plot: Plot) -> Iterator[str]:
    data = base64.b64encode(plot.svg.encode()).decode()
    yield f'<figure id="{escape(plot.name)}"><figcaption class="above"><b>{_inline(plot.title)}</b>'
    yield "</figcaption>"
    yield f'<img src="data:image/svg+xml;base64,{data}" alt="{escape(plot.shows)}">'
    yield f"<figcaption>Source: {_inline(plot.source)}</figcaption></figure>"


def _inline(text: str) -> str:
    return "".join(
        f"<code>{escape(piece.text)}</code>" if piece.code else escape(piece.text)
        for piece in pieces(text)
    )
