"""``python -m pkg.archival``: runs the worker, ``audit``, ``restore`` or ``redrive``."""

import argparse
import sys
from functools import partial

from pkg.archival.app import SERVICE, run_worker
from pkg.archival.audit.command import AuditOptions, run_audit
from pkg.archival.redrive.command import RedriveOptions, run_redrive
from pkg.archival.restore.command import RestoreOptions, run_restore
from pkg.archival.settings import (
    ArchivalSettings,
    AuditSettings,
    RedriveSettings,
    RestoreSettings,
)
from pkg.runtime import service_process


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m pkg.archival",
        description="Archives bids. Without a command, runs the worker.",
    )
    commands = parser.add_subparsers(dest="command")
    audit = commands.add_parser(
        "audit",
        help="compare Redis with the archive",
        description="Compares every item in Redis with the archive. Exit codes: 0 every bid is "
        "accounted for; 1 something is wrong; 2 bad settings, or a store cannot be reached.",
    )
    audit.add_argument(
        "--json", action="store_true", help="print one JSON object instead of a table"
    )
    audit.add_argument("--all", action="store_true", help="list every item, not only failing ones")
    audit.add_argument(
        "--wait",
        type=float,
        default=30.0,
        metavar="S",
        help="seconds to wait until the outboxes are archived",
    )
    restore = commands.add_parser(
        "restore",
        help="rebuild a Redis that lost data",
        description="Rebuilds Redis from the archive and JetStream, then opens it for bids. Shows "
        "the plan first. Exit codes: 0 done, dry run, or nothing to restore; 1 refused, declined, "
        "interrupted, or nobody to ask; 2 bad settings, or a store cannot be reached.",
    )
    restore.add_argument("--dry-run", action="store_true", help="show the plan and write nothing")
    restore.add_argument("--yes", action="store_true", help="do not ask")
    restore.add_argument(
        "--json", action="store_true", help="print one JSON object instead of text"
    )
    restore.add_argument(
        "--empty",
        action="store_true",
        help="declare an empty Redis new: neither the archive nor JetStream holds a bid",
    )
    redrive = commands.add_parser(
        "redrive",
        help="put dead letters through again",
        description="Archives the dead letters that can be archived by now, and removes them from "
        "the dead letters; the others stay. Shows the plan first. Exit codes: 0 done, dry run, or "
        "nothing to do; 1 declined, interrupted, or nobody to ask; 2 bad settings, or PostgreSQL "
        "is away.",
    )
    redrive.add_argument("--dry-run", action="store_true", help="show the plan and write nothing")
    redrive.add_argument("--yes", action="store_true", help="do not ask")
    redrive.add_argument("--reason", metavar="R", help="only dead letters of this reason")
    redrive.add_argument(
        "--json", action="store_true", help="print one JSON object instead of text"
    )
    arguments = parser.parse_args()
    match arguments.command:
        case "audit":
            auditing = AuditOptions(
                as_json=arguments.json, every_item=arguments.all, wait_s=max(0.0, arguments.wait)
            )
            return service_process.run("audit", AuditSettings, partial(run_audit, options=auditing))
        case "restore":
            restoring = RestoreOptions(
                dry_run=arguments.dry_run,
                yes=arguments.yes,
                as_json=arguments.json,
                empty=arguments.empty,
            )
            return service_process.run(
                "restore", RestoreSettings, partial(run_restore, options=restoring)
            )
        case "redrive":
            redriving = RedriveOptions(
                dry_run=arguments.dry_run,
                yes=arguments.yes,
                as_json=arguments.json,
                reason=arguments.reason,
            )
            return service_process.run(
                "redrive", RedriveSettings, partial(run_redrive, options=redriving)
            )
        case _:
            return service_process.run(SERVICE, ArchivalSettings, run_worker)


if __name__ == "__main__":
    sys.exit(main())
