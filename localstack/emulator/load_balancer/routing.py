"""Rules of listeners and the choice of a target, as AWS documents them."""

import hashlib
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import parse_qsl

from localstack.emulator.load_balancer.messages import Head
from localstack.emulator.load_balancer.probes import Health, State


@dataclass(frozen=True, slots=True)
class Condition:
    """Holds if any of its values matches. `*` and `?` are wildcards."""

    kind: str
    values: tuple[str, ...]
    header: str = ""

    def holds(self, request: "Request") -> bool:
        match self.kind:
            case "path-pattern":
                return any(_pattern(value).fullmatch(request.path) for value in self.values)
            case "host-header":
                host = (request.field("host") or "").rsplit(":", 1)[0].lower()
                return any(_pattern(value.lower()).fullmatch(host) for value in self.values)
            case "http-request-method":
                return request.method in self.values
            case "http-header":
                value = request.field(self.header)
                return value is not None and any(
                    _pattern(each.lower()).fullmatch(value.lower()) for each in self.values
                )
            case "query-string":
                pairs = parse_qsl(request.query, keep_blank_values=True)
                return any(_query_holds(value, pairs) for value in self.values)
            case "source-ip":
                address = ipaddress.ip_address(request.client)
                return any(address in ipaddress.ip_network(each) for each in self.values)
        return False


def _query_holds(value: str, pairs: list[tuple[str, str]]) -> bool:
    name, equals, wanted = value.partition("=")
    return any(
        (not equals or _pattern(name).fullmatch(key)) and _pattern(wanted or name).fullmatch(found)
        for key, found in pairs
    )


@lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)


@dataclass(frozen=True, slots=True)
class Forward:
    group: str


@dataclass(frozen=True, slots=True)
class Fixed:
    status: int
    content_type: str
    body: str


@dataclass(frozen=True, slots=True)
class Redirect:
    """Parts may contain `#{protocol}`, `#{host}`, `#{port}`, `#{path}` and `#{query}`."""

    status: int
    protocol: str
    host: str
    port: str
    path: str
    query: str


Action = Forward | Fixed | Redirect


@dataclass(frozen=True, slots=True)
class Rule:
    conditions: tuple[Condition, ...]
    action: Action


@dataclass(slots=True)
class Request:
    method: str
    path: str
    query: str
    head: Head
    client: str

    def field(self, name: str) -> str | None:
        value = self.head.get(name.lower().encode("latin-1"))
        return None if value is None else value.decode("latin-1")


@dataclass(slots=True)
class Listener:
    protocol: str
    rules: tuple[Rule, ...]
    """By priority; the last one has no conditions."""

    def action_for(self, request: Request) -> Action | None:
        for rule in self.rules:
            if all(condition.holds(request) for condition in rule.conditions):
                return rule.action
        return None


@dataclass(slots=True)
class Target:
    host: str
    port: int
    health: Health
    generation: int = 0
    """Another one is another target at the same address."""
    draining: bool = False
    in_flight: int = 0
    requests: int = 0

    @property
    def key(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def cookie(self) -> str:
        return hashlib.sha256(self.key.encode()).hexdigest()[:32]


@dataclass(slots=True)
class Group:
    targets: dict[str, Target] = field(default_factory=dict)
    sticky_s: int | None = None
    requests: int = 0
    target_5xx: int = 0
    elb_5xx: int = 0
    seconds: float = 0.0
    """Sum of the times to the targets' responses."""
    _turn: int = 0

    def choose(self, cookie: str | None) -> Target | None:
        """In turn among the healthy ones; among the unhealthy ones if there are no others.

        AWS too sends requests to unhealthy targets rather than to none, but never to one that
        was not yet found healthy.
        """
        candidates = self._in(State.HEALTHY) or self._in(State.UNHEALTHY)
        if not candidates:
            return None
        if cookie and self.sticky_s is not None:
            for target in candidates:
                if target.cookie == cookie:
                    return target
        self._turn += 1
        return candidates[self._turn % len(candidates)]

    def _in(self, state: State) -> Sequence[Target]:
        return [
            each
            for each in self.targets.values()
            if not each.draining and each.health.state is state
        ]
