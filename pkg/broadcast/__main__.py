"""``python -m pkg.broadcast`` serves viewers."""

import sys

from pkg.broadcast import app
from pkg.broadcast.settings import BroadcastSettings
from pkg.runtime import service_process


def main() -> int:
    return service_process.run(app.BROADCAST, BroadcastSettings, app.serve)


if __name__ == "__main__":
    sys.exit(main())
