"""The load balancer's line to the emulator: records come in, health and counts go out.

One JSON object a line over TCP. The emulator sends all records each time; the answer says what is
true after they have been taken over, so a target that they no longer contain gets no new request.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

from localstack.emulator.load_balancer import probes, routing
from localstack.emulator.load_balancer.messages import HEAD_LIMIT
from localstack.emulator.load_balancer.proxy import Proxy, Records

LINE_LIMIT = 4 * 1024 * 1024

log = logging.getLogger("load_balancer")


class LoadBalancer:
    def __init__(self, *, ports: Callable[[int], int] = lambda port: port, host: str = "") -> None:
        """`ports` gives the port to bind for a listener's port."""
        self.records = Records()
        self.proxy = Proxy(self.records)
        self._host = host or None
        self._ports = ports
        self._servers: dict[int, asyncio.Server] = {}
        self._watches: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def serve_link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                await self.take_over(json.loads(line))
                writer.write(json.dumps(self.measured()).encode() + b"\n")
                await writer.drain()
        except OSError:
            log.info("the emulator closed the link")
        finally:
            writer.close()

    async def take_over(self, said: dict[str, Any]) -> None:
        records = self.records
        records.idle_timeout_s = said["idle_timeout_s"]
        records.drop_invalid_fields = said["drop_invalid_fields"]
        records.forwarded_for = said["forwarded_for"]
        records.published = {int(port): to for port, to in said["published"].items()}
        for arn in set(records.groups) - set(said["groups"]):
            self._keep_targets(arn, records.groups.pop(arn), {})
        for arn, group in said["groups"].items():
            self._take_group(arn, group)
        records.listeners = {
            int(port): _listener(listener) for port, listener in said["listeners"].items()
        }
        await self._listen()

    async def close(self) -> None:
        for server in self._servers.values():
            server.close()
        for watch in self._watches.values():
            watch.cancel()
        await asyncio.gather(*self._watches.values(), return_exceptions=True)
        self.proxy.close()

    def port_of(self, listener: int) -> int:
        """Where it listens; for tests that let the system choose."""
        port: int = self._servers[listener].sockets[0].getsockname()[1]
        return port

    async def _listen(self) -> None:
        for port in set(self._servers) - set(self.records.listeners):
            self._servers.pop(port).close()
        for port in set(self.records.listeners) - set(self._servers):

            async def serve(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int = port
            ) -> None:
                await self.proxy.serve_client(port, reader, writer)

            self._servers[port] = await asyncio.start_server(
                serve, self._host, self._ports(port), limit=HEAD_LIMIT, backlog=1024
            )

    def _take_group(self, arn: str, said: dict[str, Any]) -> None:
        group = self.records.groups.setdefault(arn, routing.Group())
        group.sticky_s = said["sticky_s"]
        check = probes.Check(**said["check"])
        wanted = {f"{each['host']}:{each['port']}": each for each in said["targets"]}
        self._keep_targets(arn, group, wanted)
        for key, each in wanted.items():
            target = group.targets.get(key)
            generation = each.get("generation", 0)
            if (
                target is None
                or target.generation != generation
                or (target.draining and not each["draining"])
            ):
                self._stop_watching(arn, key)
                if target:
                    target.draining = True
                    self.proxy.forget(target)
                target = routing.Target(
                    each["host"], each["port"], probes.Health(check), generation
                )
                group.targets[key] = target
            target.health.check = check
            if each["draining"] and not target.draining:
                target.draining = True
                self._stop_watching(arn, key)
                self.proxy.forget(target)
            elif not each["draining"] and (arn, key) not in self._watches:
                watch = probes.watch(target.health, target.host, target.port)
                self._watches[arn, key] = asyncio.create_task(watch)

    def _keep_targets(self, arn: str, group: routing.Group, wanted: dict[str, Any]) -> None:
        for key in set(group.targets) - set(wanted):
            self._stop_watching(arn, key)
            target = group.targets.pop(key)
            # Requests in flight keep the object: their connections are closed, not kept.
            target.draining = True
            self.proxy.forget(target)

    def _stop_watching(self, arn: str, key: str) -> None:
        watch = self._watches.pop((arn, key), None)
        if watch:
            watch.cancel()

    def measured(self) -> dict[str, Any]:
        """Counts since the start."""
        records = self.records
        return {
            "requests": records.requests,
            "elb_5xx": records.elb_5xx,
            "target_5xx": records.target_5xx,
            "connections": records.connections,
            "groups": {
                arn: {
                    "requests": group.requests,
                    "elb_5xx": group.elb_5xx,
                    "target_5xx": group.target_5xx,
                    "seconds": group.seconds,
                    "targets": {
                        key: {
                            "state": target.health.state,
                            "reason": target.health.reason,
                            "description": target.health.description,
                            "in_flight": target.in_flight,
                            "requests": target.requests,
                        }
                        for key, target in group.targets.items()
                    },
                }
                for arn, group in records.groups.items()
            },
        }


def _listener(said: dict[str, Any]) -> routing.Listener:
    return routing.Listener(said["protocol"], tuple(_rule(each) for each in said["rules"]))


def _rule(said: dict[str, Any]) -> routing.Rule:
    conditions = tuple(
        routing.Condition(each["kind"], tuple(each["values"]), each.get("header", ""))
        for each in said["conditions"]
    )
    action = dict(said["action"])
    kind = {"forward": routing.Forward, "fixed": routing.Fixed, "redirect": routing.Redirect}[
        action.pop("type")
    ]
    return routing.Rule(conditions, kind(**action))
