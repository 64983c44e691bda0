"""``python -m pkg.archival audit``: runs the audit, prints its report, returns the exit code."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from redis.exceptions import RedisError

from pkg.archival import terminal
from pkg.archival.audit import report
from pkg.archival.audit.archive_side import ArchiveSide
from pkg.archival.audit.auction_side import AuctionSide, UnreadableWitnessError
from pkg.archival.audit.verdict import Verdict
from pkg.archival.audit.walk import SETTLE_S, Findings, Walk
from pkg.archival.settings import AuditSettings
from pkg.runtime.service_process import EXIT_BAD_SETTINGS, EXIT_FAILED, EXIT_OK
from pkg.stores.redis_client import redis_client
from pkg.stores.redis_meta import PartitionsDifferError

_complain = partial(terminal.complain, "audit")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOptions:
    as_json: bool
    every_item: bool
    wait_s: float


async def run_audit(settings: AuditSettings, stop: asyncio.Event, *, options: AuditOptions) -> int:
    """Returns the exit code: 0 all accounted for, 1 not, 2 a store cannot be reached."""
    return await terminal.run_command(
        _audit(settings, options),
        stop,
        interrupted=lambda: _complain("interrupted before it was complete"),
    )


async def _audit(settings: AuditSettings, options: AuditOptions) -> int:
    verdicts: list[Verdict] | None = [] if options.every_item else None
    try:
        findings = await compare(
            settings, options, verdicts=verdicts, progress=terminal.Progress(_complain).show
        )
    except RedisError as error:
        return _unable(f"cannot reach Redis: {error}")
    except (PartitionsDifferError, UnreadableWitnessError) as error:
        return _unable(str(error))
    except terminal.NO_ARCHIVE as error:
        return _unable(terminal.why_no_archive(error))
    if options.as_json:
        text = report.as_json(findings)
    else:
        text = report.as_table(findings, every_item=verdicts)
    terminal.say(text)
    return EXIT_OK if findings.ok else EXIT_FAILED


async def compare(
    settings: AuditSettings,
    options: AuditOptions,
    *,
    progress: Callable[[str], None],
    verdicts: list[Verdict] | None = None,
) -> Findings:
    """Audits both stores. Appends every item's verdict to ``verdicts``, if given.

    Raises:
        RedisError, asyncpg.PostgresError, OSError and the like: a store cannot be reached.
        PartitionsDifferError, SchemaTooNewError: these settings do not fit the stores.
        UnreadableWitnessError: lost bids cannot be determined.
    """
    findings = Findings()
    redis = redis_client(settings.redis_target, timeout_s=settings.redis_timeout_s, name="audit")
    async with (
        aclosing(redis),
        aclosing(
            await ArchiveSide.connect(settings.postgres_target, tls=settings.postgres_tls)
        ) as archive,
    ):
        auction = AuctionSide(redis, partitions=settings.partitions)
        await auction.check_partitions()
        await archive.check_schema()
        walk = Walk(auction, archive, progress=progress)
        await walk.wait_for_outboxes(findings, wait_s=options.wait_s)
        settle_s = min(SETTLE_S, max(options.wait_s, 1.0))
        await walk.every_witnessed(findings, settle_s=settle_s)
        await walk.every_item(
            findings,
            settle_s=settle_s,
            show=verdicts.append if verdicts is not None else None,
        )
    return findings


def _unable(why: str) -> int:
    _complain(why)
    return EXIT_BAD_SETTINGS
