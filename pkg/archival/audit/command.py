"""``python -m pkg.archival audit``: runs the audit, prints its report, returns the exit code."""

import asyncio
import sys
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass

import asyncpg
from redis.exceptions import RedisError

from pkg.archival.audit import report
from pkg.archival.audit.archive_side import ArchiveSide
from pkg.archival.audit.auction_side import AuctionSide, UnreadableWitnessError
from pkg.archival.audit.verdict import Verdict
from pkg.archival.audit.walk import SETTLE_S, Findings, Walk
from pkg.archival.schema import SchemaTooNewError
from pkg.archival.settings import AuditSettings
from pkg.archival.store import AWAY
from pkg.archival.terminal import Progress
from pkg.runtime.background import CANCEL_COMMAND_AGAIN_S, ended
from pkg.runtime.service_process import EXIT_BAD_SETTINGS, EXIT_FAILED, EXIT_OK
from pkg.stores.redis_client import redis_client
from pkg.stores.redis_meta import PartitionsDifferError


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOptions:
    as_json: bool
    every_item: bool
    wait_s: float


async def run_audit(settings: AuditSettings, stop: asyncio.Event, *, options: AuditOptions) -> int:
    """Returns the exit code: 0 all accounted for, 1 not, 2 a store cannot be reached."""
    auditing = asyncio.create_task(_audit(settings, options))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({auditing, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    interrupted = not auditing.done()
    await ended(auditing, again_s=CANCEL_COMMAND_AGAIN_S)
    # An error may come from the interruption itself; a result counts despite it.
    if auditing.cancelled() or (interrupted and auditing.exception()):
        _complain("interrupted before it was complete")
        return EXIT_FAILED
    return auditing.result()


async def _audit(settings: AuditSettings, options: AuditOptions) -> int:
    verdicts: list[Verdict] | None = [] if options.every_item else None
    try:
        findings = await compare(
            settings, options, verdicts=verdicts, progress=Progress(_complain).show
        )
    except RedisError as error:
        return _unable(f"cannot reach Redis: {error}")
    except (PartitionsDifferError, SchemaTooNewError, UnreadableWitnessError) as error:
        return _unable(str(error))
    except asyncpg.UndefinedTableError:
        return _unable(
            "the archive has no schema yet; the archival-worker creates it when it starts"
        )
    except AWAY as error:
        return _unable(f"cannot reach PostgreSQL: {str(error) or type(error).__name__}")
    if options.as_json:
        text = report.as_json(findings)
    else:
        text = report.as_table(findings, every_item=verdicts)
    sys.stdout.write(f"{text}\n")
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
        aclosing(await ArchiveSide.connect(settings.postgres_target)) as archive,
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


def _complain(line: str) -> None:
    sys.stderr.write(f"audit: {line}\n")
    sys.stderr.flush()
