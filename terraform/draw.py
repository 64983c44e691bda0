#!/usr/bin/env python3
"""Draws architecture.svg: who may speak to whom, read from the flows in security_groups.tf.

usage: python terraform/draw.py        (Graphviz' dot has to be on PATH)

A test compares the picture with the configuration; run this when it says that they differ.
"""

import hashlib
import re
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
PICTURE = HERE / "architecture.svg"

KINDS = {
    "alb": ("Application Load Balancer", "#fde7c8"),
    "api-gateway": ("api-gateway\\nFargate", "#d7e8fb"),
    "broadcast-service": ("broadcast-service\\nFargate", "#d7e8fb"),
    "archival-worker": ("archival-worker\\nFargate", "#d7e8fb"),
    "nats": ("NATS JetStream\\nFargate, Cloud Map", "#d7e8fb"),
    "redis": ("Redis\\nElastiCache", "#e3f3dd"),
    "postgres": ("PostgreSQL\\nRDS", "#e3f3dd"),
    "efs": ("JetStream's files\\nEFS", "#e3f3dd"),
}
"""Label and colour of each security group."""

_FLOW = re.compile(
    r'^\s+[\w-]+\s*= \{ from = "([\w-]+)", to = "([\w-]+)", port = (\d+) \}', re.MULTILINE
)
_GROUP = re.compile(r'^    ([\w-]+)\s+= "', re.MULTILINE)


def flows() -> list[tuple[str, str, str]]:
    """From, to, port; in the order of the file."""
    return _FLOW.findall((HERE / "security_groups.tf").read_text())


def groups() -> list[str]:
    text = (HERE / "security_groups.tf").read_text()
    return _GROUP.findall(text[: text.index("flows = {")])


def source() -> str:
    """The picture in Graphviz' language."""
    lines = [
        "digraph bidding {",
        '  rankdir = LR; fontname = "sans-serif"; nodesep = 0.45; ranksep = 1.1;',
        '  node [shape = box, style = "rounded,filled", fontname = "sans-serif", fontsize = 12];',
        '  edge [fontname = "sans-serif", fontsize = 10, color = "#555555"];',
        '  world [label = "the world", shape = plaintext, style = ""];',
        '  world -> "alb" [label = "80, 443"];',
    ]
    for place, members in (
        ("public subnets", [each for each in groups() if each == "alb"]),
        ("private subnets", [each for each in groups() if each != "alb"]),
    ):
        lines.append(f'  subgraph "cluster_{place}" {{ label = "{place}"; color = "#999999";')
        for each in members:
            label, colour = KINDS[each]
            lines.append(f'    "{each}" [label = "{label}", fillcolor = "{colour}"];')
        lines.append("  }")
    lines += [f'  "{one}" -> "{other}" [label = "{port}"];' for one, other, port in flows()]
    return "\n".join([*lines, "}", ""])


def mark() -> str:
    """Ends the picture, and says what it was drawn from."""
    return f"<!-- drawn from {hashlib.sha256(source().encode()).hexdigest()} -->"


def main() -> None:
    drawn = subprocess.run(
        ["dot", "-Tsvg"], input=source(), capture_output=True, text=True, check=True
    ).stdout
    PICTURE.write_text(f"{drawn}{mark()}\n")


if __name__ == "__main__":
    main()
