"""Runs a container for each application load balancer, and tells MiniStack what it measures.

Replaces ``alb._create_lb``: a new load balancer is ``provisioning`` until its container listens,
and its DNS name is `localhost` with the port on loopback where its listener on port 80 is
published. So `http://<dns_name>` works in every client, without a resolver of our own.

Replaces ``alb._describe_target_health``, which calls every target healthy.

Reads MiniStack's records of load balancers, listeners, rules, groups and targets five times a
second. Requests by target go to CloudWatch as AWS/ApplicationELB, through PutMetricData.

Can go when MiniStack's load balancers listen, probe and pass WebSockets on.
"""

import asyncio
import itertools
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape

from docker.errors import NotFound

from localstack.emulator import engine
from localstack.emulator.load_balancer.link import LINE_LIMIT
from localstack.emulator.load_balancer_metrics import Counts, put
from localstack.emulator.serving import Emulator
from localstack.emulator.upstream import reads, replaces

reads("ministack.services.alb", source="ca05634b4843", by=__name__)

log = logging.getLogger("emulator.load_balancers")

_EVERY_S = 0.2
_LINK_PORT = 4599
_LINKED_WITHIN_S = 5.0
_PUBLISHED = (80, 443)
"""Listeners on other ports can be reached from within the network only."""

_Target = tuple[str, str]
"""ARN of its group, and `host:port`."""


@dataclass(slots=True)
class _Balancer:
    account: str
    region: str
    arn: str
    container: str = ""
    address: str = ""
    published: dict[int, int] = field(default_factory=dict)
    link: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    measured: dict[str, Any] = field(default_factory=dict)

    def close(self) -> None:
        if self.link:
            self.link[1].close()
            self.link = None


