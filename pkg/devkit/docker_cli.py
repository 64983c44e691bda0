"""The `docker` command: run, and its failures told apart."""

import re
import subprocess

from pkg.devkit.errors import BidkitError, MissingServer

ANSWER_WITHIN_S = 20.0
PROJECT_LABEL = "com.docker.compose.project"
OR_PROCESSES = "or run on processes: `bidkit up --on process`."

_UNREACHABLE = re.compile(
    r"cannot connect to the docker daemon|error during connect|permission denied.*docker"
    r"|failed to connect to the docker|no such host|connection refused",
    re.IGNORECASE,
)


class NoEngine(MissingServer):
    """No Docker engine answers, or the docker command or compose plugin is missing.

    Nothing was done.
    """

    def __init__(self, reason: str, advice: str = "") -> None:
        super().__init__(f"{reason}{advice or '.'}")
        self.reason = reason


def reason(error: BidkitError) -> str:
    """The error's message without advice or full stop, to be used within a sentence."""
    return error.reason if isinstance(error, NoEngine) else str(error).removesuffix(".")


def ask(*arguments: str, within_s: float = ANSWER_WITHIN_S) -> str:
    """The output of `docker ARGUMENTS`. Raises BidkitError with the last line of its stderr.

    It runs in a session of its own, so that Ctrl-C at the terminal does not end it.
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
            f"; install Docker with its compose plugin, {OR_PROCESSES}",
        ) from None
    except subprocess.TimeoutExpired:
        raise no_answer(within_s) from None
    if ran.returncode:
        raise failure(ran.stderr)
    return ran.stdout


def no_answer(within_s: float) -> NoEngine:
    return NoEngine(f"the Docker engine has not answered in {within_s:g} s")


def failure(stderr: str) -> BidkitError:
    """The error that docker reports in `stderr`."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    last = lines[-1] if lines else "without a message"
    if any(_UNREACHABLE.search(line) for line in lines):
        return NoEngine(f"no Docker engine answers ({last})", f". Start it, {OR_PROCESSES}")
    return BidkitError(f"docker failed: {last}")


def engine_version(*, within_s: float = ANSWER_WITHIN_S) -> str:
    """Raises NoEngine."""
    version = ask("version", "--format", "{{.Server.Version}}", within_s=within_s).strip()
    if not version:
        raise failure("Cannot connect to the Docker daemon")
    return version
