"""A command of the archive, run once, in a container of its own."""

import contextlib
import secrets
import subprocess
import sys

from pkg.devkit import docker_cli
from pkg.devkit.compose import command
from pkg.devkit.compose.project import Project
from pkg.devkit.errors import BidkitError
from pkg.devkit.names import ARCHIVAL, MODULES
from pkg.devkit.signals import cancellation

_ENDS_WITHIN_S = 2.0
"""After its container was removed."""


def container_name(project: Project) -> str:
    """A new one, for a container that runs one command."""
    return f"{project.name}-command-{secrets.token_hex(4)}"


def run_command(
    project: Project, name: str, service: str, *arguments: str, terminal: bool = False
) -> list[str]:
    """Compose's command line that runs `python -m pkg.archival ARGUMENTS` as `service`."""
    return project.command(
        *("--progress", "quiet", "run", "--rm", "--name", name, "--no-deps"),
        *(() if terminal else ("--no-TTY",)),
        # The service `restore` has an entrypoint of its own, which would be put before ours.
        *("--entrypoint", "python", service, "-m", MODULES[ARCHIVAL], *arguments),
    )


def run_once(project: Project, service: str, *arguments: str) -> int:
    """Returns the command's exit code. The command uses our terminal.

    `service` of compose.yaml has the archive's image, and the settings that the command needs.

    When interrupted, ends the command and removes its container before raising KeyboardInterrupt.
    """
    name = container_name(project)
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    with cancellation() as token:
        process = subprocess.Popen(
            run_command(project, name, service, *arguments, terminal=terminal),
            env=project.environment,
            start_new_session=True,
        )
        try:
            return command.wait(process, token.check)
        except BaseException:
            # Without its container compose ends by itself and restores the terminal. A signal to
            # compose alone would leave the container running.
            _remove(name)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_ENDS_WITHIN_S)
            command.end(process)
            _remove(name)  # in case it was created after the first attempt
            raise


def _remove(container: str) -> None:
    with contextlib.suppress(BidkitError):  # not created yet, or already gone
        docker_cli.ask("rm", "--force", container)
