"""PostgreSQL as a server. It refuses to run as root, and checks its data directory."""

import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pkg.devkit.errors import BidkitError, UnusableData
from pkg.devkit.process import probes
from pkg.devkit.process.launch import Account, Launch, quiet_environment
from pkg.devkit.process.outpost import Outpost, can_run
from pkg.devkit.process.servers import Server, delete_tree

USER = "bidding"
DATABASE = "bidding"
UNPRIVILEGED = "nobody"
_SPECIAL_TO_A_SHELL = frozenset('"$`\\\n')
_HALF_MADE = ".postgres-half-made-"


@dataclass
class PostgresServer(Server):
    """For one developer's machine: loopback only, no Unix socket, trust authentication."""

    name = "postgres"

    durable: bool = True
    """False skips every sync, for databases that need not outlive their process."""

    def __post_init__(self) -> None:
        self._account = Account.named(UNPRIVILEGED) if os.geteuid() == 0 else None
        self._bin = Path()
        self._cluster = self.data

    def prepare(self) -> None:
        bin_dir = self.programs.postgres_bin()
        self.data.parent.mkdir(parents=True, exist_ok=True)
        self._bin, self._cluster = bin_dir, self.data
        if not self._can_live_here(bin_dir):
            self._move_out(bin_dir)
        for abandoned in self._cluster.parent.glob(f"{_HALF_MADE}*"):
            delete_tree(abandoned)
        if _is_empty(self._cluster):
            self._make_cluster()
        _check_whole(self._cluster)
        self._check_version()

    def launch(self) -> Launch:
        settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "200",
            "log_checkpoints": "off",
        }
        if not self.durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        arguments = (part for name, value in settings.items() for part in ("-c", f"{name}={value}"))
        return Launch(
            argv=(str(self._bin / "postgres"), "-D", str(self._cluster), *arguments),
            env=quiet_environment(),
            cwd=self._cluster,
            account=self._account,
            # Fast shutdown: end the sessions, write a checkpoint, exit. SIGTERM would wait for
            # the sessions to end by themselves.
            stop_signal=signal.SIGINT,
            stop_within_s=20.0,
            orphan_signal=signal.SIGINT,
        )

    def unready(self) -> str | None:
        return probes.postgres_says(self.port, user=USER, database=DATABASE)

    def discard(self) -> None:
        Outpost.discard(self.data)
        super().discard()

    @property
    def url(self) -> str:
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def _can_live_here(self, bin_dir: Path) -> bool:
        """Whether data and programs may stay in the project.

        A clone below a private home shuts the account out. initdb puts its own path, in double
        quotes, on a shell's command line, so it does not work where the path has such characters.
        """
        if Outpost.noted(self.data):
            return False
        if _is_empty(self.data) and _SPECIAL_TO_A_SHELL.intersection(str(bin_dir)):
            return False
        account = self._account
        return account is None or can_run(account, bin_dir / "postgres", within=self.data.parent)

    def _move_out(self, bin_dir: Path) -> None:
        """Data that is already in the project is used; no new database is made beside it."""
        if not _is_empty(self.data):
            _check_whole(self.data)
            raise UnusableData(
                f"{self.data} holds data, and PostgreSQL, which as root runs as {UNPRIVILEGED}, "
                "cannot enter it. Nothing was changed; let others pass through the folders above "
                "it, or delete all data with `bidkit down --volumes`."
            )
        outpost = Outpost.of(self.data)
        self._bin = outpost.postgres(bin_dir)
        self._cluster = outpost.folder / "cluster"

    def _make_cluster(self) -> None:
        """Makes it in a neighbouring directory and renames it when it is complete."""
        making = Path(tempfile.mkdtemp(prefix=_HALF_MADE, dir=self._cluster.parent))
        if self._account:
            os.chown(making, self._account.uid, self._account.gid)
        initdb = [str(self._bin / "initdb"), "-D", str(making), "-U", USER, "--auth=trust"]
        initdb += ["--no-locale", "--encoding=UTF8", "--no-instructions"]
        self._run([*initdb, *([] if self.durable else ["--no-sync"])], cwd=making)
        single_user = [str(self._bin / "postgres"), "--single", "-D", str(making), "postgres"]
        self._run(single_user, cwd=making, stdin=f"CREATE DATABASE {DATABASE};\n")
        if self._cluster.exists():
            self._cluster.rmdir()
        making.rename(self._cluster)

    def _check_version(self) -> None:
        made_by = (self._cluster / "PG_VERSION").read_text().strip()
        ours = self._run([str(self._bin / "postgres"), "--version"], cwd=self._cluster).split()[2]
        if made_by != ours.split(".", maxsplit=1)[0]:
            raise UnusableData(
                f"{self._cluster} was made by PostgreSQL {made_by}, the one found here is {ours}. "
                "Nothing was changed; install the former, or delete all data with "
                "`bidkit down --volumes`."
            )

    def _run(self, argv: list[str], *, cwd: Path, stdin: str = "") -> str:
        launch = Launch(argv=tuple(argv), env=quiet_environment(), cwd=cwd, account=self._account)
        ran: subprocess.CompletedProcess[str] = subprocess.run(
            argv,
            **launch.options(),
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if ran.returncode != 0:
            last = ran.stdout.strip().splitlines()[-3:]
            raise BidkitError(f"{Path(argv[0]).name} failed: {' '.join(last)}")
        return ran.stdout


def _is_empty(cluster: Path) -> bool:
    return not cluster.exists() or not any(cluster.iterdir())


def _check_whole(cluster: Path) -> None:
    for needed in ("PG_VERSION", "global/pg_control"):
        if not (cluster / needed).is_file():
            raise UnusableData(
                f"{cluster} is not a whole PostgreSQL data directory: {needed} is missing. "
                "Nothing was changed; `bidkit down --volumes` deletes all data, `bidkit up` then "
                "starts afresh."
            )
