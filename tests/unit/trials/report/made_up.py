"""Made-up results in the format that experiments write. The same seed gives the same files."""

import csv
import gzip
import json
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

MACHINE = {
    "cores": 2,
    "memory_bytes": 24 * 2**30,
    "cpu": "Made-up CPU",
    "kernel": "Linux 6.1",
    "python": "3.11.7",
}


def about(experiment: str, **changes: object) -> dict[str, object]:
    return {
        "format": 1,
        "experiment": experiment,
        "started": "2026-11-29T20:00:00Z",
        "ended": "2026-11-29T20:09:30Z",
        "complete": True,
        "why_incomplete": None,
        "backend": "process",
        "quick": False,
        "commit": "0123456789abcdef",
        "dirty": False,
        "machine": MACHINE,
        "settings": {"users": [100, 1000], "seconds": 8},
        "command": f"./bidkit experiment {experiment}",
        "notes": ["made up"],
        **changes,
    }


def write(
    folder: Path,
    run_json: Mapping[str, object],
    files: Mapping[str, Sequence[Mapping[str, object]]],
) -> Path:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(run_json))
    for name, rows in files.items():
        opener = gzip.open if name.endswith(".gz") else open
        with opener(folder / name, "wt", newline="", encoding="utf-8") as text:
            writer = csv.DictWriter(text, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return folder


def contention(
    folder: Path,
    *,
    users: Iterable[int] = (100, 1000),
    repetitions: int = 3,
    samples: int = 400,
    slower: float = 1.0,
    seed: int = 1,
    **changes: object,
) -> Path:
    """``slower`` divides throughput and multiplies latency and CPU."""
    chance = random.Random(seed)
    runs: list[dict[str, object]] = []
    lines: list[dict[str, object]] = []
    for repetition in range(1, repetitions + 1):
        for number in users:
            for strategy in ("lua", "optimistic"):
                run = len(runs) + 1
                noise = chance.uniform(0.98, 1.02) * slower
                rows = [
                    _sample(run, chance, number=number, strategy=strategy, noise=noise)
                    for _ in range(samples)
                ]
                lines += rows
                runs.append(_contention_run(rows, run, repetition, strategy, number, noise))
    return write(
        folder, about("contention", **changes), {"runs.csv": runs, "samples.csv.gz": lines}
    )


def _sample(
    run: int, chance: random.Random, *, number: int, strategy: str, noise: float
) -> dict[str, object]:
    request = chance.choice(("read", "bid"))
    outcome = (
        "read"
        if request == "read"
        else chance.choices(("accepted", "refused", "failed", "unknown"), (30, 68, 1.5, 0.5))[0]
    )
    middle_us = number * (100 if strategy == "lua" else 160) * noise
    return {
        "run": run,
        "at_s": round(chance.uniform(0, 8), 4),
        "request": request,
        "outcome": outcome,
        "retries": 0 if strategy == "lua" else chance.choice((0, 0, 1, 3)),
        "latency_us": int(middle_us * chance.lognormvariate(0, 0.5)),
    }


def _contention_run(
    rows: Sequence[Mapping[str, object]],
    run: int,
    repetition: int,
    strategy: str,
    users: int,
    noise: float,
) -> dict[str, object]:
    def count(outcome: str) -> int:
        return sum(row["outcome"] == outcome for row in rows)

    cost_us = (60 if strategy == "lua" else 190) * noise
    return {
        "run": run,
        "repetition": repetition,
        "strategy": strategy,
        "users": users,
        "seconds": round(len(rows) / 9000 * (1 if strategy == "lua" else 2) * noise, 6),
        "requests": len(rows),
        "reads": count("read"),
        "bids": len(rows) - count("read"),
        "accepted": count("accepted"),
        "refused": count("refused"),
        "failed": count("failed"),
        "unknown": count("unknown"),
        "retries": sum(int(str(row["retries"])) for row in rows),
        "server_requests": len(rows),
        "api_cpu_s": round(len(rows) * cost_us / 1e6, 6),
        "redis_cpu_s": round(len(rows) * 25 / 1e6, 6),
        "audit": "ok",
    }


def fan_out(
    folder: Path,
    *,
    viewers: Iterable[int] = (10, 100),
    slow_shares: Iterable[float] = (0.0, 0.05),
    broadcasters: Iterable[int] = (1, 2),
    repetitions: int = 2,
    bids: int = 20,
    seed: int = 1,
    offset_us: int = 0,
    **changes: object,
) -> Path:
    chance = random.Random(seed)
    runs, lines, events = [], [], []
    cases = [
        (repetition, number, slow, many)
        for repetition in range(1, repetitions + 1)
        for number in viewers
        for slow in slow_shares
        for many in broadcasters
    ]
    for run, (repetition, number, slow, many) in enumerate(cases, 1):
        for seq in range(1, bids + 1):
            each = [
                int(1500 + place * 12 / many * chance.lognormvariate(0, 0.3))
                for place in range(number)
            ]
            lines += [
                {
                    "run": run,
                    "viewer": place,
                    "slow": int(place < slow * number),
                    "seq": seq,
                    "latency_us": latency,
                }
                for place, latency in enumerate(each)
            ]
            events.append({"run": run, "seq": seq, "last_viewer_latency_us": max(each)})
        runs.append(
            {
                "run": run,
                "repetition": repetition,
                "viewers": number,
                "slow_share": slow,
                "broadcasters": many,
                "bids": bids,
                "rate_per_s": 10,
                "connected": number,
                "expected": (number - math.ceil(slow * number)) * bids,
                "delivered": (number - math.ceil(slow * number)) * bids,
                "gaps": 0,
                "connect_p50_us": 900 + number,
                "connect_p99_us": 4000 + number * 3,
                "broadcaster_rss_before_bytes": 50_000_000 * many,
                "broadcaster_rss_bytes": 50_000_000 * many + number * 15_000,
                "memory_per_connection_bytes": 15_000,
                "broadcaster_cpu_s": round(
                    number * bids * 11 * chance.uniform(0.95, 1.05) / 1e6, 6
                ),
                "clock_offset_us": offset_us,
                "clock_error_us": 0 if not offset_us else 150,
                "audit": "ok",
            }
        )
    return write(
        folder,
        about("fan-out", **changes),
        {"runs.csv": runs, "deliveries.csv.gz": lines, "events.csv.gz": events},
    )


def resilience(
    folder: Path,
    *,
    faults: Iterable[tuple[str, str]] = (
        ("nats", "stop"),
        ("redis", "kill"),
        ("api-gateway", "kill"),
    ),
    lost: int = 0,
    rate_per_s: int = 13,
    seed: int = 1,
    **changes: object,
) -> Path:
    """Ten seconds before, ten of fault, ten after. Redis answers nothing while it is away."""
    chance = random.Random(seed)
    runs, bids, depths = [], [], []
    for run, (target, fault) in enumerate(faults, 1):
        rows = []
        for step in range(30 * rate_per_s):
            at_s = step / rate_per_s
            away = target == "redis" and 10 <= at_s < 14
            rows.append(
                {
                    "run": run,
                    "at_s": round(at_s, 4),
                    "outcome": chance.choice(("failed", "failed", "unknown"))
                    if away
                    else "accepted",
                    "latency_us": int(3000 * chance.lognormvariate(0, 0.4)) * (20 if away else 1),
                }
            )
        bids += rows
        for second in range(60):
            at_s = second / 2
            waiting = max(0.0, at_s - 10) * rate_per_s if at_s < 20 else 130 - (at_s - 20) * 60
            waiting = max(0, int(waiting)) if target == "nats" else chance.randint(0, 3)
            depths.append(
                {"run": run, "at_s": at_s, "outbox_depth": waiting, "unarchived": waiting + 2}
            )
        counts = [row["outcome"] for row in rows]
        runs.append(
            {
                "run": run,
                "target": target,
                "fault": fault,
                "baseline_from_s": 1.0,
                "fault_from_s": 10.0,
                "fault_to_s": 20.0,
                "recovery_to_s": 30.0,
                **{
                    what: counts.count(what)
                    for what in ("accepted", "refused", "failed", "unknown")
                },
                "lost": lost,
                "archived_late": 0,
                "drain_s": 1.2,
                "viewer_gaps": 0,
                "audit": "ok" if not lost else f"lamp: {lost} accepted bids are in no store",
            }
        )
    return write(
        folder,
        about("resilience", **changes),
        {"runs.csv": runs, "bids.csv.gz": bids, "depth.csv.gz": depths},
    )
