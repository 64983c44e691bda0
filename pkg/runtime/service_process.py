"""The life of a service process: settings, logs, event loop, signals, exit code."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import uvloop

from pkg.runtime import descriptors, logs
from pkg.runtime.settings.loading import SettingsError, load
from pkg.runtime.settings.sections import LogSettings, ServingSettings
from pkg.runtime.watchdog import watchdog

S = TypeVar("S", bound=LogSettings)

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_BAD_SETTINGS = 2

GC_ALLOCATIONS = 20_000  # CPython's default of 700 cost the gateway 3 % of its time


def run(
    service: str, settings_type: type[S], main: Callable[[S, asyncio.Event], Awaitable[int | None]]
) -> int:
    """Reads the settings, runs ``main(settings, stop)``, returns the exit code.

    SIGTERM and SIGINT set ``stop``; ``main`` then drains and returns. If it raises, the process
    ends with a traceback and exit code 1, and the orchestrator starts a new one. A service whose
    event loop hangs for STUCK_AFTER_S exits with code 70.
    """
    try:
        settings = load(settings_type, os.environ)
    except SettingsError as error:
        print(f"{service}: {error}", file=sys.stderr)  # noqa: T201 - logs are not set up yet
        return EXIT_BAD_SETTINGS
    logs.configure(service=service, level=settings.log_level, log_format=settings.log_format)
    descriptors.raise_limit()
    # Reference counts free a request's objects; the collector is only for rare cycles.
    gc.set_threshold(GC_ALLOCATIONS, 20, 20)
    return uvloop.run(_until_stopped(settings, main)) or EXIT_OK


async def _until_stopped(
    settings: S, main: Callable[[S, asyncio.Event], Awaitable[int | None]]
) -> int | None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    stuck_after_s = settings.stuck_after_s if isinstance(settings, ServingSettings) else 0
    with watchdog(loop, stuck_after_s=stuck_after_s):
        return await main(settings, stop)
