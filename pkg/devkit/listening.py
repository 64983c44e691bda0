"""Opens public ports; says who has one that is taken, and what to do."""

import errno
import socket

from pkg.devkit.errors import PortTaken
from pkg.devkit.port_holder import taken_by

BACKLOG = 4096


def listen(service: str, port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port), backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(
                f"port {port} for the {service} is taken by {taken_by(port)}, or choose "
                f"another port with `bidkit up {_PORT_OPTIONS.get(service, '')}`."
            ) from error
        if error.errno == errno.EACCES:
            raise PortTaken(f"port {port} for the {service} needs root; choose another.") from error
        raise


_PORT_OPTIONS = {
    "api-gateway": "--api-port 18080",
    "broadcast-service": "--broadcast-port 18081",
    "edge": "--edge-port 18000",
}
