"""A `docker` command whose engine is a file: containers come and go, and it fails as it is told.

    docker_standin.py FOLDER ARGUMENTS

FOLDER/engine.json is the engine (see `standin.Engine`, which writes it); FOLDER/calls gets a line a
call. It knows what bidkit asks, no more.
"""

import contextlib
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

STORES = ("redis", "nats", "postgres")
SERVICES = ("api-gateway", "broadcast-service", "archival-worker")
PORTS = {"api-gateway": 8080, "broadcast-service": 8081}
FOLDER = Path(sys.argv[1])
TAKES_VALUE = {"--file", "--project-name", "--progress", "--format", "--time", "--tail"}
ENDING = ("compose stop", "compose down")
PROJECT = "com.docker.compose.project"
State = dict[str, Any]


@contextlib.contextmanager
def engine() -> Iterator[State]:
    with (FOLDER / "engine.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        file = FOLDER / "engine.json"
        state = json.loads(file.read_text())
        yield state
        writing = file.with_suffix(".new")
        writing.write_text(json.dumps(state))
        writing.replace(file)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def note(line: str) -> None:
    with (FOLDER / "calls").open("a") as calls:
        calls.write(f"{line}\n")


def parsed(arguments: list[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Words, and options with their values."""
    words: list[str] = []
    options: list[tuple[str, str]] = []
    left = iter(arguments)
    for text in left:
        if not text.startswith("-"):
            words.append(text)
        elif text in TAKES_VALUE:
            options.append((text, next(left)))
        else:
            name, _, value = text.partition("=")
            options.append((name, value))
    return words, options


def begin(state: State, service: str) -> None:
    state["made"] += 1
    used = {one["number"] for one in state["containers"] if one["service"] == service}
    number = next(n for n in range(1, 99) if n not in used)
    state["containers"].append(
        {"id": f"id{state['made']}", "service": service, "number": number, "status": "running"}
    )


def up(state: State, words: list[str], options: list[tuple[str, str]]) -> None:
    over = [json.loads(Path(f).read_text()) for o, f in options if o == "--file" and "json" in f]
    asked = dict(text.split("=") for option, text in options if option == "--scale")
    state["networks"] = ["network"]
    state["volumes"] = ["redis-data"]
    for service in words or (*STORES, *SERVICES, "edge"):
        scale = over[-1]["services"].get(service, {}).get("scale", 1) if over else 1
        wanted = int(asked.get(service, scale))
        here = [one for one in state["containers"] if one["service"] == service]
        for one in here[:wanted]:
            one["status"] = "running"
        for one in here[wanted:]:
            state["containers"].remove(one)
        for _ in range(wanted - len(here)):
            begin(state, service)


def down(state: State, options: list[tuple[str, str]]) -> None:
    state["containers"], state["networks"] = [], []
    if ("--volumes", "") in options:
        state["volumes"] = []


def configuration(options: list[tuple[str, str]]) -> State:
    """As compose prints it: a dollar is written as two, in the override's values as here."""
    over = [json.loads(Path(f).read_text()) for o, f in options if o == "--file" and "json" in f]
    given = over[-1]["services"] if over else {}
    stores = {"REDIS_ADDR": "redis:6379", "NATS_URL": "nats://nats:4222"}
    own: State = {
        "api-gateway": {**stores, "BID_STRATEGY": "lua", "DEREGISTER_S": "2"},
        "broadcast-service": {**stores, "DEREGISTER_S": "2"},
        "archival-worker": {**stores, "POSTGRES_URL": "postgresql://bidding@postgres/bidding"},
    }
    shared = services_env()
    services: State = {name: {"image": name} for name in ("redis", "postgres", "edge")}
    services["nats"] = {"image": "own/nats:tag", "build": {}}
    for name, its in own.items():
        environment = shared | its | given.get(name, {}).get("environment", {})
        services[name] = {"image": f"own/{name}:tag", "build": {}, "environment": environment}
    return {"services": services}


def services_env() -> State:
    """Of the file for all services, over which goes what each is given by name."""
    file = os.environ.get("SERVICES_ENV")
    lines = Path(file).read_text().splitlines() if file else []
    return dict(line.split("=") for line in lines)


def inspected(one: State, state: State) -> State:
    health = "healthy" if {one["service"], one["id"]}.isdisjoint(state["unready"]) else "unhealthy"
    return {
        "Id": one["id"],
        "Name": f"/{one['service']}-{one['number']}",
        "State": {
            "Status": one["status"],
            "Health": {"Status": health, "Log": [{"Output": "no answer"}]},
            "ExitCode": 0,
            "OOMKilled": False,
            "StartedAt": "2026-01-02T03:04:05Z",
            "Pid": 0,
        },
        "Config": {
            "Labels": {
                "com.docker.compose.service": one["service"],
                "com.docker.compose.container-number": str(one["number"]),
            },
            "Env": [],
        },
        "NetworkSettings": {"Networks": {"own": {"IPAddress": f"10.0.0.{one['id'][2:]}"}}},
        "RestartCount": 0,
    }


def servers(state: State) -> str:
    """What the edge says it has, as HAProxy's statistics do."""
    rows = ["# pxname,svname,status,addr,"]
    for one in state["containers"]:
        if one["service"] in PORTS:
            seen = "DOWN" if one["id"] in state["unseen"] else "UP"
            backend = one["service"].partition("-")[0]
            address = f"10.0.0.{one['id'][2:]}:{PORTS[one['service']]}"
            rows.append(f"{backend},replica-{one['number']},{seen},{address},")
    return "\n".join(rows)


def compose(state: State, words: list[str], options: list[tuple[str, str]]) -> None:
    match words:
        case ["up", *services]:
            up(state, services, options)
        case ["stop"]:
            for one in state["containers"]:
                one["status"] = "exited"
        case ["kill"]:
            state["kills"] = state.get("kills", 0) + 1
            for one in state["containers"]:
                one["status"] = "exited"
        case ["down"]:
            down(state, options)
        case ["build", *_]:
            build(state)
        case ["config"]:
            say(json.dumps(configuration(options)))
        case ["version"]:
            say("5.0")


def build(state: State) -> None:
    """Other images each time; one of them when it breaks off half-way."""
    state["builds"] = state.get("builds", 0) + 1
    broken_off = state["orders"].get("compose build", {}).get("half")
    for name in own_names()[: 1 if broken_off else None]:
        state["images"][f"own/{name}:tag"] = f"sha256:{state['builds']}"


def own_names() -> tuple[str, ...]:
    return ("nats", *SERVICES)


def image_ids(state: State, names: list[str]) -> None:
    for name in names:
        if name.startswith("own/") and name not in state["images"]:
            sys.exit(f"Error: No such image: {name}")
        say(state["images"].get(name, f"sha256:{name}"))


def about_containers(state: State, words: list[str]) -> None:
    containers = state["containers"]
    match words:
        case ["inspect", *ids]:
            found = [inspected(one, state) for one in containers if one["id"] in ids]
            if len(found) < len(ids):
                sys.exit("Error: No such container: of these")
            say(json.dumps(found))
        case ["stop", *names]:
            for one in containers:
                one["status"] = "exited" if one["id"] in names else one["status"]
        case ["rm", *names]:
            state["containers"] = [one for one in containers if one["id"] not in names]


def answer(state: State, words: list[str], options: list[tuple[str, str]]) -> None:
    match words:
        case ["compose", *rest]:
            compose(state, rest, options)
        case ["container", *rest]:
            about_containers(state, rest)
        case ["image", "inspect", *names]:
            image_ids(state, names)
        case ["logs", name]:
            say(f"what {name} had to say")
            if any(one["id"] == name and one["status"] == "exited" for one in state["containers"]):
                say(f"the last words of {name}")
        case ["exec", *_]:
            say(servers(state))
        case _:
            say("\n".join(listed(state, words[0])))


def listed(state: State, what: str) -> list[str]:
    known: dict[str, list[str]] = {
        "version": ["27.0"],
        "info": ["27.0"],
        "ps": [one["id"] for one in state["containers"]],
        "image": ["redis", "postgres", "edge"],
        "volume": state["volumes"],
        "network": state["networks"],
    }
    return known[what]


def kills() -> int:
    with engine() as state:
        return int(state.get("kills", 0))


def linger(key: str, seconds: float, signals: list[int] | None) -> None:
    """What waits for containers to end has nothing to wait for once they are killed."""
    signal.signal(signal.SIGTERM, lambda *_: ended(key))
    before, deadline = kills(), time.monotonic() + seconds
    note(f"{key} lingers")
    if signals:
        os.kill(*signals)
    while time.monotonic() < deadline:
        if key in ENDING and kills() > before:
            note(f"{key} was hurried")
            return
        time.sleep(0.05)
    note(f"{key} came to its end")


def ended(key: str) -> None:
    note(f"{key} was ended")
    os._exit(143)


def main() -> None:
    words, options = parsed(sys.argv[2:])
    key = " ".join(words[: 2 if words[0] in {"compose", "container", "image"} else 1])
    note(" ".join(sys.argv[2:]))
    with engine() as state:
        order = state["orders"].get(key, {})
        if order.get("times", 1) <= 0:
            order = {}
        if order:
            order["times"] = order.get("times", 1 << 30) - 1
        if key not in ENDING:
            carry_out(order, state, words, options)
    if order.get("signals") and not order.get("lingers_s"):
        os.kill(*order["signals"])
    if order.get("lingers_s"):
        linger(key, order["lingers_s"], order.get("signals"))
    if key in ENDING:  # what ends containers has ended them when it is at its end
        with engine() as state:
            carry_out(order, state, words, options)
    if order.get("says"):
        sys.exit(order["says"])


def carry_out(order: State, state: State, words: list[str], options: list[tuple[str, str]]) -> None:
    if not (order.get("says") or order.get("does_nothing")) or order.get("half"):
        answer(state, words, options)


main()
