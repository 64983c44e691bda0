"""Runs a supervisor, in the foreground of `bidkit up` or as a separate process.

`python -m pkg.devkit.process.serve DESCRIPTOR` is the latter. It reads its options as JSON from
standard input and writes one line to the descriptor: `null` when it can be asked, or the error
that kept it from starting.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

import msgspec

from pkg.devkit.backend import Options, Say
from pkg.devkit.errors import BidkitError
from pkg.devkit.home import Home
from pkg.devkit.process.control import ControlServer, StoppedMeanwhile, forget_supervisor
from pkg.devkit.process.records import end_leftovers
from pkg.devkit.process.supervisor import Supervisor
from pkg.devkit.settings import DevkitSettings


class AlreadyRunning(BidkitError):  # noqa: N818 - see errors.py
    """Another supervisor runs in this home. Nothing was started."""


class Failure(msgspec.Struct, frozen=True):
    message: str
    code: int
    already_running: bool = False


async def serve(
    home: Home, options: Options, *, event: Say, started: Callable[[Supervisor], Awaitable[None]]
) -> bool:
    """Returns when everything is stopped: False when a signal was why, and `started` not yet done.

    `started` runs beside it; when it fails, all is stopped. Raises AlreadyRunning, StoppedMeanwhile
    when somebody else was why and `started` not yet done, or what `Supervisor.prepare` or `started`
    raise.
    """
    with home.lock() as ours:
        if not ours:
            raise AlreadyRunning("the system is already running.")
        left = await asyncio.to_thread(end_leftovers, home.processes)
        forget_supervisor(home)
        say = _logged(home, event)
        supervisor = Supervisor(home, options, event=say)
        await supervisor.prepare()
        if left:
            say(f"ended what an earlier run had left: {', '.join(left)}")
        async with (
            ControlServer(supervisor, home, pid=os.getpid()),
            _signals(supervisor) as signalled,
        ):
            running = asyncio.create_task(supervisor.run())
            starting = asyncio.ensure_future(started(supervisor))
            await asyncio.wait({running, starting}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                starting.cancel()
            elif starting.exception():
                supervisor.stop()
            await running
            await asyncio.wait({starting})
            if not starting.cancelled():
                starting.result()
            elif not signalled.is_set():
                raise StoppedMeanwhile
            return not starting.cancelled()


@contextlib.asynccontextmanager
async def _signals(supervisor: Supervisor) -> AsyncIterator[asyncio.Event]:
    """Set by the first signal."""
    loop = asyncio.get_running_loop()
    signalled = asyncio.Event()

    def stop() -> None:
        signalled.set()
        supervisor.stop()

    def hang_up() -> None:
        # A closing terminal sends SIGHUP twice, from its shell and from the kernel: no hurry.
        if not supervisor.stopping:
            stop()

    handlers = {
        signal.SIGINT: stop,
        signal.SIGTERM: stop,
        signal.SIGHUP: hang_up,
    }
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # under nohup
        del handlers[signal.SIGHUP]
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    yield signalled
    for number in handlers:
        loop.remove_signal_handler(number)


def _logged(home: Home, event: Say) -> Say:
    def say(line: str) -> None:
        with home.log("supervisor").open("a", encoding="utf-8") as log:
            log.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ} {line}\n")
        # The system goes on even if the terminal or the pipe is gone.
        with contextlib.suppress(OSError):
            event(line)

    return say


def main() -> int:
    descriptor = int(sys.argv[1])
    options = msgspec.json.decode(sys.stdin.buffer.read(), type=Options)

    def tell(outcome: Failure | None) -> None:
        os.write(descriptor, msgspec.json.encode(outcome) + b"\n")
        os.close(descriptor)

    async def started(_: Supervisor) -> None:
        tell(None)

    home = Home(DevkitSettings.read().home)
    try:
        asyncio.run(serve(home, options, event=lambda _: None, started=started))
    except BidkitError as error:
        already = isinstance(error, AlreadyRunning)
        tell(Failure(str(error), error.exit_code, already_running=already))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
