"""How a child process is started, by bidkit's supervisor or by a test."""

import ctypes
import os
import pwd
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Account:
    """A user to run a server as. Only root can switch to another user."""

    name: str
    uid: int
    gid: int

    @classmethod
    def named(cls, name: str) -> "Account":
        entry = pwd.getpwnam(name)
        return cls(name=name, uid=entry.pw_uid, gid=entry.pw_gid)


@dataclass(frozen=True, slots=True)
class Launch:
    """A command with its environment, user and stop signal."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    account: Account | None = None
    pass_fds: tuple[int, ...] = ()
    stop_signal: signal.Signals = signal.SIGTERM
    stop_within_s: float = 10.0
    orphan_signal: signal.Signals = field(default=signal.SIGTERM)
    """The signal that the kernel sends the child when its parent dies (Linux only)."""

    def options(self) -> dict[str, Any]:
        """Keyword arguments for `subprocess.Popen` and `asyncio.create_subprocess_exec` alike.

        Start it from a thread that lives as long as the program: the kernel takes the death of
        the thread that forked for the death of the parent.
        """
        options: dict[str, Any] = {
            "env": dict(self.env),
            "cwd": self.cwd,
            "pass_fds": self.pass_fds,
            # Its own session: Ctrl-C and hang-ups at the terminal are for the parent to handle.
            "start_new_session": True,
            "preexec_fn": _die_with_parent(self.orphan_signal),
        }
        if self.account:
            options |= {"user": self.account.uid, "group": self.account.gid, "extra_groups": ()}
        return options


def _die_with_parent(orphan_signal: signal.Signals) -> Callable[[], None] | None:
    """Asks the kernel to end the child with its parent.

    Runs after the switch of user, which would clear the request, and calls nothing but two system
    calls through a library that is already loaded: between fork and exec little else is safe.
    """
    if _libc is None:
        return None
    prctl, parent, number = _libc.prctl, os.getpid(), int(orphan_signal)

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:
            os._exit(1)

    return ask


def quiet_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The part of our environment that a server gets: library paths and the temporary directory."""
    kept = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
    return {name: os.environ[name] for name in kept if name in os.environ} | dict(extra or {})
