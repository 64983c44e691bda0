"""``python -m pkg.archival restore``: shows the plan, asks, restores, returns the exit code."""

import asyncio
import json
import sys
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

import nats.errors
from nats.js import JetStreamContext
from redis.asyncio import Redis
from redis.exceptions import RedisError

from pkg.archival import terminal
from pkg.archival.restore import report
from pkg.archival.restore.archive_side import snapshot
from pkg.archival.restore.declaring import declare_new, look
from pkg.archival.restore.plan import Plan, make_plan
from pkg.archival.restore.rebuilding import (
    OpenedMeanwhileError,
    RemovedMeanwhileError,
    RestartedError,
    rebuild,
)
from pkg.archival.restore.redis_side import RedisSide
from pkg.archival.settings import RestoreSettings
from pkg.auction.events import UnknownVersionError
from pkg.runtime.nats_link import NatsLink, nats_link
from pkg.runtime.service_process import EXIT_BAD_SETTINGS, EXIT_FAILED, EXIT_OK
from pkg.stores.putting_back import Tally
from pkg.stores.redis_client import redis_client
from pkg.stores.redis_meta import NotOpenError, PartitionsDifferError

NATS_WITHIN_S = 5.0
_OPENS_LAST = "What was put back stays, and Redis is opened last: run restore again."

_complain = partial(terminal.complain, "restore")


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOptions:
    dry_run: bool
    yes: bool
    as_json: bool
    empty: bool = False
    """Declares an empty Redis new instead."""


async def run_restore(
    settings: RestoreSettings, stop: asyncio.Event, *, options: RestoreOptions
) -> int:
    """Returns the exit code: 0 nothing left to do or dry run, 1 not done, 2 a store is away."""
    return await terminal.run_command(
        _restore(settings, options),
        stop,
        interrupted=lambda: _complain(f"interrupted. {_OPENS_LAST}"),
    )


async def _restore(settings: RestoreSettings, options: RestoreOptions) -> int:
    redis = redis_client(settings.redis_target, timeout_s=settings.redis_timeout_s, name="restore")
    try:
        async with aclosing(redis), nats_link(settings, name="restore") as link:
            await _connected(link)
            return await _Restore(settings, options, redis, link.jetstream).run()
    except RedisError as error:
        return _unable(f"cannot reach Redis: {error}", then=_OPENS_LAST)
    except PartitionsDifferError as error:
        return _unable(str(error))
    except UnknownVersionError as error:
        return _unable(f"the stream holds {error}: run the restore of the newer release")
    except nats.errors.Error as error:
        return _unable(f"cannot reach NATS: {error}")
    except terminal.NO_ARCHIVE as error:
        return _unable(terminal.why_no_archive(error))
    except (RestartedError, RemovedMeanwhileError, NotOpenError) as error:
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
        self._idle_s = settings.item_idle_s
        self._postgres_tls = settings.postgres_tls
        self._options = options
        self._redis = redis
        self._side = RedisSide(redis, partitions=settings.partitions)
        self._jetstream = jetstream
        self._progress = terminal.Progress(_complain)

    async def run(self) -> int:
        await self._side.check_partitions()
        if self._options.empty:
            return await self._declare_new()
        async with snapshot(self._postgres_url, tls=self._postgres_tls) as archive:
            plan = await make_plan(
                self._side,
                archive,
                self._jetstream,
                progress=self._progress.show,
                idle_s=self._idle_s,
            )
        if not self._options.as_json:
            terminal.say(report.as_text(plan))
        why_not, code = await self._why_not(plan)
        if why_not is not None:
            self._print_outcome(plan, None, why_not)
            return code
        async with snapshot(self._postgres_url, tls=self._postgres_tls) as archive:
            tally = await rebuild(
                *(self._redis, self._side, archive, self._jetstream, plan),
                progress=self._progress.show,
            )
        self._print_outcome(plan, tally, None)
        return EXIT_OK

    async def _declare_new(self) -> int:
        found = await look(
            self._redis, self._side, self._postgres_url, self._jetstream, tls=self._postgres_tls
        )
        why_not: str | None = "Redis is open for bids already."
        code = EXIT_OK
        if not found.redis.open:
            if not found.refusal and not self._options.as_json:
                terminal.say(found.text)
            why_not, code = await self._unless_agreed(
                found.refusal,
                text=found.text,
                question="Declare this Redis new and open it for bids? [y/N] ",
            )
        if why_not is None:
            await declare_new(self._redis, self._side, self._jetstream, found)
        if self._options.as_json:
            terminal.say(
                json.dumps({"declared_new": why_not is None, "why_not": why_not}, indent=2)
            )
        else:
            terminal.say(why_not or "Redis is declared new and open for bids.")
        return code

    async def _why_not(self, plan: Plan) -> tuple[str | None, int]:
        """Why nothing will be written, and the exit code. ``None`` means go ahead."""
        if plan.nothing_to_do:
            return "Redis is open and lacks nothing that the other stores have.", EXIT_OK
        return await self._unless_agreed(
            plan.refusal,
            text=report.as_text(plan),
            question="Put this back and open Redis? [y/N] ",
        )

    async def _unless_agreed(
        self, refusal: str | None, *, text: str, question: str
    ) -> tuple[str | None, int]:
        if self._options.dry_run:
            return refusal or "This was a dry run: nothing was written.", EXIT_OK
        if refusal:
            return refusal, EXIT_FAILED
        if self._options.yes:
            return None, EXIT_OK
        if not sys.stdin.isatty():
            return (
                "Nothing was written, as there is no terminal to ask on. Use --yes to restore.",
                EXIT_FAILED,
            )
        if self._options.as_json:
            _complain(text)
        if await terminal.agreed(question):
            return None, EXIT_OK
        return "Nothing was written.", EXIT_FAILED

    def _print_outcome(self, plan: Plan, done: Tally | None, why_not: str | None) -> None:
        if self._options.as_json:
            terminal.say(report.as_json(plan, done=done, why_not=why_not))
        else:
            terminal.say(
                why_not if why_not is not None or done is None else report.outcome_text(done)
            )


def _unable(why: str, *, then: str = "Redis was not opened.") -> int:
    _complain(f"{why.rstrip('.')}. {then}")
    return EXIT_BAD_SETTINGS
