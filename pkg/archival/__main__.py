"""``python -m pkg.archival``: the worker; with ``audit``, the audit."""

import argparse
import sys
from functools import partial

from pkg.archival.app import SERVICE, run_worker
from pkg.archival.audit.command import AuditOptions, run_audit
from pkg.archival.settings import ArchivalSettings, AuditSettings
from pkg.runtime import process


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m pkg.archival", description="Archives bids; without a command, the worker."
    )
    commands = parser.add_subparsers(dest="command")
    audit = commands.add_parser(
        "audit",
        help="compare Redis with the archive",
        description="Compares every item in Redis with the archive. Exit code 0: all accounted "
        "for; 1: something is wrong; 2: bad settings, or a store cannot be reached.",
    )
    audit.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    audit.add_argument("--all", action="store_true", help="every item, not only failing ones")
    audit.add_argument(
        "--wait", type=float, default=30.0, metavar="S", help="seconds to wait for the outboxes"
    )
    arguments = parser.parse_args()
    if arguments.command is None:
        return process.run(SERVICE, ArchivalSettings, run_worker)
    options = AuditOptions(
        as_json=arguments.json, every_item=arguments.all, wait_s=max(0.0, arguments.wait)
    )
    return process.run("audit", AuditSettings, partial(run_audit, options=options))


if __name__ == "__main__":
    sys.exit(main())
