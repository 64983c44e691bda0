"""NATS' image, where the environment names another one than Terraform's default."""

from collections.abc import Mapping

from pkg.devkit.docker_cli import ask
from pkg.devkit.errors import BidkitError

_STAND_IN = "bidding-system/nats-stand-in"


def nats_variables(environment: Mapping[str, str], emulator: str) -> dict[str, str]:
    """Terraform refuses an image without a tag, so such a one gets one of ours."""
    image = environment.get("NATS_IMAGE")
    if not image:
        return {}
    name = image.rpartition("/")[2]
    if "@" in name or (":" in name and not name.endswith(":latest")):
        return {"nats_image": image}
    tagged = f"{_STAND_IN}:{emulator}"
    ask("tag", image, tagged)
    return {"nats_image": tagged}


def forget_nats_image(emulator: str) -> None:
    try:
        ask("rmi", "--no-prune", f"{_STAND_IN}:{emulator}")
    except BidkitError:
        return  # there is none
