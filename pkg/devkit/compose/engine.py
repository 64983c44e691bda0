"""What the Docker engine is asked, through its own command line.

Compose is driven in project.py. What is asked all the time comes from here: python-on-whales would
inspect containers one by one, and takes half a second to import, which `bidkit get` need not pay.
"""

import json
import re
import subprocess
from collections.abc import Sequence
from typing import Any

from pkg.devkit.compose.container import Container, container_of
from pkg.devkit.errors import BidkitError, MissingServer

ANSWER_WITHIN_S = 20.0
_TRIES = 3
_COMPOSE_SINCE = (2, 24)
"""The first that knows an `env_file` that need not exist (Compose file reference, `env_file`)."""
PROJECT_LABEL = "com.docker.compose.project"
_OR_PROCESSES = "or run on processes: `bidkit up --on process`."
_UNREACHABLE = re.compile(
    r"cannot connect to the docker daemon|error during connect|permission denied.*docker"
    r"|failed to connect to the docker|no such host|connection refused",
    re.IGNORECASE,
)


class NoEngine(MissingServer):
    """No Docker engine answers, or its command or compose plugin is missing. Nothing was done."""

    def __init__(self, reason: str, advice: str = "") -> None:
        super().__init__(f"{reason}{advice or '.'}")
        self.reason = reason


def reason(error: BidkitError) -> str:
    """What is the matter, without what to do about it and without a full stop."""
    return error.reason if isinstance(error, NoEngine) else str(error).removesuffix(".")


def ask(*arguments: str, within_s: float = ANSWER_WITHIN_S) -> str:
    """What `docker ARGUMENTS` writes. Raises BidkitError with its last words.

    In a session of its own: Ctrl-C at the terminal, for bidkit, is no failure of docker's.
    """
    try:
        ran = subprocess.run(
            ("docker", *arguments),
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise NoEngine(
            "the command docker is not on PATH",
            f"; install Docker with its compose plugin, {_OR_PROCESSES}",
        ) from None
    except subprocess.TimeoutExpired:
        raise NoEngine(f"the Docker engine has not answered in {within_s:g} s") from None
    if ran.returncode:
        raise complaint(ran.stderr)
    return ran.stdout


def complaint(stderr: str) -> BidkitError:
    """The error that docker's last words make."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    last = lines[-1] if lines else "it left no word"
    if any(_UNREACHABLE.search(line) for line in lines):
        return NoEngine(f"no Docker engine answers ({last})", f". Start it, {_OR_PROCESSES}")
    return BidkitError(f"docker failed: {last}")


def engine_version(*, within_s: float = ANSWER_WITHIN_S) -> str:
    """Raises NoEngine."""
    version = ask("version", "--format", "{{.Server.Version}}", within_s=within_s).strip()
    if not version:
        raise complaint("Cannot connect to the Docker daemon")
    return version


def compose_version(*, within_s: float = ANSWER_WITHIN_S) -> str:
    """Raises NoEngine, also for one that is too old for the compose file."""
    try:
        version = ask("compose", "version", "--short", within_s=within_s).strip()
    except NoEngine:
        raise
    except BidkitError:  # docker knows no such command
        version = ""
    if not version:
        raise NoEngine(
            "docker has no compose plugin",
            f"; install it (the package docker-compose-plugin), {_OR_PROCESSES}",
        )
    number = re.match(r"v?(\d+)\.(\d+)", version)
    if number and tuple(map(int, number.groups())) < _COMPOSE_SINCE:
        since = ".".join(map(str, _COMPOSE_SINCE))
        raise NoEngine(
            f"docker's compose plugin is {version}, older than {since}",
            f"; install a newer one (the package docker-compose-plugin), {_OR_PROCESSES}",
        )
    return version


def missing_images(names: Sequence[str], *, within_s: float = ANSWER_WITHIN_S) -> list[str]:
    """Those that this engine does not hold."""
    held = {
        name
        for line in ask(
            "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", within_s=within_s
        ).splitlines()
        for name in (line, line.removesuffix(":latest"))
    }
    # A name with a digest, or of another registry's spelling, is in no list.
    return [name for name in names if name not in held and not _holds(name, within_s=within_s)]


def image_ids(names: Sequence[str]) -> dict[str, str]:
    """By name; one that is missing is left out."""
    return {name: found for name in names if (found := _image_id(name))}


def _holds(name: str, *, within_s: float) -> bool:
    return bool(_image_id(name, within_s=within_s))


def _image_id(name: str, *, within_s: float = ANSWER_WITHIN_S) -> str | None:
    try:
        return ask("image", "inspect", "--format", "{{.Id}}", name, within_s=within_s).strip()
    except NoEngine:
        raise
    except BidkitError:
        return None


def containers(project: str) -> list[Container]:
    """All of the project, stopped ones too, in order; less those that ran for one command.

    Raises BidkitError.
    """
    for _ in range(_TRIES):
        ids = ask("ps", "-aq", "--no-trunc", "--filter", f"label={PROJECT_LABEL}={project}").split()
        if not ids:
            return []
        try:
            found: list[dict[str, Any]] = json.loads(ask("container", "inspect", *ids))
        except NoEngine:
            raise
        except BidkitError as error:
            if "No such container" in str(error):  # it was removed in between
                continue
            raise
        return sorted(
            (container_of(one) for one in found if not _is_oneoff(one)),
            key=lambda one: (one.service, one.number),
        )
    raise BidkitError("containers come and go here faster than they can be looked at; try again.")


def volumes(project: str) -> list[str]:
    return ask("volume", "ls", "-q", "--filter", f"label={PROJECT_LABEL}={project}").split()


def networks(project: str) -> list[str]:
    return ask("network", "ls", "-q", "--filter", f"label={PROJECT_LABEL}={project}").split()


def tail(container: str, lines: int) -> list[str]:
    """The last lines that a container has said, on either stream."""
    try:
        ran = subprocess.run(
            ("docker", "logs", "--tail", str(lines), container),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=ANSWER_WITHIN_S,
            check=False,
            start_new_session=True,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return ran.stdout.decode(errors="replace").splitlines() if ran.returncode == 0 else []


def _is_oneoff(inspected: dict[str, Any]) -> bool:
    labels: dict[str, str] = inspected["Config"]["Labels"]
    return labels.get("com.docker.compose.oneoff") == "True"
