"""The real servers: what each needs on disk, how it is started, and how one knows that it is up.

One definition serves the supervisor and the tests; they differ in who starts and waits.
"""

import shutil
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from pkg.devkit.nats_users import ADMINISTRATOR, NatsUsers
from pkg.devkit.process import probes
from pkg.devkit.process.launch import Launch, quiet_environment
from pkg.devkit.process.wheels import Programs

REDIS_MAX_MEMORY = "512mb"


@dataclass
class Server(ABC):
    """A server on 127.0.0.1 with its own data directory."""

    name: ClassVar[str]

    data: Path
    port: int
    programs: Programs = field(default_factory=Programs)

    @abstractmethod
    def prepare(self) -> None:
        """Makes the data directory ready for a start. Blocks; safe to repeat.

        Raises MissingServer or UnusableData. Existing data is left as it is.
        """

    @abstractmethod
    def launch(self) -> Launch:
        """Call `prepare` first."""

    @abstractmethod
    def unready(self) -> str | None:
        """None if the server answers, else the reason. Blocks for two seconds at most."""

    @property
    @abstractmethod
    def url(self) -> str: ...

    @property
    def ports(self) -> tuple[int, ...]:
        """All the ports it listens on."""
        return (self.port,)

    def discard(self) -> None:
        """Deletes all data. The server must not be running."""
        delete_tree(self.data)


@dataclass
class RedisServer(Server):
    name = "redis"

    def prepare(self) -> None:
        self.programs.redis_server()
        self.data.mkdir(parents=True, exist_ok=True)

    def launch(self) -> Launch:
        settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.data),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory": REDIS_MAX_MEMORY,
            "maxmemory-policy": "noeviction",
            "save": "",
            "daemonize": "no",
        }
        arguments = (part for name, value in settings.items() for part in (f"--{name}", value))
        return Launch(
            argv=(str(self.programs.redis_server()), *arguments),
            env=quiet_environment(),
            cwd=self.data,
        )

    def unready(self) -> str | None:
        return probes.redis_says(self.port)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"


@dataclass
class NatsServer(Server):
    name = "nats"

    monitoring_port: int = 0
    """The port of `/varz` and `/jsz`; 0 for none."""

    users: NatsUsers = field(default_factory=NatsUsers.random)

    def prepare(self) -> None:
        self.programs.nats_server()
        self.data.mkdir(parents=True, exist_ok=True)
        # Only a file can set how often the store is synced. The default is two minutes, which a
        # power cut would take from the stream. No path goes into it: NATS reads few escapes.
        self._configuration.touch(mode=0o600)  # before the passwords are in it
        self._configuration.write_text(
            f"{self.users.configuration}jetstream {{ sync_interval: 1s }}\n", encoding="utf-8"
        )

    def launch(self) -> Launch:
        argv = [str(self.programs.nats_server()), "-c", str(self._configuration)]
        argv += ["-a", "127.0.0.1", "-p", str(self.port), "--store_dir", str(self.data)]
        if self.monitoring_port:
            argv += ["-m", str(self.monitoring_port)]
        return Launch(argv=tuple(argv), env=quiet_environment(), cwd=self.data)

    def unready(self) -> str | None:
        password = self.users.passwords[ADMINISTRATOR]
        return probes.nats_says(self.port, user=ADMINISTRATOR, password=password)

    @property
    def url(self) -> str:
        """Without a user."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def administrator_url(self) -> str:
        return self.users.url_of(ADMINISTRATOR, self.port)

    @property
    def ports(self) -> tuple[int, ...]:
        return (self.port, self.monitoring_port)

    @property
    def _configuration(self) -> Path:
        return self.data / "nats-server.conf"


def delete_tree(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
