"""``python -m pkg.archival redrive``: shows the plan, asks, redrives, returns the exit code."""

import asyncio
import sys
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from pkg.archival import terminal
from pkg.archival.intake import Reader
from pkg.archival.redrive import report
from pkg.archival.redrive.letters import Letters, Tally
from pkg.archival.settings import RedriveSettings
from pkg.runtime.service_process import EXIT_BAD_SETTINGS, EXIT_FAILED, EXIT_OK

_ONE_BY_ONE = (
    "Each dead letter is done by itself: those done stay done, the others stay as they were."
)

_complain = partial(terminal.complain, "redrive")


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
    return await terminal.run_command(
        _redrive(settings, options),
        stop,
        interrupted=lambda: _complain(f"interrupted. {_ONE_BY_ONE}"),
    )


async def _redrive(settings: RedriveSettings, options: RedriveOptions) -> int:
    try:
        letters = await Letters.connect(
            settings.postgres_target, reader=Reader(), tls=settings.postgres_tls
        )
        async with aclosing(letters):
            await letters.check_schema()
            return await _plan_and_do(letters, options)
    except terminal.NO_ARCHIVE as error:
        return _unable(terminal.why_no_archive(error))


async def _plan_and_do(letters: Letters, options: RedriveOptions) -> int:
    progress = terminal.Progress(_complain).show
    chosen = await letters.every(reason=options.reason)
    plan = await letters.put_through(chosen, keep=False, progress=progress)
    if not options.as_json and chosen:
        terminal.say(report.plan_text(plan))
    why_not, code = await _why_not(plan, options)
    done = None
    if why_not is None:
        done = await letters.put_through(chosen, keep=True, progress=progress)
    if options.as_json:
        terminal.say(report.as_json(plan, done=done, why_not=why_not))
    else:
        terminal.say(why_not if done is None else report.outcome_text(done))
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
            EXIT_FAILED,
        )
    if options.as_json:
        _complain(report.plan_text(plan))
    if await terminal.agreed("Archive these and remove them from the dead letters? [y/N] "):
        return None, EXIT_OK
    return "Nothing was written.", EXIT_FAILED


def _unable(why: str) -> int:
    _complain(f"{why.rstrip('.')}. {_ONE_BY_ONE}")
    return EXIT_BAD_SETTINGS
