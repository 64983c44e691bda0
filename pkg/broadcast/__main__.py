"""``python -m pkg.broadcast`` serves viewers."""

import resource
import sys

from pkg.broadcast import app
from pkg.broadcast.settings import BroadcastSettings
from pkg.runtime import service_process

_DESCRIPTORS = 65_536  # used where there is no limit: macOS refuses "unlimited"


def main() -> int:
    _make_room()
    return service_process.run(app.BROADCAST, BroadcastSettings, app.serve)


def _make_room() -> None:
    """Each viewer takes a descriptor, and shells allow a process 1,024 or fewer."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if most == resource.RLIM_INFINITY else most
    if now not in {resource.RLIM_INFINITY, wanted}:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


if __name__ == "__main__":
    sys.exit(main())
