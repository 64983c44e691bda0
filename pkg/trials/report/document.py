"""A report as blocks, which `page` and `markdown` render.

In texts and cells, `code` stands between backticks; nothing else is marked up.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Heading:
    text: str
    level: int = 2

    @property
    def anchor(self) -> str:
        """As GitHub makes it."""
        return re.sub(r"[^\w -]", "", self.text.lower()).replace(" ", "-")


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Points:
    items: Sequence[str]


@dataclass(frozen=True, slots=True)
class Warnings:
    """What a reader must know before any figure. Not rendered if empty."""

    items: Sequence[str]


@dataclass(frozen=True, slots=True)
class Table:
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    source: str
    """Which raw files and columns the numbers come from."""
    words: int = 1
    """How many leading columns are words; the others are numbers, aligned to the right."""
    last_is_words: bool = False

    def is_words(self, column: int) -> bool:
        return column < self.words or (self.last_is_words and column == len(self.heads) - 1)


@dataclass(frozen=True, slots=True)
class Plot:
    name: str
    """Also its file's, without the suffix."""
    title: str
    shows: str
    """For who cannot see it: what is plotted over what, and the main finding if there is one."""
    source: str
    svg: str


Block = Heading | Text | Points | Warnings | Table | Plot


@dataclass(frozen=True, slots=True)
class Document:
    title: str
    blocks: Sequence[Block]

    @property
    def plots(self) -> list[Plot]:
        return [block for block in self.blocks if isinstance(block, Plot)]


class Piece(NamedTuple):
    text: str
    code: bool


def pieces(text: str) -> list[Piece]:
    """Text and code by turns. A single backtick is just text."""
    parts = re.split(r"`([^`]+)`", text)
    return [Piece(part, code=place % 2 == 1) for place, part in enumerate(parts) if part]
