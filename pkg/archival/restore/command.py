"""``python -m pkg.archival restore``: shows the plan, asks, restores, returns the exit code."""

import asyncio
import sys
from contextlib import aclosing
from dataclasses import dataclass

import asyncpg
import nats.errors
from nats.js import JetStreamContext
from redis.asyncio import Redis
from redis.exceptions import RedisError

from pkg.archival.restore import report
from pkg.archival.restore.archive_side import snapshot
from pkg.archival.restore.plan import Plan, make_plan
from pkg.archival.restore.rebuilding import OpenedMeanwhileError, RestartedError, rebuild
from pkg.archival.restore.redis_side import RedisSide
from pkg.archival.schema import SchemaTooNewError
from pkg.archival.settings import RestoreSettings
from pkg.archival.store import AWAY
from pkg.archival.terminal import Progress, agreed
from pkg.auction.events import UnknownVersionError
from pkg.runtime.background import CANCEL_COMMAND_AGAIN_S, ended
from pkg.runtime.nats_link import NatsLink, nats_link
from pkg.runtime.service_process import EXIT_BAD_SETTINGS, EXIT_FAILED, EXIT_OK
from pkg.stores.putting_back import Tally
from pkg.stores.redis_client import redis_client
from pkg.stores.redis_meta import NotOpenError, PartitionsDifferError

NATS_WITHIN_S = 5.0
_OPENS_LAST = "What was put back stays, and Redis is opened last: run restore again."


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOptions:
    dry_run: bool
    yes: bool
    as_json: bool


async def run_restore(
    settings: RestoreSettings, stop: asyncio.Event, *, options: RestoreOptions
) -> int:
    """Returns the exit code: 0 nothing left to do or dry run, 1 not done, 2 a store is away."""
    restoring = asyncio.create_task(_restore(settings, options))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({restoring, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    interrupted = not restoring.done()
    await ended(restoring, again_s=CANCEL_COMMAND_AGAIN_S)
    # An error may come from the interruption itself; a result counts despite it.
    if restoring.cancelled() or (interrupted and restoring.exception()):
        _complain(f"interrupted. {_OPENS_LAST}")
        return EXIT_FAILED
    return restoring.result()


async def _restore(settings: RestoreSettings, options: RestoreOptions) -> int:
    redis = redis_client(settings.redis_target, timeout_s=settings.redis_timeout_s, name="restore")
    try:
        async with aclosing(redis), nats_link(settings, name="restore") as link:
            await _connected(link)
            return await _Restore(settings, options, redis, link.jetstream).run()
    except RedisError as error:
        return _unable(f"cannot reach Redis: {error}", then=_OPENS_LAST)
    except (PartitionsDifferError, SchemaTooNewError) as error:
        return _unable(str(error))
    except UnknownVersionError as error:
        return _unable(f"the stream holds {error}: run the restore of the newer release")
    except asyncpg.UndefinedTableError:
        return _unable(
            "the archive has no schema yet; the archival-worker creates it when it starts"
        )
    except nats.errors.Error as error:
        return _unable(f"cannot reach NATS: {error}")
    except AWAY as error:
        return _unable(f"cannot reach PostgreSQL: {str(error) or type(error).__name__}")
    except (RestartedError, NotOpenError) as error:
        return _unable(str(error))
    except OpenedMeanwhileError as error:
        _complain(str(error))
        return EXIT_FAILED


async def _connected(link: NatsLink) -> None:
    try:
        await asyncio.wait_for(link.wait_connected(), NATS_WITHIN_S)
    except TimeoutError:
        raise nats.errors.NoServersError from None


class _Restore:
    def __init__(
        self,
        settings: RestoreSettings,
        options: RestoreOptions,
        redis: Redis,
        jetstream: JetStreamContext,
    ) -> None:
        self._postgres_url = settings.postgres_target
        self._options = options
        self._redis = redis
        self._side = RedisSide(redis, partitions=settings.partitions)
        self._jetstream = jetstream
        self._progress = Progress(_complain)

    async def run(self) -> int:
        await self._side.check_partitions()
        async with snapshot(self._postgres_url) as archive:
            plan = await make_plan(
                self._side, archive, self._jetstream, progress=self._progress.show
            )
        if not self._options.as_json:
            _say(report.as_text(plan))
        why_not, code = await self._why_not(plan)
        if why_not is not None:
            self._print_outcome(plan, None, why_not)
            return code
        async with snapshot(self._postgres_url) as archive:
            tally = await rebuild(
                *(self._redis, self._side, archive, self._jetstream, plan),
                progress=self._progress.show,
            )
        self._print_outcome(plan, tally, None)
        return EXIT_OK

    async def _why_not(self, plan: Plan) -> tuple[str | None, int]:
        """Why nothing will be written, and the exit code. ``None`` means go ahead."""
        if plan.nothing_to_do:
            return "Redis is open and lacks nothing that the other stores have.", EXIT_OK
        refusal = plan.refusal
        if self._options.dry_run:
            return refusal or "This was a dry run: nothing was written.", EXIT_OK
        if refusal:
            return refusal, EXIT_FAILED
        if self._options.yes:
            return None, EXIT_OK
        if not sys.stdin.isatty():
            return (
                "Nothing was written, as there is no terminal to ask on. Use --yes to restore.",
                EXIT_OK,
            )
        if self._options.as_json:
            _complain(report.as_text(plan))
        if await agreed("Put this back and open Redis? [y/N] "):
            return None, EXIT_OK
        return "Nothing was written.", EXIT_FAILED

    def _print_outcome(self, plan: Plan, done: Tally | None, why_not: str | None) -> None:
        if self._options.as_json:
            _say(report.as_json(plan, done=done, why_not=why_not))
        else:
            _say(why_not if why_not is not None or done is None else report.outcome_text(done))


def _unable(why: str, *, then: str = "Redis was not opened.") -> int:
    _complain(f"{why.rstrip('.')}. {then}")
    return EXIT_BAD_SETTINGS


def _say(text: str | None) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _complain(line: str) -> None:
    sys.stderr.write(f"restore: {line}\n")
    sys.stderr.flush()
