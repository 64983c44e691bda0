"""A command of a service in a container of its own, beside those that run."""

import contextlib
import secrets
import subprocess
import sys

from pkg.devkit.compose import command, engine
from pkg.devkit.compose.project import Project
from pkg.devkit.errors import BidkitError
from pkg.devkit.names import MODULES
from pkg.devkit.signals import interrupted_once

_ENDS_WITHIN_S = 2.0
"""Once its container is gone."""


def run_once(project: Project, service: str, *arguments: str) -> int:
    """The command's exit code. It has our terminal, which python-on-whales would not hand on.

    Nothing of it goes on when this is interrupted.
    """
    name = f"{project.name}-command-{secrets.token_hex(4)}"
    terminal = () if sys.stdin.isatty() and sys.stdout.isatty() else ("--no-TTY",)
    with interrupted_once() as begun:
        process = subprocess.Popen(
            project.command(
                *("--progress", "quiet", "run", "--rm", "--name", name, "--no-deps", *terminal),
                *(service, "python", "-m", MODULES[service], *arguments),
            ),
            env=project.environment,
            start_new_session=True,
        )
        try:
            begun()
            return process.wait()
        except BaseException:
            # With its container gone compose ends by itself, and leaves the terminal as it was; a
            # signal alone would end neither of the two.
            _remove(name)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_ENDS_WITHIN_S)
            command.end(process)
            _remove(name)  # made meanwhile
            raise


def _remove(container: str) -> None:
    with contextlib.suppress(BidkitError):  # not made yet, or gone by itself
        engine.ask("rm", "--force", container)
