"""Whether compose can run the system here, found out quickly."""

import subprocess
from pathlib import Path

from pkg.devkit.compose import engine, images
from pkg.devkit.compose.project import COMPOSE_FILE
from pkg.devkit.errors import BidkitError

LOOK_WITHIN_S = 2.0
REGISTRY_WITHIN_S = 5.0


def obstacle(compose_file: Path = COMPOSE_FILE) -> str | None:
    """What keeps compose from running the system; None when nothing does."""
    if not compose_file.exists():
        return f"this checkout has no {compose_file.name}"
    try:
        engine.engine_version(within_s=LOOK_WITHIN_S)
        engine.compose_version(within_s=LOOK_WITHIN_S)
        missing = engine.missing_images(images.needed(), within_s=LOOK_WITHIN_S)
    except BidkitError as error:
        return engine.reason(error)
    # One stands for all: they come from one registry.
    if missing and not _in_reach(missing[0]):
        return (
            f"there is no image {missing[0]} here and no registry in reach that has it "
            "(REDIS_IMAGE and the like name others)"
        )
    return None


def _in_reach(image: str) -> bool:
    try:
        asked = subprocess.run(
            ("docker", "manifest", "inspect", image),
            capture_output=True,
            timeout=REGISTRY_WITHIN_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0