class LoadBalancers:
    def __init__(self) -> None:
        self._balancers: dict[str, _Balancer] = {}
        self._generations: dict[_Target, int] = {}
        self._generation = itertools.count(1)
        self._draining: dict[_Target, float] = {}
        """Until when, at the latest, by the monotonic clock."""
        self._registered: set[_Target] = set()
        self._rounds = threading.Condition()
        self._begun = self._ended = 0
        self._counts = Counts()

    async def work(self, put_metrics: Callable[[Counts], None]) -> None:
        next_metrics = time.monotonic()
        while True:
            with self._rounds:
                self._begun += 1
            self._note_draining()
            await asyncio.gather(*self._start_and_stop(), return_exceptions=False)
            await asyncio.gather(*(self._exchange(each) for each in self._linked()))
            self._end_draining()
            with self._rounds:
                self._ended = self._begun
                self._rounds.notify_all()
            if time.monotonic() >= next_metrics:
                next_metrics = time.monotonic() + Counts.EVERY_S
                self._count()
                await asyncio.to_thread(put_metrics, self._counts)
            await asyncio.sleep(_EVERY_S)

    # What the rest of the emulator asks.

    def health(self, group: str, key: str) -> Mapping[str, str]:
        """State, reason and description, as in DescribeTargetHealth."""
        if (group, key) in self._draining:
            return {
                "state": "draining",
                "reason": "Target.DeregistrationInProgress",
                "description": "Target deregistration is in progress",
            }
        for balancer in list(self._balancers.values()):
            targets = balancer.measured.get("groups", {}).get(group, {}).get("targets", {})
            if key in targets:
                found: Mapping[str, str] = targets[key]
                return found
        if group in self._groups_in_use():
            return {
                "state": "initial",
                "reason": "Elb.RegistrationInProgress",
                "description": "Target registration is in progress",
            }
        return {
            "state": "unused",
            "reason": "Target.NotInUse",
            "description": "Target group is not configured to receive traffic",
        }

    def draining(self, group: str) -> list[str]:
        return [key for arn, key in list(self._draining) if arn == group]

    def registers(self, group: str, key: str) -> None:
        """A new target, even if an earlier one had the same address."""
        self._generations[group, key] = next(self._generation)

    def wait_until_drained(self, targets: list[_Target]) -> None:
        """Blocks until nothing of deregistered targets is in flight, or their delay is over."""
        with self._rounds:
            noticed = self._begun + 1
            while self._ended < noticed or any(each in self._draining for each in targets):
                self._rounds.wait(timeout=1.0)

    # Containers.

    def _start_and_stop(self) -> Iterator[Any]:
        from ministack.services import alb

        wanted = {arn: (account, region) for (account, region, arn), _ in alb._lbs.all_items()}
        for arn in set(self._balancers) - set(wanted):
            yield asyncio.to_thread(self._stop, self._balancers.pop(arn))
        for arn, (account, region) in wanted.items():
            if arn not in self._balancers:
                self._balancers[arn] = _Balancer(account, region, arn)
            if not self._balancers[arn].container:
                yield asyncio.to_thread(self._start, self._balancers[arn])

    def _start(self, balancer: _Balancer) -> None:
        from ministack.services import alb

        name, number = balancer.arn.split("/")[-2:]
        try:
            container = engine.engine().containers.run(
                engine.home().image,
                ["python", "-m", "localstack.emulator.load_balancer"],
                name=f"ministack-alb-{name}-{number}",
                labels=engine.labels("elbv2"),
                environment={"LINK_PORT": str(_LINK_PORT)},
                network=engine.home().network,
                ports={
                    f"{port}/tcp": ("127.0.0.1", balancer.published.get(port))
                    for port in _PUBLISHED
                },
                read_only=True,
                detach=True,
            )
            container.reload()
        except engine.NO_ANSWER as error:
            log.warning("load balancer %s does not start: %s", name, error)
            return
        settings = container.attrs["NetworkSettings"]
        balancer.container = container.id
        balancer.address = settings["Networks"][engine.home().network]["IPAddress"]
        balancer.published = {
            port: int(settings["Ports"][f"{port}/tcp"][0]["HostPort"]) for port in _PUBLISHED
        }
        record = alb._lbs.get_scoped(balancer.account, balancer.region, balancer.arn)
        if record:
            record["DNSName"] = f"localhost:{balancer.published[80]}"

    def _stop(self, balancer: _Balancer) -> None:
        balancer.close()
        if balancer.container:
            try:
                engine.engine().api.remove_container(balancer.container, force=True, v=True)
            except NotFound:
                pass
            except engine.NO_ANSWER as error:
                log.warning("container of %s is not removed: %s", balancer.arn, error)

    # The link.

    def _linked(self) -> list[_Balancer]:
        return [each for each in self._balancers.values() if each.container]

    async def _exchange(self, balancer: _Balancer) -> None:
        from ministack.services import alb

        record = alb._lbs.get_scoped(balancer.account, balancer.region, balancer.arn)
        if record is None:
            return
        try:
            async with asyncio.timeout(_LINKED_WITHIN_S):
                if balancer.link is None:
                    balancer.link = await asyncio.open_connection(
                        balancer.address, _LINK_PORT, limit=LINE_LIMIT
                    )
                reader, writer = balancer.link
                writer.write(json.dumps(self._records(balancer)).encode() + b"\n")
                line = await reader.readline()
            if not line:
                raise ConnectionError("the link was closed")
        except (OSError, TimeoutError) as error:
            balancer.close()
            await asyncio.to_thread(self._look_after, balancer, error)
            return
        balancer.measured = json.loads(line)
        record["State"] = "active"

    def _look_after(self, balancer: _Balancer, error: Exception) -> None:
        """Replaces a container that has ended. Its ports stay the same."""
        try:
            container = engine.engine().containers.get(balancer.container)
            if container.status in {"running", "created"}:
                return
            log.warning("load balancer %s ended (%s); starting another", balancer.arn, error)
            container.remove(force=True, v=True)
        except NotFound:
            pass
        except engine.NO_ANSWER as no_answer:
            log.warning("load balancer %s: %s", balancer.arn, no_answer)
            return
        self._count_again(balancer)
        balancer.container = ""

    def _records(self, balancer: _Balancer) -> dict[str, Any]:
        from ministack.core.responses import request_scope
        from ministack.services import alb

        with request_scope(balancer.account, balancer.region):
            attributes = _pairs(alb._lb_attrs.get(balancer.arn, ()))
            listeners = {
                listener["Port"]: listener
                for listener in alb._listeners.values()
                if listener["LoadBalancerArn"] == balancer.arn
            }
            rules = {
                port: [
                    _rule(rule)
                    for rule in sorted(alb._rules.values(), key=alb._rule_sort_key)
                    if rule["ListenerArn"] == listener["ListenerArn"]
                ]
                for port, listener in listeners.items()
            }
            groups = {
                rule["action"]["group"]
                for each in rules.values()
                for rule in each
                if rule["action"]["type"] == "forward"
            }
            return {
                "idle_timeout_s": float(attributes.get("idle_timeout.timeout_seconds", 60)),
                "drop_invalid_fields": attributes.get(
                    "routing.http.drop_invalid_header_fields.enabled"
                )
                == "true",
                "forwarded_for": attributes.get(
                    "routing.http.xff_header_processing.mode", "append"
                ),
                "published": balancer.published,
                "listeners": {
                    port: {"protocol": listener["Protocol"], "rules": rules[port]}
                    for port, listener in listeners.items()
                },
                "groups": {arn: self._group(arn) for arn in sorted(groups) if arn in alb._tgs},
            }

    def _group(self, arn: str) -> dict[str, Any]:
        from ministack.services import alb

        group = alb._tgs[arn]
        attributes = _pairs(alb._tg_attrs.get(arn, ()))
        port = group["HealthCheckPort"]
        registered = {_key(each, group): each for each in alb._targets.get(arn, ())}
        keys = [*registered, *(key for key in self.draining(arn) if key not in registered)]
        return {
            "sticky_s": int(attributes.get("stickiness.lb_cookie.duration_seconds", 86400))
            if attributes.get("stickiness.enabled") == "true"
            else None,
            "check": {
                "path": group["HealthCheckPath"],
                "port": None if port == "traffic-port" else int(port),
                "interval_s": group["HealthCheckIntervalSeconds"],
                "timeout_s": group["HealthCheckTimeoutSeconds"],
                "healthy_after": group["HealthyThresholdCount"],
                "unhealthy_after": group["UnhealthyThresholdCount"],
                "statuses": group["Matcher"]["HttpCode"],
            },
            "targets": [
                {
                    "host": key.rpartition(":")[0],
                    "port": int(key.rpartition(":")[2]),
                    "draining": key not in registered,
                    "generation": self._generations.get((arn, key), 0),
                }
                for key in keys
            ],
        }

    # Draining.

    def _groups_in_use(self) -> set[str]:
        return {arn for each in self._balancers.values() for arn in each.measured.get("groups", {})}

    def _note_draining(self) -> None:
        from ministack.core.responses import request_scope
        from ministack.services import alb

        now = time.monotonic()
        registered: set[_Target] = set()
        delays: dict[str, float] = {}
        for (account, region, arn), group in alb._tgs.all_items():
            with request_scope(account, region):
                registered |= {(arn, _key(each, group)) for each in alb._targets.get(arn, ())}
                attributes = _pairs(alb._tg_attrs.get(arn, ()))
                delays[arn] = float(attributes.get("deregistration_delay.timeout_seconds", 300))
        in_use = self._groups_in_use()
        for target in self._registered - registered:
            if target[0] in in_use and target[0] in delays:
                self._draining[target] = now + delays[target[0]]
        for target in registered:
            self._draining.pop(target, None)
        self._registered = registered

    def _end_draining(self) -> None:
        now = time.monotonic()
        for target, until in list(self._draining.items()):
            arn, key = target
            in_flight = [
                found["in_flight"]
                for each in self._balancers.values()
                if (found := _measured_target(each, arn, key))
            ]
            linked = all(each.link for each in self._balancers.values())
            if now >= until or (linked and not any(in_flight)):
                self._draining.pop(target, None)
                self._generations.pop(target, None)

    # Counts.

    def _count(self) -> None:
        for balancer in self._balancers.values():
            if balancer.measured:
                self._counts.note(balancer.region, balancer.arn, balancer.measured)

    def _count_again(self, balancer: _Balancer) -> None:
        """Its counts start at zero again."""
        self._counts.forget(balancer.arn)
        balancer.measured = {}


