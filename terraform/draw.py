#!/usr/bin/env python3
"""Draws architecture.svg from the configuration: allowed connections, and the AWS services in use.

The arrows are the flows of security_groups.tf. The WAF, and each AWS service that tasks reach over
HTTPS, is drawn only if the configuration has a resource of its type.

usage: python terraform/draw.py        (needs Graphviz' dot on PATH)

A test fails if the picture no longer matches the configuration; then run this again.
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
    "load-generator": ("load-generator\\nFargate, in load tests", "#d7e8fb"),
    "nats": ("NATS JetStream\\nFargate, Cloud Map", "#d7e8fb"),
    "redis": ("Redis\\nElastiCache", "#e3f3dd"),
    "postgres": ("PostgreSQL\\nRDS", "#e3f3dd"),
    "efs": ("JetStream's files\\nEFS", "#e3f3dd"),
}
"""Label and colour of each security group."""

LENT = {
    "aws_ecr_repository": "ECR\\nimages",
    "aws_secretsmanager_secret": "Secrets Manager",
    "aws_cloudwatch_log_group": "CloudWatch\\nlogs, metrics, alarms",
}
"""AWS services that every task reaches over HTTPS, by resource type: label of each."""

_FLOW = re.compile(
    r'^\s+[\w-]+\s*= \{ from = "([\w-]+)", to = "([\w-]+)", port = (\d+) \}', re.MULTILINE
)
_GROUP = re.compile(r'^    ([\w-]+)\s+= "', re.MULTILINE)


def flows() -> list[tuple[str, str, str]]:
    """From, to, port; in file order."""
    return _FLOW.findall((HERE / "security_groups.tf").read_text())


def groups() -> list[str]:
    text = (HERE / "security_groups.tf").read_text()
    return _GROUP.findall(text[: text.index("flows = {")])


def has(kind: str) -> bool:
    """Whether the configuration has a resource of this type."""
    return any(f'resource "{kind}"' in each.read_text() for each in HERE.rglob("*.tf"))


def source() -> str:
    """The picture in Graphviz' DOT language."""
    lines = [
        "digraph bidding {",
        '  rankdir = LR; fontname = "sans-serif"; nodesep = 0.45; ranksep = 1.1;',
        '  node [shape = box, style = "rounded,filled", fontname = "sans-serif", fontsize = 12];',
        '  edge [fontname = "sans-serif", fontsize = 10, color = "#555555"];',
        '  world [label = "the world", shape = plaintext, style = ""];',
    ]
    if has("aws_wafv2_web_acl"):
        lines += [
            '  waf [label = "WAF\\nwhere asked for", fillcolor = "#f6dcdc"];',
            '  world -> waf [label = "80, 443"]; waf -> "alb";',
        ]
    else:
        lines.append('  world -> "alb" [label = "80, 443"];')
    everything = {**KINDS, "nat": ("NAT gateway", "#fde7c8")}
    for place, members in (
        ("public subnets", ["alb", "nat"]),
        ("private subnets", [each for each in groups() if each != "alb"]),
    ):
        lines.append(f'  subgraph "cluster_{place}" {{ label = "{place}"; color = "#999999";')
        for each in members:
            label, colour = everything[each]
            lines.append(f'    "{each}" [label = "{label}", fillcolor = "{colour}"];')
        lines.append("  }")
    lines += [f'  "{one}" -> "{other}" [label = "{port}"];' for one, other, port in flows()]
    lines.append('  subgraph "cluster_aws" { label = "AWS\' own, by HTTPS"; color = "#999999";')
    for kind, label in LENT.items():
        if has(kind):
            lines.append(f'    "{kind}" [label = "{label}", fillcolor = "#eeeeee"];')
    lines.append("  }")
    lines += [
        f'  "{each}" -> nat [style = dashed, color = "#aaaaaa"];'
        for each in groups()
        if "Fargate" in KINDS[each][0]
    ]
    lines += [f'  nat -> "{kind}" [label = "443", style = dashed];' for kind in LENT if has(kind)]
    lines.append('  nat -> world [label = "load tests: 80", style = dashed, color = "#aaaaaa"];')
    return "\n".join([*lines, "}", ""])


def mark() -> str:
    """Last line of the picture: a hash of its source, which a test compares."""
    return f"<!-- drawn from {hashlib.sha256(source().encode()).hexdigest()} -->"


def main() -> None:
    drawn = subprocess.run(
        ["dot", "-Tsvg"], input=source(), capture_output=True, text=True, check=True
    ).stdout
    PICTURE.write_text(f"{drawn}{mark()}\n")


if __name__ == "__main__":
    main()
