"""Names of the system's parts, the same on every backend and in every message."""

from pkg.devkit.errors import BadArgument

API = "api-gateway"
BROADCAST = "broadcast-service"
ARCHIVAL = "archival-worker"
SERVICES = (API, BROADCAST, ARCHIVAL)

REDIS = "redis"
NATS = "nats"
POSTGRES = "postgres"
STORES = (REDIS, NATS, POSTGRES)

EDGE = "edge"
"""The load balancer. Backends whose replicas share a listening socket have none."""

NO_EDGE = (
    f"the {EDGE}, a load balancer, exists only on compose and on cloud; "
    f"on process {API} and {BROADCAST} answer on their own ports."
)

ALIASES = {"api": API, "broadcast": BROADCAST, "archival": ARCHIVAL}
MODULES = {API: "pkg.api", BROADCAST: "pkg.broadcast", ARCHIVAL: "pkg.archival"}

MOST_REPLICAS = 32
"""The edge has room for more; see haproxy.cfg."""


def named(text: str) -> str:
    """The service, store or edge that `text` names, by its name or an alias."""
    name = ALIASES.get(text, text)
    if name not in (*SERVICES, *STORES, EDGE):
        known = ", ".join((*SERVICES, *STORES))
        raise BadArgument(
            f"there is no service {text!r}; there are {known}, and on compose and cloud {EDGE}."
        )
    return name


def scaling(text: str) -> tuple[str, int]:
    """The service and number of replicas in `api-gateway=2`."""
    service, equals, number = text.partition("=")
    name = named(service)
    if not equals:
        raise BadArgument(f"{text!r} lacks a number of replicas; write {name}=2.")
    if name == EDGE:
        raise BadArgument(f"there is one {EDGE} and it cannot be scaled; it can be restarted.")
    if name in STORES:
        raise BadArgument(f"{name} is a store and cannot be scaled; it can be restarted.")
    if not number.isascii() or not number.isdigit() or int(number) > MOST_REPLICAS:
        raise BadArgument(f"{name} can have 0 to {MOST_REPLICAS} replicas, not {number!r}.")
    return name, int(number)
