"""A container as Docker describes it and as bidkit shows it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pkg.devkit.compose.usage import Usage
from pkg.devkit.names import API, ARCHIVAL, BROADCAST, SERVICES
from pkg.devkit.system import ReplicaStatus

HEALTH_PORTS = {API: 8080, BROADCAST: 8081, ARCHIVAL: 8082}
"""The ports of the health checks unless ADMIN_ADDR sets another."""

_NEVER = "0001-"
_SECOND = len("2026-01-02T03:04:05")


@dataclass(frozen=True, slots=True)
class Container:
    id: str
    name: str
    service: str
    number: int
    status: str
    """Docker's: created, running, paused, restarting, removing, exited or dead."""

    health: str | None
    """Docker's: starting, healthy or unhealthy; None without a health check."""

    last_check: str
    exit_code: int
    out_of_memory: bool
    error: str
    restarts: int
    pid: int | None
    address: str | None
    health_port: int | None
    started_at: datetime | None

    @property
    def replica(self) -> str:
        """Its name in bidkit, the same on every backend."""
        return f"{self.service}-{self.number}" if self.service in SERVICES else self.service

    @property
    def alive(self) -> bool:
        return self.status in {"running", "paused", "restarting"}

    @property
    def ready(self) -> bool:
        return self.status == "running" and self.health in {None, "healthy"}

    @property
    def phase(self) -> str:
        match self.status:
            case "running" if self.ready:
                return "ready"
            case "running" if self.health == "starting":
                return "starting"
            case "running" | "paused":
                return "unready"
            case "created":
                return "starting"
            case "restarting":
                return "waiting"
            case "removing":
                return "stopping"
        return "stopped"

    @property
    def why(self) -> str | None:
        if self.ready:
            return None
        match self.status:
            case "running":
                return self.last_check or f"its health is {self.health}"
            case "paused":
                return "it is paused"
            case "created":
                return self.error or None
        ended = "ran out of memory" if self.out_of_memory else f"ended with code {self.exit_code}"
        if self.status == "restarting":
            return f"{ended}; Docker starts it again"
        return f"{ended}; `bidkit up` starts it again" if self.status == "exited" else ended

    def as_replica(self, usage: Mapping[str, Usage]) -> ReplicaStatus:
        used = usage.get(self.id)
        age = datetime.now(UTC) - self.started_at if self.started_at and self.alive else None
        return ReplicaStatus(
            name=self.replica,
            phase=self.phase,
            ready=self.ready,
            restarts=self.restarts,
            pid=self.pid,
            host=self.address or "127.0.0.1",
            port=self.health_port,
            age_s=age.total_seconds() if age else None,
            cpu_percent=used.cpu_percent if used else None,
            memory_bytes=used.memory_bytes if used else None,
            why=self.why,
            log=f"docker logs {self.name}",
        )


def container_of(inspected: dict[str, Any]) -> Container:
    """From an entry of `docker container inspect`."""
    state, labels = inspected["State"], inspected["Config"]["Labels"]
    health = state.get("Health") or {}
    checks = health.get("Log") or []
    networks = inspected["NetworkSettings"]["Networks"] or {}
    service = labels["com.docker.compose.service"]
    environment = dict(line.partition("=")[::2] for line in inspected["Config"]["Env"] or ())
    admin = environment.get("ADMIN_ADDR", "").rpartition(":")[2]
    addresses = [one["IPAddress"] for one in networks.values() if one.get("IPAddress")]
    return Container(
        id=inspected["Id"],
        name=inspected["Name"].removeprefix("/"),
        service=service,
        number=int(labels.get("com.docker.compose.container-number", "1")),
        status=state["Status"],
        health=None if health.get("Status") in {None, "none"} else health["Status"],
        last_check=" ".join(checks[-1]["Output"].split()) if checks else "",
        exit_code=state["ExitCode"],
        out_of_memory=state["OOMKilled"],
        error=state.get("Error") or "",
        restarts=inspected.get("RestartCount", 0),
        pid=state["Pid"] or None,
        address=addresses[0] if addresses else None,
        health_port=int(admin) if admin.isdigit() else HEALTH_PORTS.get(service),
        started_at=_instant(state["StartedAt"]),
    )


def _instant(text: str) -> datetime | None:
    """To whole seconds: Python cannot parse Docker's nanoseconds."""
    if text.startswith(_NEVER):
        return None
    return datetime.fromisoformat(text[:_SECOND]).replace(tzinfo=UTC)
