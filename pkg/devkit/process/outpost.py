"""A folder outside the project for a server whose user may not enter the project.

PostgreSQL refuses to run as root, and the unprivileged user it then runs as cannot enter, say, a
clone below /root. So its cluster and a copy of its programs go to a directory of their own. A note
beside the data directory's place remembers where, so that the next start finds the data again.
"""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pkg.devkit.errors import BidkitError, UnusableData
from pkg.devkit.process.launch import Account

_PROGRAMS = "programs"


@dataclass(frozen=True, slots=True)
class Outpost:
    folder: Path

    @staticmethod
    def noted(data: Path) -> bool:
        return _note(data).is_file()

    @classmethod
    def of(cls, data: Path) -> Self:
        """The outpost of a data directory. Makes and records one if there is none.

        Raises UnusableData when the one noted is gone: starting afresh in silence would look like
        lost bids.
        """
        note = _note(data)
        if note.is_file():
            folder = Path(note.read_text().strip())
            if not folder.is_dir() or folder.stat().st_uid != os.geteuid():
                raise UnusableData(
                    f"{note} says the data is in {folder}, which is gone. Nothing was changed; "
                    "`bidkit down --volumes` forgets it, `bidkit up` then starts afresh."
                )
            return cls(folder)
        folder = Path(tempfile.mkdtemp(prefix="bidkit-", dir=_lasting_temporary_directory()))
        # Others may pass through but not list it; its contents have their own permissions.
        folder.chmod(0o711)
        note.write_text(f"{folder}\n")
        return cls(folder)

    @classmethod
    def discard(cls, data: Path) -> None:
        note = _note(data)
        if not note.is_file():
            return
        folder = Path(note.read_text().strip())
        if folder.is_dir() and folder.stat().st_uid == os.geteuid():
            shutil.rmtree(folder)
        note.unlink()

    def postgres(self, bin_dir: Path) -> Path:
        """A copy of the programs' directory that everyone may run, made if it is missing.

        The copy is renamed into place when whole, and made again for another version.
        """
        programs = self.folder / _PROGRAMS
        source = programs / "copied-from"
        if not source.is_file() or source.read_text() != _fingerprint(bin_dir):
            if programs.exists():
                shutil.rmtree(programs)
            with tempfile.TemporaryDirectory(dir=self.folder) as making:
                copied = Path(making) / _PROGRAMS
                _copy(bin_dir, copied)
                (copied / "copied-from").write_text(_fingerprint(bin_dir))
                copied.rename(programs)
        return programs.joinpath(*bin_dir.parts[-3:])


def can_run(account: Account, program: Path, *, within: Path) -> bool:
    """Whether the account may enter `within` and run the program, checked as that account.

    Walking the permission bits would miss access lists and mount options.
    """
    try:
        asked = subprocess.run(
            ["/bin/sh", "-c", 'cd "$1" && test -x "$2"', "sh", str(within), str(program)],
            cwd="/",
            user=account.uid,
            group=account.gid,
            extra_groups=(),
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except PermissionError as error:
        raise BidkitError(
            f"PostgreSQL refuses to run as root, and this root may not switch to {account.name}: "
            f"{error}. Run bidkit as an ordinary user."
        ) from error
    return asked.returncode == 0


def _note(data: Path) -> Path:
    return data.with_name(f"{data.name}.elsewhere")


def _lasting_temporary_directory() -> str:
    """Prefers a directory that survives a reboot."""
    lasting = Path("/var/tmp")  # noqa: S108 - what is made there is made by mkdtemp
    return str(lasting) if lasting.is_dir() else tempfile.gettempdir()


def _fingerprint(bin_dir: Path) -> str:
    about = (bin_dir / "postgres").stat()
    return f"{bin_dir} {about.st_size} {about.st_mtime_ns}"


def _copy(bin_dir: Path, to: Path) -> None:
    """PostgreSQL's programs with the libraries and shared files they find by relative paths; what
    only compiling against it needs is left out.
    """
    install = bin_dir.parent
    libraries = install.parent.with_name(f"{install.parent.name}.libs")
    unneeded = shutil.ignore_patterns("include", "*.a", "pkgconfig")
    shutil.copytree(install, to / install.parent.name / install.name, ignore=unneeded)
    if libraries.is_dir():
        shutil.copytree(libraries, to / libraries.name)
    _open_to_all(to)


def _open_to_all(tree: Path) -> None:
    """Makes the copy readable whatever umask made the original."""
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            runnable = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if runnable else 0o644)
