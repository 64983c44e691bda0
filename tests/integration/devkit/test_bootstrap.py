"""The `bidkit` script, in a tiny project without requirements whose dev kit echoes."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

ECHO = """
import json, os, sys
print(json.dumps([sys.argv[1:], os.getcwd(), sys.prefix, os.environ.get("PYTHONHOME")]))
"""


class Project:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script = folder / "bidkit"
        self.venv = folder / ".venv"
        self.first: subprocess.CompletedProcess[str] | None = None
        (folder / "pkg" / "devkit").mkdir(parents=True)
        (folder / "pkg" / "devkit" / "__main__.py").write_text(ECHO)
        (folder / "requirements").mkdir()
        (folder / "requirements" / "devkit.txt").write_text("")
        shutil.copy(ROOT / "bidkit", self.script)

    def run(
        self, *arguments: str, script: Path | None = None, **env: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", str(script or self.script), *arguments],
            env={**self.environment, **env},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), "PYTHON": sys.executable}


@pytest.fixture
def fresh(tmp_path: Path) -> Project:
    return Project(tmp_path / "a clone with spaces")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("bootstrap") / "a clone with spaces")
    project.first = project.run("get", "two words")
    return project


def test_first_start_installs_and_says_so(installed: Project) -> None:
    first = installed.first

    assert first
    assert first.stderr == "Installing the dev kit into .venv (once) …\n"
    assert first.stdout == f'[["get", "two words"], "/", "{installed.venv}", null]\n'
    assert not (installed.folder / ".bidkit" / "installing").exists()


def test_later_starts_install_nothing(installed: Project) -> None:
    later = installed.run("get")

    assert (later.returncode, later.stderr) == (0, "")


def test_it_works_through_symlinks_and_ignores_python_variables(
    installed: Project, tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(installed.script)
    (tmp_path / "linked").symlink_to("link")

    ran = installed.run(script=tmp_path / "linked", PYTHONHOME="/nowhere", CDPATH="/usr")

    assert (ran.returncode, ran.stderr) == (0, "")
    assert str(installed.venv) in ran.stdout


def test_changed_requirements_are_installed_into_the_existing_environment(
    installed: Project,
) -> None:
    marker = installed.venv / "kept"
    marker.touch()
    (installed.folder / "requirements" / "devkit.txt").write_text("# changed\n")

    changed, again = installed.run(), installed.run()

    assert ("Installing" in changed.stderr, again.stderr) == (True, "")
    assert marker.exists()


def test_a_venv_that_lost_a_package_is_made_anew(installed: Project) -> None:
    leftover = installed.venv / "leftover"
    leftover.touch()
    (pip,) = installed.venv.glob("lib/python3*/site-packages/pip-*.dist-info")
    shutil.rmtree(pip)

    ran = installed.run()

    assert (ran.returncode, leftover.exists()) == (0, False)
    assert "Installing" in ran.stderr
    assert installed.run().stderr == ""


def test_a_package_of_the_callers_is_not_taken_for_one_that_is_needed(
    fresh: Project, tmp_path: Path
) -> None:
    """pip skips what it finds installed, and finds what is on PYTHONPATH."""
    wheel, callers = fresh.folder / "thing-1.0-py3-none-any.whl", tmp_path / "callers"
    info = "thing-1.0.dist-info"
    metadata = "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("thing.py", "")
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(f"{info}/RECORD", "")
    (callers / info).mkdir(parents=True)
    (callers / info / "METADATA").write_text(metadata)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    requirement = f"thing @ {wheel.as_uri()} --hash=sha256:{digest}\n"
    (fresh.folder / "requirements" / "devkit.txt").write_text(requirement)

    ran = fresh.run(PYTHONPATH=str(callers), PIP_TARGET=str(tmp_path / "target"))

    assert ran.returncode == 0, ran.stderr
    assert list(fresh.venv.glob("lib/python3*/site-packages/thing.py"))
    assert not (tmp_path / "target").exists()


def test_interrupted_installation_starts_over(installed: Project) -> None:
    leftover = installed.venv / "leftover"
    leftover.touch()
    (installed.venv / "bidkit-stamp").unlink()
    (installed.venv / "bidkit-unfinished").touch()

    ran = installed.run()

    assert (ran.returncode, leftover.exists()) == (0, False)
    assert installed.run().stderr == ""


def test_stale_lock_is_removed(installed: Project) -> None:
    lock = installed.folder / ".bidkit" / "installing"
    lock.mkdir()
    gone = subprocess.Popen(["/bin/true"])
    gone.wait()
    (lock / "pid").write_text(f"{gone.pid}\n")
    (installed.venv / "bidkit-stamp").unlink()

    ran = installed.run()

    assert (ran.returncode, lock.exists()) == (0, False)


def test_two_first_starts_at_once_install_once(fresh: Project) -> None:
    both = [
        subprocess.Popen(
            ["/bin/sh", str(fresh.script)],
            env=fresh.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]

    result = [process.communicate(timeout=60)[1] for process in both]

    assert [process.returncode for process in both] == [0, 0]
    assert sorted(result) == ["", "Installing the dev kit into .venv (once) …\n"]


def test_interrupted_installation_leaves_no_lock(fresh: Project) -> None:
    # Like Ctrl-C in a terminal: the whole process group gets the signal.
    process = subprocess.Popen(
        ["/bin/sh", str(fresh.script)],
        env=fresh.environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    process.stderr.readline()

    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=30)

    assert process.returncode != 0
    assert not (fresh.folder / ".bidkit" / "installing").exists()


def test_missing_python_is_reported_in_one_sentence(fresh: Project) -> None:
    tools = fresh.folder / "tools"
    tools.mkdir()
    for tool in ("cat", "cksum", "dirname", "grep", "mkdir", "mv", "rm", "sleep", "tail"):
        (tools / tool).symlink_to(str(shutil.which(tool)))

    ran = fresh.run(PATH=str(tools), PYTHON="")

    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1].startswith("bidkit: no Python 3.11, 3.12 or 3.13 was found")


def test_failed_installation_says_why(installed: Project) -> None:
    requirements = installed.folder / "requirements" / "devkit.txt"
    requirements.write_text("not-pinned\n")

    ran = installed.run()

    requirements.write_text("")
    assert ran.returncode == 1
    assert "bidkit: the installation failed" in ran.stderr
    assert "ERROR" in ran.stderr
    assert not (installed.folder / ".bidkit" / "installing").exists()
