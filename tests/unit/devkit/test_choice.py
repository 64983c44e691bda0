"""Which backend `up` chooses, with a fake docker command."""

import time
from pathlib import Path

import pytest

from pkg.devkit.backend import BackendName, Options
from pkg.devkit.choice import Choice
from pkg.devkit.compose.availability import obstacle
from pkg.devkit.compose.backend import ComposeBackend
from pkg.devkit.compose.images import needed
from pkg.devkit.compose.state_dir import StateDir
from pkg.devkit.errors import BidkitError, MissingServer
from pkg.devkit.home import Home, save
from pkg.devkit.process.backend import ProcessBackend
from pkg.devkit.progress import Progress
from pkg.devkit.system import Desired
from pkg.devkit.views import console
from tests.unit.devkit.compose.doubles import mark_started

NO_ENGINE = 'echo "Cannot connect to the Docker daemon at unix:///x." >&2; exit 1'
NO_PLUGIN = "echo \"docker: 'compose' is not a docker command.\" >&2; exit 1"
HERE = Path(__file__)
"""Any existing file: only the presence of compose.yaml matters here."""

ABSENT = 'echo "no such image" >&2; exit 1'


class Docker:
    """A fake docker command with configurable answers."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "docker"
        self._images = folder / "images"
        self._images.write_text("".join(f"{name}\n" for name in needed()))
        self.answer_with()

    def answer_with(
        self,
        *,
        version: str = "echo 27.0",
        compose: str = "echo 2.30",
        images: str = "",
        registry: str = "exit 1",
        has_images: bool = True,
        containers: str = "",
    ) -> None:
        listed = f"while read -r name; do echo $name; done <{self._images}"
        self._file.write_text(
            "#!/bin/sh\n"
            'case "$1 $2" in\n'
            f'"version "*) {version} ;;\n'
            f'"compose "*) {compose} ;;\n'
            f'"image ls") {images or (listed if has_images else ":")} ;;\n'
            f'"image inspect") {ABSENT} ;;\n'
            f'"manifest inspect") {registry} ;;\n'
            f'"ps "*) {containers or ":"} ;;\n'
            "*) exit 1 ;;\n"
            "esac\n"
        )
        self._file.chmod(0o755)

    def remove(self) -> None:
        self._file.unlink()


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sleep").symlink_to("/bin/sleep")
    monkeypatch.setenv("PATH", str(folder))
    return Docker(folder)


@pytest.fixture
def choice(tmp_path: Path) -> Choice:
    return Choice(Home(tmp_path / "home"), compose_file=HERE)


def test_compose_is_chosen_if_an_engine_answers(docker: Docker, choice: Choice) -> None:
    backend, why = choice.for_up(None)

    assert isinstance(backend, ComposeBackend)
    assert why == "Running on compose, as a Docker engine answers."


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"version": NO_ENGINE}, "no Docker engine answers"),
        ({"version": "echo"}, "no Docker engine answers"),
        ({"compose": NO_PLUGIN}, "docker has no compose plugin"),
        ({"compose": "echo 2.9.0"}, "docker's compose plugin is 2.9.0, older than 2.24"),
        ({"has_images": False}, "no registry in reach"),
        ({"version": "sleep 60"}, "the Docker engine has not answered in 2 s."),
        ({"compose": "sleep 60"}, "the Docker engine has not answered in 2 s."),
        ({"images": "sleep 60"}, "the Docker engine has not answered in 2 s."),
        ({"images": 'echo "it is confused." >&2; exit 1'}, "docker failed: it is confused."),
    ],
)
def test_otherwise_processes_are_chosen_and_the_reason_is_shown(
    docker: Docker, choice: Choice, answers: dict[str, str], reason: str
) -> None:
    docker.answer_with(**answers)  # type: ignore[arg-type]

    backend, why = choice.for_up(None)

    assert isinstance(backend, ProcessBackend)
    assert why is not None
    assert why.startswith("Running on process, as ")
    assert reason in why


@pytest.mark.parametrize("version", ["2.24.0", "v2.29.1-desktop.1", "5.0.0", "dev"])
def test_compose_plugin_of_a_recent_or_unknown_version_is_accepted(
    docker: Docker, version: str
) -> None:
    docker.answer_with(compose=f"echo {version}")

    assert obstacle(HERE) is None


def test_processes_are_chosen_without_a_docker_command(docker: Docker, choice: Choice) -> None:
    docker.remove()

    backend, _ = choice.for_up(None)

    assert isinstance(backend, ProcessBackend)


def test_processes_are_chosen_without_a_compose_file(docker: Docker) -> None:
    assert obstacle(HERE / "compose.yaml") == "this checkout has no compose.yaml"


def test_images_may_be_missing_if_a_registry_has_them(docker: Docker) -> None:
    docker.answer_with(has_images=False, registry="exit 0")

    assert obstacle(HERE) is None


@pytest.mark.parametrize("answers", [{"version": "sleep 60"}, {"registry": "sleep 60"}])
def test_hung_engine_or_registry_is_given_up_on(docker: Docker, answers: dict[str, str]) -> None:
    docker.answer_with(has_images=False, **answers)
    began = time.monotonic()

    assert obstacle(HERE)

    assert time.monotonic() - began < 30  # it hangs for sixty


def test_requested_backend_is_used_and_remembered(docker: Docker, choice: Choice) -> None:
    backend, why = choice.for_up(BackendName.PROCESS)

    assert (type(backend), why) == (ProcessBackend, None)
    assert isinstance(choice.of_verb(), ProcessBackend)


def test_data_on_the_other_backend_is_mentioned(docker: Docker, choice: Choice) -> None:
    choice.for_up(BackendName.PROCESS)

    _, why = choice.for_up(None)

    assert why is not None
    assert why.endswith("it last ran on process, where its data stays.")


def test_data_on_the_other_backend_is_mentioned_once_if_a_backend_is_requested(
    docker: Docker, choice: Choice
) -> None:
    choice.for_up(BackendName.COMPOSE)

    first = choice.for_up(BackendName.PROCESS)[1]
    second = choice.for_up(BackendName.PROCESS)[1]

    assert (first, second) == ("It last ran on compose, where its data stays.", None)


def test_up_refuses_to_start_empty_stores_if_the_data_is_on_an_unavailable_engine(
    docker: Docker, choice: Choice, tmp_path: Path
) -> None:
    choice.for_up(None)
    save(StateDir(tmp_path / "home").desired, Desired())
    docker.answer_with(images="sleep 60")

    with pytest.raises(BidkitError, match=r"not answered in 2 s\. Mend that .*up --on process`"):
        choice.for_up(None)
    backend, _ = choice.for_up(BackendName.PROCESS)

    assert isinstance(backend, ProcessBackend)


def test_other_backend_is_refused_while_one_runs(
    docker: Docker, choice: Choice, tmp_path: Path
) -> None:
    with (
        Home(tmp_path / "home").lock(),
        pytest.raises(BidkitError, match="runs on process, not compose; `bidkit down` stops it"),
    ):
        choice.for_up(BackendName.COMPOSE)


def test_mark_of_a_lost_engine_does_not_block_processes(
    docker: Docker, choice: Choice, tmp_path: Path
) -> None:
    mark_started(StateDir(tmp_path / "home"))
    docker.answer_with(version=NO_ENGINE, containers=NO_ENGINE)

    backend, _ = choice.for_up(BackendName.PROCESS)

    assert isinstance(backend, ProcessBackend)


def test_running_processes_win_over_the_mark_of_a_lost_engine(
    docker: Docker, choice: Choice, tmp_path: Path
) -> None:
    mark_started(StateDir(tmp_path / "home"))

    with Home(tmp_path / "home").lock():
        chosen = choice.of_verb()

    assert isinstance(chosen, ProcessBackend)
    assert isinstance(choice.of_verb(), ComposeBackend)


@pytest.mark.parametrize("containers", [NO_ENGINE, 'echo "it is confused" >&2; exit 1'])
def test_up_refuses_if_the_system_may_run_on_an_engine_that_does_not_answer(
    docker: Docker, choice: Choice, tmp_path: Path, containers: str
) -> None:
    mark_started(StateDir(tmp_path / "home"))
    docker.answer_with(version=NO_ENGINE, containers=containers)

    with pytest.raises(BidkitError, match=r"whether it still runs cannot be told: .*--on process`"):
        choice.for_up(None)


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ({"version": NO_ENGINE}, "no Docker engine answers .* Start it, or run on processes"),
        ({"compose": NO_PLUGIN}, "no compose plugin; install it .*docker-compose-plugin"),
        ({"compose": "echo v2.23.3"}, r"plugin is v2\.23\.3, older than 2\.24; install a newer"),
    ],
)
def test_error_of_unavailable_compose_says_what_to_install(
    docker: Docker, choice: Choice, answers: dict[str, str], sentence: str
) -> None:
    docker.answer_with(**answers)  # type: ignore[arg-type]
    backend, _ = choice.for_up(BackendName.COMPOSE)

    with (
        Progress(console(), farewell="") as watcher,
        pytest.raises(MissingServer, match=sentence),
    ):
        backend.up(Options(), detach=True, watcher=watcher)


def test_error_without_a_docker_command_says_what_to_install(
    docker: Docker, choice: Choice
) -> None:
    docker.remove()
    backend, _ = choice.for_up(BackendName.COMPOSE)

    with (
        Progress(console(), farewell="") as watcher,
        pytest.raises(MissingServer, match="docker is not on PATH; install Docker with"),
    ):
        backend.up(Options(), detach=True, watcher=watcher)
