"""Images built and pushed, and services rolled, by the commands that the guide shows too.

The commands are Terraform's output `deployment_commands`. Those of docker are run as they are; what
`aws` does in the others is done through the API, as not everybody has that program.
"""

import base64
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from pkg.devkit.backend import Say
from pkg.devkit.cloud.aws import Aws
from pkg.devkit.cloud.command import CommandFailed, run
from pkg.devkit.cloud.emulator import build_arguments
from pkg.devkit.cloud.place import Place
from pkg.devkit.docker_cli import ask
from pkg.devkit.errors import BidkitError
from pkg.devkit.settings import PROJECT
from pkg.devkit.signals import Check

_UPDATE = ("aws", "ecs", "update-service")
_LOGIN = ("aws", "ecr", "get-login-password")
_DOCKER = ("build", "tag", "push")


@dataclass(frozen=True, slots=True)
class Commands:
    docker: tuple[str, ...]
    """As written; run by a shell."""
    registry: str
    services: tuple[str, ...]
    """Names in ECS, to be rolled."""


def parse(text: str) -> Commands:
    """Raises BidkitError for a command that this doesn't know: none is left out silently."""
    docker: list[str] = []
    services: list[str] = []
    registry = ""
    for line in text.splitlines():
        words = shlex.split(line)
        if words[:1] == ["docker"] and words[1] in _DOCKER:
            docker.append(line)
        elif tuple(words[:3]) == _LOGIN:
            registry = words[-1]
        elif tuple(words[:3]) == _UPDATE:
            services.append(words[words.index("--service") + 1])
        elif words and words[:2] != ["export", "AWS_PAGER="] and words[0] != ":":
            raise BidkitError(f"bidkit does not know this deployment command: {line}")
    if not (docker and services and registry):
        raise BidkitError("Terraform's output deployment_commands is incomplete.")
    return Commands(tuple(docker), registry, tuple(services))


def check_registry(commands: Commands, place: Place, registry: str | None) -> None:
    """Raises BidkitError unless every push goes where `place` is."""
    pushed = [shlex.split(line)[-1] for line in commands.docker if line.startswith("docker push")]
    hosts = {commands.registry, *(name.partition("/")[0] for name in pushed)}
    well = hosts == {registry} if place.emulated else all(".dkr.ecr." in host for host in hosts)
    if not well:
        where = "the emulator" if place.emulated else "AWS"
        raise BidkitError(
            f"images would go to {', '.join(sorted(hosts))}, not to {where}; nothing was pushed."
        )


def login(commands: Commands, aws: Aws, environment: Mapping[str, str], check: Check) -> None:
    answer = aws.ask("ecr", "get_authorization_token")
    token = base64.b64decode(answer["authorizationData"][0]["authorizationToken"]).decode()
    command = ("docker", "login", "--username", "AWS", "--password-stdin", commands.registry)
    try:
        run(
            command,
            environment=environment,
            folder=PROJECT,
            check=check,
            given=token.partition(":")[2],
        )
    except CommandFailed as error:
        raise BidkitError(f"docker cannot log in at {commands.registry}:\n  {error}") from error


def push(commands: Commands, environment: Mapping[str, str], *, say: Say, check: Check) -> None:
    """Raises BidkitError with the last lines of what failed."""
    arguments = " ".join(shlex.quote(text) for text in build_arguments(environment))
    for line in commands.docker:
        verb, what = line.split()[1], shlex.split(line)
        if verb == "build":
            say(f"building the image {what[what.index('-t') + 1]}")
        elif verb == "push":
            say(f"pushing {what[-1]}")
        script = line.replace("docker build", f"docker build {arguments}".rstrip(), 1)
        try:
            run(("sh", "-euc", script), environment=environment, folder=PROJECT, check=check)
        except CommandFailed as error:
            raise BidkitError(f"`{line}` failed; it ended with:\n  {error}") from error


def forget_images(registry: str) -> None:
    """Logs out, and takes the emulator's names from images; the images themselves stay."""
    try:
        names = ask(
            *("image", "ls", "--filter", f"reference={registry}/*/*"),
            *("--format", "{{.Repository}}:{{.Tag}}"),
        ).split()
        for name in names:
            ask("rmi", "--no-prune", name)
        ask("logout", registry)
    except BidkitError:
        return  # names only: whoever wants them gone sees them in `docker images`
