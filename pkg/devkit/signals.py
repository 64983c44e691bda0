"""What asks a foreground `up`, or a verb, to stop: Ctrl-C, a closed terminal, a signal."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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

    numbers = set(_ALL)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # as nohup has it
        numbers.remove(signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def interrupted_once() -> Iterator[Callable[[], None]]:
    """For what has to be ended once it is begun: signals wait until the block says, by calling what
    it is given, that it can end it. From then on the first that raises is the only one. Where it
    never says so, they wait until it is left.

    Signals reach the main thread alone; elsewhere this does nothing.
    """
    once = _Once()
    try:
        if threading.current_thread() is threading.main_thread():
            once.install()
        yield once.begun
    finally:
        once.restore()


class _Once:
    def __init__(self) -> None:
        self._before: dict[int, Callable[[int, FrameType | None], object]] = {}
        self._waiting: set[int] = set()
        self._has_begun = False
        self._has_raised = False

    def install(self) -> None:
        for number in _ALL:
            handler = signal.getsignal(number)
            if callable(handler):  # else it is ignored, or ends us on the spot
                self._before[number] = handler
                signal.signal(number, self._handle)

    def restore(self) -> None:
        # Held back meanwhile, so that none of them raises before the last handler is where it was.
        held = signal.pthread_sigmask(signal.SIG_BLOCK, self._before)
        try:
            for number, handler in self._before.items():
                signal.signal(number, handler)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
        if not self._has_begun:
            self.begun()

    def begun(self) -> None:
        self._has_begun = True
        for number in self._waiting:
            self._hand_on(number, None)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self._has_begun:
            self._waiting.add(number)
        elif not self._has_raised:
            self._hand_on(number, frame)

    def _hand_on(self, number: int, frame: FrameType | None) -> None:
        try:
            self._before[number](number, frame)
        except BaseException:
            self._has_raised = True
            raise
