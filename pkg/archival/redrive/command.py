"""``python -m pkg.archival redrive``: shows the plan, asks, redrives, returns the exit code."""

import asyncio
import sys
from contextlib import aclosing
from dataclasses import dataclass

import asyncpg

from pkg.archival.intake import Reader
from pkg.archival.redrive import report
from pkg.archival.redrive.letters import Letters, Tally
from pkg.archival.schema import SchemaTooNewError
from pkg.archival.settings import RedriveSettings
from pkg.archival.store import AWAY
from pkg.archival.terminal import Progress, agreed
from pkg.runtime.background import CANCEL_COMMAND_AGAIN_S, ended
from pkg.runtime.service_process import EXIT_BAD_SETTINGS, EXIT_FAILED, EXIT_OK

_ONE_BY_ONE = (
    "Each dead letter is done by itself: those done stay done, the others stay as they were."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedriveOptions:
    dry_run: bool
    yes: bool
    as_json: bool
    reason: str | None


async def run_redrive(
    settings: RedriveSettings, stop: asyncio.Event, *, options: RedriveOptions
) -> int:
    """Returns the exit code: 0 done, dry run or nothing to do, 1 not done, 2 PostgreSQL is away."""
    redriving = asyncio.create_task(_redrive(settings, options))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({redriving, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    interrupted = not redriving.done()
    await ended(redriving, again_s=CANCEL_COMMAND_AGAIN_S)
    # An error may come from the interruption itself; a result counts despite it.
    if redriving.cancelled() or (interrupted and redriving.exception()):
        _complain(f"interrupted. {_ONE_BY_ONE}")
        return EXIT_FAILED
    return redriving.result()


async def _redrive(settings: RedriveSettings, options: RedriveOptions) -> int:
    try:
        letters = await Letters.connect(settings.postgres_target, reader=Reader())
        async with aclosing(letters):
            await letters.check_schema()
            return await _plan_and_do(letters, options)
    except SchemaTooNewError as error:
        return _unable(str(error))
    except asyncpg.UndefinedTableError:
        return _unable(
            "the archive has no schema yet; the archival-worker creates it when it starts"
        )
    except AWAY as error:
        return _unable(f"cannot reach PostgreSQL: {str(error) or type(error).__name__}")


async def _plan_and_do(letters: Letters, options: RedriveOptions) -> int:
    progress = Progress(_complain).show
    chosen = await letters.every(reason=options.reason)
    plan = await letters.put_through(chosen, keep=False, progress=progress)
    if not options.as_json and chosen:
        _say(report.plan_text(plan))
    why_not, code = await _why_not(plan, options)
    done = None
    if why_not is None:
        done = await letters.put_through(chosen, keep=True, progress=progress)
    if options.as_json:
        _say(report.as_json(plan, done=done, why_not=why_not))
    else:
        _say(why_not if done is None else report.outcome_text(done))
    return code


async def _why_not(plan: Tally, options: RedriveOptions) -> tuple[str | None, int]:
    """Why nothing will be written, and the exit code. ``None`` means go ahead."""
    if not plan.letters:
        which = f" of reason {options.reason}" if options.reason else ""
        return f"There are no dead letters{which}.", EXIT_OK
    if not plan.removed:
        return "None of them can be archived: nothing was written.", EXIT_OK
    if options.dry_run:
        return "This was a dry run: nothing was written.", EXIT_OK
    if options.yes:
        return None, EXIT_OK
    if not sys.stdin.isatty():
        return (
            "Nothing was written, as there is no terminal to ask on. Use --yes to redrive.",
            EXIT_OK,
        )
    if options.as_json:
        _complain(report.plan_text(plan))
    if await agreed("Archive these and remove them from the dead letters? [y/N] "):
        return None, EXIT_OK
    return "Nothing was written.", EXIT_FAILED


def _unable(why: str) -> int:
    _complain(f"{why.rstrip('.')}. {_ONE_BY_ONE}")
    return EXIT_BAD_SETTINGS


def _say(text: str | None) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _complain(line: str) -> None:
    sys.stderr.write(f"redrive: {line}\n")
    sys.stderr.flush()
