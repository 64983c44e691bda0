"""Applies prod to an emulator of its own, asks all probes, and shows or writes the tables.

    python -m localstack.probes [--write]

Needs Docker and Terraform; takes about five minutes and leaves nothing behind.
"""

import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from localstack.probes.applied import Applied, applied, emulator, left
from localstack.probes.document import COMMAND, text, write
from localstack.probes.prod import AFTERWARDS, PROPERTIES
from pkg.devkit.errors import BidkitError

_NAME = "bidding-probes"


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)  # noqa: T201


def main(arguments: list[str]) -> int:
    if set(arguments) - {"--write"}:
        _say(__doc__ or "")
        return 2
    try:
        with tempfile.TemporaryDirectory() as folder, emulator(_NAME, say=_say) as own:
            with applied(own, Path(folder) / "terraform", say=_say) as on:
                found = {name: one.probe(on) for name, one in PROPERTIES.items()}
            found |= {name: one.probe(on) for name, one in AFTERWARDS.items()}
            tables = text(on, found, head=_head(on, len(left(own))))
    except BidkitError as error:
        _say(str(error))
        return 1
    if "--write" in arguments:
        write(tables)
    else:
        print(tables)  # noqa: T201
    return 0


def _head(on: Applied, containers: int) -> str:
    took = ", ".join(f"{what} {seconds:.0f} s" for what, seconds in on.took_s.items())
    return (
        f"Written by `{COMMAND}` on {datetime.now(UTC):%Y-%m-%d}: do not edit it, run the command. "
        f"It applied all of prod, {on.prod.total()} resources of AWS, to the emulator, ran the "
        f"probes, lifted the protection and destroyed it: {took}, {containers} containers left. "
        "`tox run -e cloud` runs the tests on the emulator that are named below, "
        "`tox run -e terraform` those of plans."
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
