"""docs/faults.md: one section per backend, replaced only by a run on that backend."""

import re

TITLES = {"process": "On processes", "compose": "In containers"}
"""In the order of the document."""

_HEAD = (
    "# Faults\n\n"
    "What each known fault costs bidders and viewers, measured on both backends of the dev kit. "
    "Every section is written by the command that it names: do not edit it, run the command."
)


def with_section(document: str, backend: str, text: str) -> str:
    """The document with the backend's section replaced.

    Text outside the marked sections is not kept.
    """
    sections = {name: section(document, name) for name in TITLES} | {backend: text.strip()}
    parts = [
        f"<!-- {name}: begin -->\n\n## {TITLES[name]}\n\n{words}\n\n<!-- {name}: end -->"
        for name, words in sections.items()
        if words
    ]
    return "\n\n".join([_HEAD, *parts]) + "\n"


def section(document: str, backend: str) -> str:
    """The backend's section without marks and title; empty if there is none."""
    found = re.search(
        rf"<!-- {backend}: begin -->\n\n## [^\n]*\n\n(.*?)\n\n<!-- {backend}: end -->",
        document,
        re.DOTALL,
    )
    return found[1] if found else ""
