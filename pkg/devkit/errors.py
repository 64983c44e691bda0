# ruff: noqa: N818 - they read as what is the matter: `raise PortTaken(…)`
"""bidkit's errors and their exit codes.

BidkitError            1  something failed; the message says what
├─ BadArgument         2  an argument names nothing that exists, or makes no sense
├─ NotRunning          3  there is no running system to ask
├─ BidRefused          4  a rule of the auction refused the bid
├─ PortTaken           5  a port that the system should serve on is in use
├─ MissingServer       6  a server's program, or a Docker engine, is not on this machine
├─ UnusableData        7  a data directory cannot be used as it is
└─ NotReady            8  something did not get ready in time

0 is success. A foreground `up` also exits with 0 if it is interrupted after everything was ready:
that is how to stop it. Any other interrupt gives 130. `audit`, `restore`, `redrive` and `test` exit
with the code of what they run.
"""

from typing import ClassVar


class BidkitError(Exception):
    """Something failed; the message is a sentence for the person at the terminal."""

    exit_code: ClassVar[int] = 1


class BadArgument(BidkitError):
    """An argument names nothing that exists, or makes no sense. Nothing was done."""

    exit_code = 2


class NotRunning(BidkitError):
    """There is no running system. Nothing was done."""

    exit_code = 3


class BidRefused(BidkitError):
    """A rule of the auction refused the bid. The item is unchanged by it."""

    exit_code = 4


class PortTaken(BidkitError):
    """Another program listens on the port. Nothing was started."""

    exit_code = 5


class MissingServer(BidkitError):
    """A server's program was found neither in a wheel nor on PATH. Nothing was started."""

    exit_code = 6


class UnusableData(BidkitError):
    """A data directory is incomplete, gone or of another version. It was not touched."""

    exit_code = 7


class NotReady(BidkitError):
    """Something did not get ready in time. What was started may still be running."""

    exit_code = 8


def error_of(exit_code: int, message: str) -> BidkitError:
    """The error that another process of bidkit exited with."""
    for kind in BidkitError.__subclasses__():
        if vars(kind).get("exit_code") == exit_code:  # its own, none that it inherited
            return kind(message)
    return BidkitError(message)
