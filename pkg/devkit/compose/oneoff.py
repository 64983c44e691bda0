"""A command of a service in a container of its own, beside those that run."""

import subprocess
import sys

from pkg.devkit.compose.project import Project
from pkg.devkit.names import MODULES


def run_once(project: Project, service: str, *arguments: str) -> int:
    """The command's exit code. It has our terminal, which python-on-whales would not hand on."""
    terminal = () if sys.stdin.isatty() and sys.stdout.isatty() else ("--no-TTY",)
    ran = subprocess.run(
        project.command(
            *("--progress", "quiet", "run", "--rm", "--no-deps", *terminal),
            *(service, "python", "-m", MODULES[service], *arguments),
        ),
        env=project.environment,
        check=False,
    )
    return ran.returncode
