"""The bench and a Docker engine that fails or hangs, by a fake `docker` command."""

import asyncio
import tempfile
from pathlib import Path

import pytest

from pkg.devkit import docker_cli
from pkg.devkit.compose.container import container_of
from pkg.devkit.compose.project import Project
from pkg.devkit.compose.state_dir import StateDir
from pkg.devkit.errors import BidkitError
from pkg.devkit.system import Desired
from pkg.trials.faults.containers.backend import end_leftovers
from pkg.trials.faults.containers.container import Container
from pkg.trials.faults.containers.services import ContainerServices
from pkg.trials.waiting import NotInTimeError, until
from tests.unit.devkit.compose.docker_command import DockerCommand
from tests.unit.devkit.compose.doubles import are_gone
from tests.unit.devkit.compose.test_container import inspected


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fake `docker` that hangs in compose and on `hangs`, and fails on all but `rm`.

    Returns the file of its calls, one per line.
    """
    calls = tmp_path / "calls"
    command = tmp_path / "bin" / "docker"
    command.parent.mkdir()
    command.write_text(
        "#!/bin/sh\n"
        f'echo "$@" >>{calls}\n'
        'case "$*" in\n'
        "compose*|*hangs) exec /bin/sleep 60 ;;\n"
        "rm*) exit 0 ;;\n"
        "*) echo no such container >&2; exit 1 ;;\n"
        "esac\n"
    )
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(command.parent))
    return calls


def test_command_that_times_out_leaves_no_container(docker: Path, tmp_path: Path) -> None:
    project = Project(StateDir(tmp_path / "home"), Desired())
    services = ContainerServices(project, 8000, [], [], [])

    with pytest.raises(NotInTimeError, match="audit: not within"):
        asyncio.run(services.command("audit", environment={}, within_s=0.5))

    run, removal = docker.read_text().splitlines()
    name = run.partition("--name ")[2].split()[0]
    assert removal == f"rm --force {name}"


@pytest.mark.parametrize("times", [1, 3])
def test_cancelled_command_has_ended_before_the_next_row(
    state_dir: StateDir, docker_command: DockerCommand, times: int
) -> None:
    services = ContainerServices(Project(state_dir, Desired()), 8000, [], [], [])
    pids = docker_command.withhold_signals("run")

    async def cancel_row() -> None:
        row = asyncio.create_task(services.command("restore", environment={}, within_s=60))
        await until(pids.exists, within_s=10)
        for _ in range(times):
            row.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await row

    asyncio.run(cancel_row())

    name = docker_command.calls[0].partition("--name ")[2].split()[0]
    assert docker_command.calls[1:] == [f"rm --force {name}"]
    assert are_gone(pids)


@pytest.mark.parametrize("name", ["gone", "hangs"])
def test_unreadable_log_is_an_error(
    docker: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_cli, "ANSWER_WITHIN_S", 0.3)
    container = Container(container_of({**inspected(), "Id": name}), network="default")

    with pytest.raises(BidkitError, match="the log of api-gateway-1 could not be read"):
        container.log_contains("Traceback")

    assert docker.exists()


def test_leftover_folder_that_vanishes_meanwhile_is_skipped(
    docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    # Listed, but gone when it is inspected.
    (tmp_path / "bidkit-faults-compose-gone").symlink_to(tmp_path / "nowhere")

    end_leftovers()

    assert not docker.exists()
