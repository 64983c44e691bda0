"""A quick check whether compose can run the system on this machine."""

from pathlib import Path

from pkg.devkit.compose import images
from pkg.devkit.compose.engine import Engine, compose_version
from pkg.devkit.compose.project import COMPOSE_FILE
from pkg.devkit.docker_cli import ask, engine_version, reason
from pkg.devkit.errors import BidkitError

LOOK_WITHIN_S = 2.0
REGISTRY_WITHIN_S = 5.0


def obstacle(compose_file: Path = COMPOSE_FILE) -> str | None:
    """Why compose cannot run the system; None when it can."""
    if not compose_file.exists():
        return f"this checkout has no {compose_file.name}"
    try:
        engine_version(within_s=LOOK_WITHIN_S)
        compose_version(within_s=LOOK_WITHIN_S)
        missing = Engine().missing_images(images.needed(), within_s=LOOK_WITHIN_S)
    except BidkitError as error:
        return reason(error)
    # One is enough: all come from one registry.
    if missing and not _in_reach(missing[0]):
        return (
            f"there is no image {missing[0]} here and no registry in reach that has it "
            "(REDIS_IMAGE and the like name others)"
        )
    return None


def _in_reach(image: str) -> bool:
    try:
        ask("manifest", "inspect", image, within_s=REGISTRY_WITHIN_S)
    except BidkitError:
        return False
    return True
