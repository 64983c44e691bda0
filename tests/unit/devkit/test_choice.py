"""Which backend `up` takes, by a docker command that answers as the test has it."""

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
from tests.unit.devkit.compose.doubles import was_started

NO_ENGINE = 'echo "Cannot connect to the Docker daemon at unix:///x." >&2; exit 1'
NO_PLUGIN = "echo \"docker: 'compose' is not a docker command.\" >&2; exit 1"
HERE = Path(__file__)
"""Stands in for compose.yaml, of which only the presence counts here."""

ABSENT = 'echo "no such image" >&2; exit 1'


class Docker:
    """A command that knows four things to say."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "docker"
        self._images = folder / "images"
        self._images.write_text("".join(f"{name}\n" for name in needed()))
        self.answers()

    def answers(
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

    def is_gone(self) -> None:
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


def test_where_an_engine_answers_it_is_compose(docker: Docker, choice: Choice) -> None:
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
def test_elsewhere_it_is_processes_and_the_reason_is_told(
    docker: Docker, choice: Choice, answers: dict[str, str], reason: str
) -> None:
    docker.answers(**answers)  # type: ignore[arg-type]

    backend, why = choice.for_up(None)

    assert isinstance(backend, ProcessBackend)
    assert why is not None
    assert why.startswith("Running on process, as ")
    assert reason in why


@pytest.mark.parametrize("version", ["2.24.0", "v2.29.1-desktop.1", "5.0.0", "dev"])
def test_a_compose_plugin_that_knows_the_file_or_tells_no_number_will_do(
    docker: Docker, version: str
) -> None:
    docker.answers(compose=f"echo {version}")

    assert obstacle(HERE) is None


def test_without_the_command_it_is_processes(docker: Docker, choice: Choice) -> None:
    docker.is_gone()

    backend, _ = choice.for_up(None)

    assert isinstance(backend, ProcessBackend)


def test_a_checkout_without_a_compose_file_runs_on_processes(docker: Docker) -> None:
    assert obstacle(HERE / "compose.yaml") == "this checkout has no compose.yaml"


def test_images_that_a_registry_has_need_not_be_here(docker: Docker) -> None:
    docker.answers(has_images=False, registry="exit 0")

    assert obstacle(HERE) is None


@pytest.mark.parametrize("answers", [{"version": "sleep 60"}, {"registry": "sleep 60"}])
def test_an_engine_or_registry_that_hangs_is_not_waited_for(
    docker: Docker, answers: dict[str, str]
) -> None:
    docker.answers(has_images=False, **answers)
    began = time.monotonic()

    assert obstacle(HERE)

    assert time.monotonic() - began < 30  # of the sixty that it takes


def test_what_is_asked_for_is_taken_and_remembered(docker: Docker, choice: Choice) -> None:
    backend, why = choice.for_up(BackendName.PROCESS)

    assert (type(backend), why) == (ProcessBackend, None)
    assert isinstance(choice.of_verb(), ProcessBackend)


def test_data_left_on_the_other_backend_is_mentioned(docker: Docker, choice: Choice) -> None:
    choice.for_up(BackendName.PROCESS)

    _, why = choice.for_up(None)

    assert why is not None
    assert why.endswith("it last ran on process, where its data stays.")


def test_data_left_elsewhere_is_mentioned_also_to_one_who_asked_for_this_backend(
    docker: Docker, choice: Choice
) -> None:
    choice.for_up(BackendName.COMPOSE)

    first = choice.for_up(BackendName.PROCESS)[1]
    second = choice.for_up(BackendName.PROCESS)[1]

    assert (first, second) == ("It last ran on compose, where its data stays.", None)


def test_where_data_is_left_in_containers_that_cannot_be_had_no_empty_stores_are_started(
    docker: Docker, choice: Choice, tmp_path: Path
) -> None:
    choice.for_up(None)
    save(StateDir(tmp_path / "home").desired, Desired())
    docker.answers(images="sleep 60")

    with pytest.raises(BidkitError, match=r"not answered in 2 s\. Mend that .*up --on process`"):
        choice.for_up(None)
    backend, _ = choice.for_up(BackendName.PROCESS)

    assert isinstance(backend, ProcessBackend)


def test_the_other_backend_is_refused_while_one_runs(
    docker: Docker, choice: Choice, tmp_path: Path
) -> None:
    with (
        Home(tmp_path / "home").lock(),
        pytest.raises(BidkitError, match="runs on process, not compose; `bidkit down` stops it"),
    ):
        choice.for_up(BackendName.COMPOSE)


def test_a_mark_whose_engine_was_lost_keeps_nobody_from_processes(
    docker: Docker, choice: Choice, tmp_path: Path
) -> None:
    was_started(StateDir(tmp_path / "home"))
    docker.answers(version=NO_ENGINE, containers=NO_ENGINE)

    backend, _ = choice.for_up(BackendName.PROCESS)

    assert isinstance(backend, ProcessBackend)


def test_while_processes_run_they_are_meant_whatever_a_lost_engine_left(
    docker: Docker, choice: Choice, tmp_path: Path
) -> None:
    was_started(StateDir(tmp_path / "home"))

    with Home(tmp_path / "home").lock():
        meant = choice.of_verb()

    assert isinstance(meant, ProcessBackend)
    assert isinstance(choice.of_verb(), ComposeBackend)


@pytest.mark.parametrize("silence", [NO_ENGINE, 'echo "it is confused" >&2; exit 1'])
def test_while_an_engine_that_may_run_the_system_is_silent_up_starts_no_other(
    docker: Docker, choice: Choice, tmp_path: Path, silence: str
) -> None:
    was_started(StateDir(tmp_path / "home"))
    docker.answers(version=NO_ENGINE, containers=silence)

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
def test_compose_where_it_cannot_be_says_what_to_install(
    docker: Docker, choice: Choice, answers: dict[str, str], sentence: str
) -> None:
    docker.answers(**answers)  # type: ignore[arg-type]
    backend, _ = choice.for_up(BackendName.COMPOSE)

    with (
        Progress(console(), farewell="") as watcher,
        pytest.raises(MissingServer, match=sentence),
    ):
        backend.up(Options(), detach=True, watcher=watcher)


def test_compose_without_the_command_says_what_to_install(docker: Docker, choice: Choice) -> None:
    docker.is_gone()
    backend, _ = choice.for_up(BackendName.COMPOSE)

    with (
        Progress(console(), farewell="") as watcher,
        pytest.raises(MissingServer, match="docker is not on PATH; install Docker with"),
    ):
        backend.up(Options(), detach=True, watcher=watcher)
