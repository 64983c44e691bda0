"""bidkit's own environment variables."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pkg.devkit.errors import BadArgument

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class DevkitSettings:
    home: Path
    """`BIDKIT_HOME`: folder of a local system's state, data and logs; default: `.bidkit` here."""

    ci_require: frozenset[str]
    """`CI_REQUIRE`: what tests may not be skipped for lack of, such as `docker,terraform`."""

    @classmethod
    def read(cls) -> Self:
        """Raises BadArgument if a file is in the way of the home folder."""
        home = Path(os.environ.get("BIDKIT_HOME") or PROJECT / ".bidkit").absolute()
        there = next(path for path in (home, *home.parents) if path.exists())
        if not there.is_dir():
            raise BadArgument(f"BIDKIT_HOME is {home}, but {there} is not a folder.")
        required = os.environ.get("CI_REQUIRE", "").split(",")
        return cls(
            home=home,
            ci_require=frozenset(name.strip() for name in required if name.strip()),
        )