def _measured_target(balancer: _Balancer, arn: str, key: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = (
        balancer.measured.get("groups", {}).get(arn, {}).get("targets", {}).get(key)
    )
    return found


def _pairs(attributes: Any) -> dict[str, str]:  # noqa: ANN401
    return {each["Key"]: each["Value"] for each in attributes}


def _key(target: Mapping[str, Any], group: Mapping[str, Any]) -> str:
    return f"{target['Id']}:{target.get('Port') or group['Port']}"


def _rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    conditions = []
    for condition in rule["Conditions"]:
        header = condition.get("HttpHeaderConfig") or {}
        conditions.append(
            {
                "kind": condition["Field"],
                "values": header.get("Values") or condition["Values"],
                "header": header.get("HttpHeaderName", ""),
            }
        )
    return {"conditions": conditions, "action": _action(rule["Actions"])}


def _action(actions: list[dict[str, Any]]) -> dict[str, Any]:
    """The last one: others authenticate, which is not emulated."""
    action = max(actions, key=lambda each: int(each.get("Order") or 1))
    match action["Type"]:
        case "forward":
            return {"type": "forward", "group": action["TargetGroupArn"]}
        case "redirect":
            to = action["RedirectConfig"]
            return {
                "type": "redirect",
                "status": int(to["StatusCode"].removeprefix("HTTP_")),
                **{
                    part: to[part.capitalize()]
                    for part in ("protocol", "host", "port", "path", "query")
                },
            }
        case "fixed-response":
            answer = action["FixedResponseConfig"]
            return {
                "type": "fixed",
                "status": int(answer["StatusCode"]),
                "content_type": answer.get("ContentType", "text/plain"),
                "body": answer.get("MessageBody", ""),
            }
    return {
        "type": "fixed",
        "status": 501,
        "content_type": "text/plain",
        "body": f"The emulator has no action {action['Type']}.",
    }


load_balancers = LoadBalancers()


@replaces("ministack.services.alb", "_create_lb", source="80262ade9bce")
def _create_lb(original: Callable[..., Any], params: dict[str, Any]) -> Any:  # noqa: ANN401
    from ministack.services import alb

    before = set(alb._lbs.keys())
    answer = original(params)
    for arn in set(alb._lbs.keys()) - before:
        if alb._lbs[arn]["Type"] == "application":
            alb._lbs[arn]["State"] = "provisioning"
    return answer


@replaces("ministack.services.alb", "_describe_target_health", source="d848e8a26fcb")
def _describe_target_health(
    _original: Callable[..., Any],
    params: dict[str, Any],
) -> Any:  # noqa: ANN401
    from ministack.services import alb

    arn = alb._p(params, "TargetGroupArn")
    group = alb._tgs.get(arn)
    if group is None:
        return alb._error("TargetGroupNotFound", f"Target group '{arn}' not found.")
    asked = {_key(each, group) for each in alb._parse_targets_param(params)}
    registered = [_key(each, group) for each in alb._targets.get(arn, ())]
    keys = dict.fromkeys([*registered, *load_balancers.draining(arn)])
    members = "".join(_health_xml(arn, key) for key in keys if not asked or key in asked)
    return alb._xml(
        200,
        "DescribeTargetHealth",
        f"<TargetHealthDescriptions>{members}</TargetHealthDescriptions>",
    )


def _health_xml(arn: str, key: str) -> str:
    host, _, port = key.rpartition(":")
    health = load_balancers.health(arn, key)
    details = "".join(
        f"<{tag}>{escape(health[name])}</{tag}>"
        for tag, name in (("Reason", "reason"), ("Description", "description"))
        if health[name]
    )
    return (
        f"<member><Target><Id>{escape(host)}</Id><Port>{port}</Port></Target>"
        f"<HealthCheckPort>{port}</HealthCheckPort>"
        f"<TargetHealth><State>{health['state']}</State>{details}</TargetHealth></member>"
    )


def install(emulator: Emulator) -> None:
    emulator.run(lambda: load_balancers.work(put(emulator.endpoint)))
