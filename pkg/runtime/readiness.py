"""The health, readiness and metrics pages of every service."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest


@dataclass
class Readiness:
    """Whether the service can work: one probe per part that it depends on.

    A probe returns ``None`` if all is well, otherwise one word that reveals no internals. Only
    required parts decide whether the service is ready; the others are only reported.
    """

    service: str
    draining: bool = False
    _parts: dict[str, tuple[Callable[[], str | None], bool]] = field(default_factory=dict)

    def watch(self, name: str, probe: Callable[[], str | None], *, required: bool = True) -> None:
        self._parts[name] = (probe, required)

    def checks(self) -> dict[str, str]:
        return {name: probe() or "ok" for name, (probe, _) in self._parts.items()}

    @property
    def ready(self) -> bool:
        return not self.draining and all(
            probe() is None for probe, required in self._parts.values() if required
        )


@dataclass(frozen=True, slots=True)
class Page:
    """A small response that any server can send."""

    status: int
    body: bytes
    content_type: str = "application/json"

    def response(self) -> web.Response:
        return web.Response(
            status=self.status, body=self.body, headers={"Content-Type": self.content_type}
        )


def health_page(readiness: Readiness) -> Page:
    """Liveness. Checks no dependency, so an outage elsewhere causes no restart here."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    body = {"status": "healthy", "service": readiness.service, "time": now}
    return Page(200, msgspec.json.encode(body))


def ready_page(readiness: Readiness) -> Page:
    ready = readiness.ready
    body = {"ready": ready, "checks": readiness.checks()}
    if readiness.draining:
        body["checks"] = {**readiness.checks(), "draining": "yes"}
    return Page(200 if ready else 503, msgspec.json.encode(body))


def metrics_page(registry: CollectorRegistry) -> Page:
    return Page(200, generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4)


def routes(readiness: Readiness, registry: CollectorRegistry) -> list[web.RouteDef]:
    async def health(_: web.Request) -> web.Response:
        return health_page(readiness).response()

    async def ready(_: web.Request) -> web.Response:
        return ready_page(readiness).response()

    async def metrics(_: web.Request) -> web.Response:
        return metrics_page(registry).response()

    return [
        web.get("/health", health),
        web.get("/ready", ready),
        web.get("/metrics", metrics),
    ]
