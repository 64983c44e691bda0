"""Authorities and certificates by openssl, and TLS in front of servers that have none.

As a program it is that front: the wheels' Redis and PostgreSQL are built without TLS.
"""

import asyncio
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pkg.devkit.ports import free_ports


@dataclass(frozen=True)
class Certificate:
    pem: Path
    key: Path


class Authority:
    """Signs certificates. `pem` is what those have to trust who connect."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._own = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
        _openssl(self._own, f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    @property
    def pem(self) -> Path:
        return self._own.pem

    def signs(self, host: str) -> Certificate:
        made = Certificate(self._folder / f"{host}.pem", self._folder / f"{host}.key")
        signing = ("-CA", str(self._own.pem), "-CAkey", str(self._own.key))
        constraints = ("-addext", "basicConstraints=critical,CA:FALSE")
        _openssl(
            made, f"/CN={host}", *signing, *constraints, "-addext", f"subjectAltName=DNS:{host}"
        )
        return made


def _openssl(made: Certificate, subject: str, *options: str) -> None:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", subject, *options),
            *("-keyout", str(made.key), "-out", str(made.pem)),
        ],
        check=True,
        capture_output=True,
        timeout=30,
    )


@contextmanager
def in_front_of(port: int, certificate: Certificate, *, asks: bool = False) -> Iterator[int]:
    """Yields the port of a TLS server that passes all to the plain one.

    `asks`: as PostgreSQL, whose clients first ask for TLS in plain text.
    """
    (own,) = free_ports(1)
    front = subprocess.Popen(
        [
            *(sys.executable, "-P", str(Path(__file__)), str(own), str(port)),
            *(str(certificate.pem), str(certificate.key), *(["asks"] if asks else [])),
        ],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    try:
        assert front.stdout
        assert front.stdout.readline() == b"listening\n"
        yield own
    finally:
        front.kill()
        front.communicate()


async def _front(own: int, port: int, pem: str, key: str, *asks: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem, key)

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        except OSError:
            pass
        finally:
            target.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if asks:
            await reader.readexactly(8)  # SSLRequest
            writer.write(b"S")
            await writer.start_tls(context)
        there = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))

    async with await asyncio.start_server(
        serve, "localhost", own, ssl=None if asks else context
    ) as server:
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_front(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]))
