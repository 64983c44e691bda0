"""A fake `docker` command, for tests with real processes and signals.

Run as `docker_command.py FOLDER ARGUMENTS`. It appends each call to FOLDER/calls. A container is a
file in FOLDER/containers: its name is the id, its content the service.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

ENVIRONMENT = {"BID_STRATEGY": "lua"}
PARTS = ("redis", "nats", "postgres", "edge", "archival-worker")


class DockerCommand:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._containers = folder / "containers"
        self._containers.mkdir(parents=True)
        self._program = f'{sys.executable} -SE {Path(__file__)} {folder} "$@"'
        self._write(f"exec {self._program}")

    def add_containers(self, *services: str) -> None:
        for number, service in enumerate(services, 1):
            (self._containers / f"id{number}").write_text(service)

    def delay(self, command: str, seconds: float) -> None:
        """Makes the command take that long; its begin and end are recorded in `calls`."""
        (self.folder / "delay").write_text(f"{seconds} {command}")

    def fail_with(self, message: str) -> None:
        self._write(f"echo '{message}' >&2; exit 1")

    def withhold_signals(self, verb: str) -> Path:
        """Makes `docker compose VERB` keep signals from its plugin, as docker does.

        The plugin prints one line. The returned file lists both pids; see `are_gone`.
        """
        pids = self.folder / "pids"
        self._write(
            f'case " $* " in *" {verb} "*)\n'
            f'  echo "$*" >>{self.folder}/calls\n'
            "  trap : TERM\n"
            f"  sh -c 'echo $PPID $$ >{pids}.new; mv {pids}.new {pids}\n"
            '    echo "redis-1  | hello"; exec sleep 20\' &\n'
            "  wait; wait ;;\n"
            f"*) exec {self._program} ;;\n"
            "esac"
        )
        return pids

    def ids(self) -> list[str]:
        return sorted(file.name for file in self._containers.iterdir())

    @property
    def calls(self) -> list[str]:
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def await_call(self, text: str) -> None:
        from tests.unit.devkit.compose.doubles import await_fact  # not needed by the program

        await_fact(lambda: any(text in line for line in self.calls), seen=lambda: self.calls[-5:])

    def _write(self, script: str) -> None:
        command = self.folder / "docker"
        command.write_text(f"#!/bin/sh\n{script}\n")
        command.chmod(0o755)


def inspected(file: Path) -> dict[str, Any]:
    labels = {
        "com.docker.compose.service": file.read_text(),
        "com.docker.compose.container-number": file.name.removeprefix("id"),
    }
    state = {"Status": "running", "ExitCode": 0, "OOMKilled": False, "Pid": 0, "StartedAt": "0001-"}
    return {
        "Id": file.name,
        "Name": f"/{file.name}",
        "State": state,
        "Config": {"Labels": labels, "Env": []},
        "NetworkSettings": {"Networks": {}},
    }


def up(containers: Path, options: list[str]) -> None:
    """Adds containers as --scale=SERVICE=NUMBER says, or one of each of PARTS."""
    scales = [text.split("=")[1:] for text in options if text.startswith("--scale=")]
    for service, number in scales or [[part, "1"] for part in PARTS]:
        here = [one.name for one in containers.iterdir() if one.read_text() == service]
        for _ in range(int(number) - len(here)):
            (containers / f"id{len(list(containers.iterdir())) + 1}").write_text(service)


def answer(words: list[str], options: list[str], containers: Path) -> str:
    match words:
        case ["version" | "compose", *_] if words[-1] == "version":
            return "99.0"
        case ["ps", *_]:
            return "\n".join(one.name for one in containers.iterdir())
        case ["container", "inspect", *ids]:
            return json.dumps([inspected(containers / one) for one in ids])
        case ["container", "rm", *ids]:
            for one in ids:
                (containers / one).unlink()
        case ["compose", "config"]:
            services = ("api-gateway", "broadcast-service", "archival-worker")
            service = {"environment": ENVIRONMENT}
            return json.dumps({"services": dict.fromkeys(services, service)})
        case ["compose", "up", *_]:
            up(containers, options)
        case ["compose", "down"]:
            for file in containers.iterdir():
                file.unlink()
    return ""


def main() -> None:
    folder, arguments = Path(sys.argv[1]), sys.argv[2:]
    options = [text for text in arguments if text.startswith("-")]
    with_value = {"--file", "--project-name", "--format", "--filter", "--time", "--tail"}
    words = [
        text
        for before, text in zip(["", *arguments], arguments, strict=False)
        if before not in with_value and not text.startswith("-")
    ]

    def record(line: str) -> None:
        with (folder / "calls").open("a") as calls:
            calls.write(f"{line}\n")

    def ended(*_: object) -> None:
        record(f"{command} was ended")
        os._exit(143)

    record(" ".join(arguments))
    delay = folder / "delay"
    seconds, _, command = delay.read_text().partition(" ") if delay.exists() else ("0", "", "-")
    if " ".join(words).startswith(command):
        signal.signal(signal.SIGTERM, ended)
        record(f"{command} is delayed")
        time.sleep(float(seconds))
    sys.stdout.write(f"{answer(words, options, folder / 'containers')}\n")


if __name__ == "__main__":
    main()
