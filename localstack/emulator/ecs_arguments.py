"""The one place that says how a task's container is run.

Replaces ``ecs._build_run_kwargs``, which leaves out entry point, user, limits, read-only root,
dropped capabilities, health check and EFS volumes. What it does well (names, labels, environment,
platform) is taken from it. Can go when MiniStack passes these on.
"""

import resource
from collections.abc import Callable, Mapping
from typing import Any

from docker.types import Healthcheck, Ulimit

from localstack.emulator import cloud_map, efs, engine
from localstack.emulator.upstream import replaces

Settings = dict[str, Any]

DEFAULT_STOP_TIMEOUT_S = 30
_SECOND = 1_000_000_000  # in Docker's unit
_LOOPBACK = "127.0.0.1"


@replaces("ministack.services.ecs", "_build_run_kwargs", source="25f7593b8823")
def _build_run_kwargs(
    original: Callable[..., Settings],
    container: Mapping[str, Any],
    task_definition: Mapping[str, Any],
    environment: Mapping[str, str],
    ports: Mapping[str, int],
    network: str | None,
    *others: Any,  # noqa: ANN401
) -> Settings:
    settings = original(container, task_definition, environment, ports, network, *others)
    volumes = [*settings.get("volumes", ()), *efs.binds(task_definition, container)]
    names = [] if settings.get("network_mode") else cloud_map.names_of(others[2])
    return {
        **settings,
        **_process(container),
        **_limits(container, task_definition, processors=engine.processors()),
        **_privileges(container),
        "ports": {inside: (_LOOPBACK, outside) for inside, outside in ports.items()} or None,
        **({"volumes": volumes} if volumes else {}),
        **(_aliases(settings["network"], names) if names else {}),
    }


def _process(container: Mapping[str, Any]) -> Settings:
    check = container.get("healthCheck")
    return {
        # An entry point without a command must not get the image's command as its arguments.
        "entrypoint": container.get("entryPoint"),
        "command": container.get("command"),
        "user": container.get("user"),
        "working_dir": container.get("workingDirectory"),
        "init": (container.get("linuxParameters") or {}).get("initProcessEnabled") or None,
        "healthcheck": _health_check(check) if check else None,
    }


def _health_check(check: Mapping[str, Any]) -> Healthcheck:
    return Healthcheck(
        test=check["command"],
        interval=check.get("interval", 30) * _SECOND,
        timeout=check.get("timeout", 5) * _SECOND,
        retries=check.get("retries", 3),
        start_period=check.get("startPeriod", 0) * _SECOND,
    )


def _limits(
    container: Mapping[str, Any], task_definition: Mapping[str, Any], *, processors: int
) -> Settings:
    """The container's own, or else the task's, as far as this machine has as much."""
    cpu = int(container.get("cpu") or task_definition.get("cpu") or 0)
    memory = int(container.get("memory") or task_definition.get("memory") or 0)
    _soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits: Settings = {
        "ulimits": [
            Ulimit(
                name=each["name"],
                soft=_at_most(each["softLimit"], most)
                if each["name"] == "nofile"
                else each["softLimit"],
                hard=_at_most(each["hardLimit"], most)
                if each["name"] == "nofile"
                else each["hardLimit"],
            )
            for each in container.get("ulimits") or ()
        ]
    }
    if cpu:
        limits["nano_cpus"] = min(cpu * _SECOND // 1024, processors * _SECOND)
    if memory:
        limits["mem_limit"] = limits["memswap_limit"] = f"{memory}m"
    return limits


def _at_most(wanted: int, most: int) -> int:
    return wanted if most == resource.RLIM_INFINITY else min(wanted, most)


def _privileges(container: Mapping[str, Any]) -> Settings:
    capabilities = (container.get("linuxParameters") or {}).get("capabilities") or {}
    return {
        "read_only": bool(container.get("readonlyRootFilesystem")),
        "cap_add": capabilities.get("add") or None,
        "cap_drop": capabilities.get("drop") or None,
    }


def _aliases(network: str, names: list[str]) -> Settings:
    configuration = engine.engine().api.create_endpoint_config(aliases=names)
    return {"networking_config": {network: configuration}}


def stop_timeout_s(container: Mapping[str, Any]) -> int:
    return int(container.get("stopTimeout") or DEFAULT_STOP_TIMEOUT_S)
