"""Health checks of targets: an HTTP request every interval, and thresholds."""

import asyncio
from dataclasses import dataclass
from enum import StrEnum

_FIRST_INTERVAL_S = 1.0
"""Until a new target is found healthy. AWS' load balancers have several nodes that all check."""


class State(StrEnum):
    INITIAL = "initial"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class Check:
    path: str
    port: int | None
    """None: the target's own."""
    interval_s: float
    timeout_s: float
    healthy_after: int
    unhealthy_after: int
    statuses: str
    """Such as `200`, `200,202` or `200-299`."""

    def accepts(self, status: int) -> bool:
        for each in self.statuses.split(","):
            low, _, high = each.strip().partition("-")
            if int(low) <= status <= int(high or low):
                return True
        return False


@dataclass(frozen=True, slots=True)
class Found:
    reason: str = ""
    """Empty if it answered as it should; otherwise a reason code of DescribeTargetHealth."""
    description: str = ""


class Health:
    """A new target is healthy after one success; an unhealthy one only after several."""

    def __init__(self, check: Check) -> None:
        self.check = check
        self.state = State.INITIAL
        self.reason = "Elb.RegistrationInProgress"
        self.description = "Target registration is in progress"
        self._successes = 0
        self._failing_s = 0.0

    def note(self, found: Found, *, after_s: float) -> None:
        """`after_s`: since the last check."""
        if not found.reason:
            self._successes += 1
            self._failing_s = 0.0
            if self.state is State.INITIAL or self._successes >= self.check.healthy_after:
                self.state, self.reason, self.description = State.HEALTHY, "", ""
            return
        self._successes = 0
        self._failing_s += after_s
        if self._failing_s >= self.check.unhealthy_after * self.check.interval_s:
            self.state = State.UNHEALTHY
        if self.state is State.INITIAL:
            self.reason = "Elb.InitialHealthChecking"
            self.description = f"Initial health checks in progress: {found.description}"
        elif self.state is State.UNHEALTHY:
            self.reason, self.description = found.reason, found.description

    @property
    def next_in_s(self) -> float:
        if self.state is State.INITIAL:
            return min(_FIRST_INTERVAL_S, self.check.interval_s)
        return self.check.interval_s


async def watch(health: Health, host: str, port: int) -> None:
    """Checks until it is cancelled."""
    while True:
        health.note(await probe(health.check, host, port), after_s=health.next_in_s)
        await asyncio.sleep(health.next_in_s)


async def probe(check: Check, host: str, port: int) -> Found:
    port = check.port or port
    try:
        async with asyncio.timeout(check.timeout_s):
            status = await _status(check.path, host, port)
    except TimeoutError:
        return Found("Target.Timeout", "Request timed out")
    except (OSError, ValueError, IndexError, asyncio.IncompleteReadError):
        return Found("Target.FailedHealthChecks", "Health checks failed")
    if check.accepts(status):
        return Found()
    return Found(
        "Target.ResponseCodeMismatch", f"Health checks failed with these codes: [{status}]"
    )


async def _status(path: str, host: str, port: int) -> int:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n"
            "User-Agent: ELB-HealthChecker/2.0\r\n\r\n".encode()
        )
        line = await reader.readuntil(b"\r\n")
        # The target should not count a request that was cut off.
        while await reader.read(65536):
            pass
        return int(line.split(b" ")[1])
    finally:
        writer.close()
