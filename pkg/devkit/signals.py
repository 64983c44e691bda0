"""Requests to stop: Ctrl-C, SIGTERM or a closed terminal."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Check = Callable[[], object]
"""Called every now and then during a wait; whatever it raises ends the wait."""

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def no_check() -> None:
    """For a wait that nothing ends early."""


class Cancellation:
    """A request to stop. A second Ctrl-C or SIGTERM asks whoever is draining to hurry."""

    def __init__(self) -> None:
        self.requested = threading.Event()
        self.hurried = threading.Event()

    def request(self, number: int = signal.SIGINT) -> None:
        # A closing terminal sends SIGHUP twice: once from its shell, once from the kernel.
        if self.requested.is_set() and number != signal.SIGHUP:
            self.hurried.set()
        self.requested.set()

    def check(self) -> None:
        """Raises KeyboardInterrupt once a stop was requested."""
        if self.requested.is_set():
            raise KeyboardInterrupt


@contextmanager
def cancellation() -> Iterator[Cancellation]:
    """Until the block ends, signals only set the token: what is running has to ask it."""
    token = Cancellation()
    with _handling(token.request):
        yield token


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Signals take effect when the block ends."""
    received: list[int] = []
    try:
        with _handling(received.append):
            yield
    finally:
        for number in received:
            signal.raise_signal(number)


def interrupt_on_termination() -> None:
    """From now on SIGTERM and a closed terminal raise KeyboardInterrupt, as Ctrl-C does.

    Only the first raises: a closing terminal sends SIGHUP twice, and must not break off clean-up.
    """
    seen = Cancellation()

    def handle(number: int, _: FrameType | None) -> None:
        if not seen.requested.is_set():
            seen.request(number)
            raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(number, handle)


@contextmanager
def _handling(receive: Callable[[int], object]) -> Iterator[None]:
    """Python delivers signals to the main thread; in any other this does nothing."""

    def handle(number: int, _: FrameType | None) -> None:
        receive(number)

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in _STOPPING:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP
                before[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
