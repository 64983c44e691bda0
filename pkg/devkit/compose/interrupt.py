"""What asks a foreground `up`, or a verb, to stop: Ctrl-C, a closed terminal, a signal."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """Asked once, everything stops in order; asked again by a person, it hurries."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.hurry = threading.Event()

    def ask(self, number: int) -> None:
        # A closing terminal says so more than once, by its shell and by the kernel: no hurry.
        if self.stop.is_set() and number != signal.SIGHUP:
            self.hurry.set()
        self.stop.set()

    def heed(self) -> None:
        """Raises KeyboardInterrupt once it was asked to stop."""
        if self.stop.is_set():
            raise KeyboardInterrupt


def signals_interrupt() -> None:
    """SIGTERM and a closed terminal are KeyboardInterrupt from now on, as Ctrl-C is: compose, in a
    session of its own, would go on without the verb, and without its lock.

    The first of them alone, as a closing terminal says so more than once, and what is begun has to
    be ended. What is ignored, as nohup has it, stays so.
    """
    first = threading.Event()

    def handle(_: int, __: FrameType | None) -> None:
        if not first.is_set():
            first.set()
            raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handle)


@contextmanager
def interrupts() -> Iterator[Interrupt]:
    interrupt = Interrupt()

    def handle(number: int, _: FrameType | None) -> None:
        interrupt.ask(number)

    numbers = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # as nohup has it
        numbers.remove(signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
