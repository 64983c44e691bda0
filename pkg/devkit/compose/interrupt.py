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


@contextmanager
def interrupts() -> Iterator[Interrupt]:
    interrupt = Interrupt()

    def handle(number: int, _: FrameType | None) -> None:
        interrupt.ask(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
