"""How bidkit's commands talk to a running supervisor: lines of JSON over a Unix socket.

The socket lies in a private directory with a short path, for such paths end at about 100 bytes and
a clone may lie deep; `supervisor.json` says where. Only its owner can open it.
"""

import asyncio
import contextlib
import shutil
import socket
import tempfile
import time
from pathlib import Path
from typing import Self, TypeVar

import msgspec

from pkg.devkit.backend import Say
from pkg.devkit.errors import BadArgument, BidkitError, NotRunning, error_of
from pkg.devkit.home import Home, load, save
from pkg.devkit.process.supervisor import Supervisor
from pkg.devkit.system import SystemStatus

ANSWER_WITHIN_S = 5.0
OPERATION_WITHIN_S = 600.0
STARTING_WITHIN_S = 30.0
"""Most of it is for making PostgreSQL's data directory."""

_LONGEST_PATH = 100

Answer = TypeVar("Answer")


class StoppedMeanwhile(BidkitError):  # noqa: N818 - see errors.py
    """The supervisor ended while it was asked."""

    def __init__(self) -> None:
        super().__init__("the system was stopped meanwhile.")


class Address(msgspec.Struct, frozen=True):
    pid: int
    socket: str


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    verb: str
    service: str = ""
    replicas: dict[str, int] = {}


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """Any number of `say`, then one of the other two fields."""

    say: str | None = None
    done: msgspec.Raw = msgspec.Raw(b"null")
    error: str | None = None
    code: int = 0


class ControlServer:
    def __init__(self, supervisor: Supervisor, home: Home, *, pid: int) -> None:
        self._supervisor = supervisor
        self._home = home
        self._pid = pid
        self._folder = Path()

    async def __aenter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="bidkit-"))
        if len(str(self._folder)) > _LONGEST_PATH - len("/control"):
            self._folder.rmdir()
            self._folder = Path(tempfile.mkdtemp(prefix="bidkit-", dir="/tmp"))
        path = str(self._folder / "control")
        self._server = await asyncio.start_unix_server(self._serve, path)
        save(self._home.supervisor, Address(pid=self._pid, socket=path))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self._home.supervisor.unlink(missing_ok=True)
        shutil.rmtree(self._folder)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def reply(message: Reply) -> None:
            # The work is done even if the asker has gone.
            with contextlib.suppress(ConnectionError):
                writer.write(msgspec.json.encode(message) + b"\n")

        try:
            request = msgspec.json.decode(await reader.readline(), type=Request)
            done = await self._do(request, lambda line: reply(Reply(say=line)))
            reply(Reply(done=msgspec.Raw(msgspec.json.encode(done))))
        except BidkitError as error:
            reply(Reply(error=str(error), code=error.exit_code))
        except msgspec.DecodeError as error:
            reply(Reply(error=f"not understood: {error}", code=BidkitError.exit_code))
        except Exception as error:
            # Closing the connection would read as a system that stopped.
            said = f"bidkit's supervisor failed at that: {error!r}."
            reply(Reply(error=said, code=BidkitError.exit_code))
            raise
        finally:
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            writer.close()

    async def _do(self, request: Request, say: Say) -> object:
        match request.verb:
            case "status":
                return self._supervisor.status()
            case "environment":
                return self._supervisor.environment_of(request.service)
            case "scale":
                await self._supervisor.scale(request.replicas, say=say)
            case "restart":
                await self._supervisor.restart(request.service, say=say)
            case "stop":
                self._supervisor.stop()
            case verb:
                raise BadArgument(
                    f"this system knows no {verb!r}; it was started by another bidkit."
                )
        return None


def forget_supervisor(home: Home) -> None:
    """Removes what a dead supervisor left. The caller holds the lock."""
    address = load(home.supervisor, Address)
    if address:
        shutil.rmtree(Path(address.socket).parent, ignore_errors=True)
        home.supervisor.unlink()


class Control:
    """The client's side. Raises NotRunning if no supervisor runs, or StoppedMeanwhile."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def status(self) -> SystemStatus:
        return self._ask(Request("status"), SystemStatus)

    def environment(self, user: str) -> dict[str, str]:
        """Settings of a service, or of restore."""
        return self._ask(Request("environment", user), dict[str, str])

    def scale(self, replicas: dict[str, int], *, say: Say) -> None:
        self._ask(Request("scale", replicas=replicas), None, say=say)

    def restart(self, service: str, *, say: Say) -> None:
        self._ask(Request("restart", service=service), None, say=say)

    def stop(self) -> None:
        self._ask(Request("stop"), None)

    def _ask(
        self, request: Request, kind: type[Answer] | None, *, say: Say | None = None
    ) -> Answer:
        address = self._address()
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(OPERATION_WITHIN_S if say else ANSWER_WITHIN_S)
                connection.connect(address.socket)
                connection.sendall(msgspec.json.encode(request) + b"\n")
                with connection.makefile("rb") as replies:
                    for line in replies:
                        reply = msgspec.json.decode(line, type=Reply)
                        if reply.error is not None:
                            raise error_of(reply.code, reply.error)
                        if reply.say is None:
                            return msgspec.json.decode(reply.done, type=kind)
                        if say:
                            say(reply.say)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise NotRunning(
                "bidkit's supervisor is gone without having stopped the system; "
                "`bidkit up` or `bidkit down` tidies up."
            ) from error
        except (ConnectionResetError, BrokenPipeError) as error:  # it ended before it accepted us
            raise StoppedMeanwhile from error
        except TimeoutError as error:
            raise BidkitError(
                f"bidkit's supervisor (process {address.pid}) does not answer; its log is "
                f"{self._home.log('supervisor')}."
            ) from error
        raise StoppedMeanwhile

    def _address(self) -> Address:
        """Waits for a supervisor that holds the lock but does not listen yet."""
        deadline = time.monotonic() + STARTING_WITHIN_S
        while (address := load(self._home.supervisor, Address)) is None:
            with self._home.lock() as free:
                if free or time.monotonic() > deadline:
                    raise NotRunning("nothing is running; `bidkit up` starts the system.")
            time.sleep(0.05)
        return address
