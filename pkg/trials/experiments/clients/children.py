"""Starts a client program, tells it its task, and hears its lines."""

import asyncio
import os
import signal
import sys
from typing import Self, TypeVar

import msgspec

from pkg.devkit.errors import BidkitError
from pkg.devkit.process.launch import Launch
from pkg.devkit.settings import PROJECT

T = TypeVar("T")

_LINE_BYTES = 64 * 2**20
"""Longest line: the connect times of many viewers."""


class Child:
    """Ends with the block, whatever it does."""

    def __init__(self, program: str, task: msgspec.Struct) -> None:
        self._program = program
        self._task = task
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        launch = Launch(
            argv=(sys.executable, "-P", "-m", f"pkg.trials.experiments.clients.{self._program}"),
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            cwd=PROJECT,
            orphan_signal=signal.SIGKILL,
        )
        self._process = await asyncio.create_subprocess_exec(
            *launch.argv,
            **launch.options(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LINE_BYTES,
        )
        await self.tell(msgspec.json.encode(self._task).decode())
        return self

    async def __aexit__(self, *_: object) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()

    @property
    def pid(self) -> int:
        assert self._process is not None  # noqa: S101 - inside the block
        return self._process.pid

    async def tell(self, line: str) -> None:
        assert self._process is not None  # noqa: S101 - inside the block
        assert self._process.stdin is not None  # noqa: S101 - PIPE above
        self._process.stdin.write(f"{line}\n".encode())
        await self._process.stdin.drain()

    async def hear(self, kind: type[T], *, within_s: float) -> T:
        return msgspec.json.decode(await self.line(within_s=within_s), type=kind)

    async def line(self, *, within_s: float) -> bytes:
        """Raises BidkitError with the child's last words if it ends, or is silent."""
        assert self._process is not None  # noqa: S101 - inside the block
        assert self._process.stdout is not None  # noqa: S101 - PIPE above
        try:
            async with asyncio.timeout(within_s):
                line = await self._process.stdout.readline()
                if line:
                    return line
                _, complaint = await self._process.communicate()
        except TimeoutError:
            raise BidkitError(
                f"a client ({self._program}) said nothing for {within_s:g} s."
            ) from None
        last = complaint.decode(errors="replace").strip().splitlines()[-1:]
        raise BidkitError(f"a client ({self._program}) ended: {last[0] if last else 'no word'}")
