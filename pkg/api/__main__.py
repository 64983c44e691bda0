"""``python -m pkg.api [serve]`` runs the gateway, ``python -m pkg.api relay`` the relay alone."""

import sys

from pkg.api import app
from pkg.api.settings import ApiSettings, RelaySettings
from pkg.runtime import service_process


def main(arguments: list[str]) -> int:
    match arguments:
        case [] | ["serve"]:
            return service_process.run(app.GATEWAY, ApiSettings, app.serve)
        case ["relay"]:
            return service_process.run(app.RELAY, RelaySettings, app.relay_alone)
    print("usage: python -m pkg.api [serve | relay]", file=sys.stderr)  # noqa: T201 - a usage line
    return service_process.EXIT_BAD_SETTINGS


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
