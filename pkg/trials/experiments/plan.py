"""An experiment with its settings, ready to be run on a system."""

import dataclasses
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pkg.devkit import views
from pkg.devkit.backend import BackendName
from pkg.devkit.errors import BidkitError
from pkg.trials.crowd.archive import POSTGRES_ERRORS
from pkg.trials.experiments import contention, emulated, fan_out, resilience, strikes
from pkg.trials.experiments.machine import Needs
from pkg.trials.experiments.recording import Recording, why
from pkg.trials.experiments.system import System, running
from pkg.trials.run_json import Experiment
from pkg.trials.waiting import NotInTimeError

_BREAK_OFF = (NotInTimeError, OSError, ExceptionGroup, *POSTGRES_ERRORS)
"""Errors of the system under test. Groups are those of bidders and viewers."""
_CLOUD_S = 360.0
"""Terraform's apply and destroy, and the images."""


@dataclass(frozen=True)
class Plan:
    name: Experiment
    quick: bool
    described: dict[str, object]
    """For run.json."""
    needs: Needs
    expected_s: float
    replicas: Mapping[str, int]
    settings: Mapping[str, str]
    """Of the services."""
    measure: Callable[[System, Recording], Awaitable[None]]
    notes: Sequence[str] = ()
    """Of the place where it runs."""


def of(name: str, *, on: BackendName, quick: bool) -> Plan:
    made = _of(name, on=on, quick=quick)
    return _in_cloud(made) if on is BackendName.CLOUD else made


def _in_cloud(plan: Plan) -> Plan:
    """Terraform chooses the services' settings, and how few tasks there may be."""
    described = plan.described | {"replicas": emulated.REPLICAS}
    if plan.settings:
        described["services"] = {}
    return dataclasses.replace(
        plan,
        described=described,
        expected_s=plan.expected_s + _CLOUD_S,
        replicas=emulated.REPLICAS,
        settings={},
        notes=(
            "the emulated AWS runs on this machine too, and its load balancer is a Python process",
            "API and broadcast scale themselves under load, between the bounds of dev.tfvars",
            *(
                [f"without {', '.join(plan.settings)}: services have the settings of Terraform"]
                if plan.settings
                else []
            ),
        ),
    )


def _of(name: str, *, on: BackendName, quick: bool) -> Plan:
    match name:
        case contention.NAME:
            return for_contention(contention.QUICK if quick else contention.FULL, quick=quick)
        case fan_out.NAME:
            return for_fan_out(fan_out.QUICK if quick else fan_out.FULL, quick=quick)
        case resilience.NAME:
            settings = resilience.QUICK if quick else resilience.FULL
            return for_resilience(settings, strikes.of(on), quick=quick)
    raise ValueError(name)


def for_contention(settings: contention.Settings, *, quick: bool) -> Plan:
    return Plan(
        name=contention.NAME,
        quick=quick,
        described=dataclasses.asdict(settings) | {"replicas": contention.REPLICAS},
        needs=settings.needs,
        expected_s=settings.expected_s,
        replicas=contention.REPLICAS,
        settings={},
        measure=lambda system, recording: contention.measure(system, settings, recording),
    )


def for_fan_out(settings: fan_out.Settings, *, quick: bool) -> Plan:
    return Plan(
        name=fan_out.NAME,
        quick=quick,
        described=dataclasses.asdict(settings)
        | {"replicas": fan_out.REPLICAS, "services": fan_out.SERVICES},
        needs=settings.needs,
        expected_s=sum(settings.expected_s(run.viewers) for run in fan_out.runs(settings)),
        replicas=fan_out.REPLICAS,
        settings=fan_out.SERVICES,
        measure=lambda system, recording: fan_out.measure(system, settings, recording),
    )


def for_resilience(settings: resilience.Settings, how: strikes.Strikes, *, quick: bool) -> Plan:
    count = len(list(resilience.runs(settings, how.can)))
    return Plan(
        name=resilience.NAME,
        quick=quick,
        described=dataclasses.asdict(settings) | {"replicas": resilience.REPLICAS},
        needs=settings.needs,
        expected_s=count * settings.run_expected_s,
        replicas=resilience.REPLICAS,
        settings={},
        measure=lambda system, recording: resilience.measure(system, settings, recording, how),
    )


async def run(
    plan: Plan, on: BackendName, results: Path, *, command: str, doubts: Sequence[str] = ()
) -> Recording:
    """Runs it on a system of its own, and tells where its files are, whatever happens.

    Raises:
        BidkitError: it broke off. What was measured is kept.
    """
    recording = Recording.begin(
        results,
        plan.name,
        backend=on.value,
        quick=plan.quick,
        settings=plan.described,
        command=command,
    )
    began = time.monotonic()
    views.complain(f"{plan.name}: starting a system of its own ...")
    try:
        with recording:
            for note in (*doubts, *plan.notes):
                recording.note(note)
            async with running(on, replicas=plan.replicas, settings=plan.settings) as system:
                await plan.measure(system, recording)
    except _BREAK_OFF as error:
        raise BidkitError(f"{plan.name} broke off: {why(error)}.") from error
    finally:
        took = views.duration(time.monotonic() - began)
        state = "complete" if recording.about.complete else "INCOMPLETE"
        views.write_regardless(f"{recording.folder} ({state}, {recording.runs} runs, {took})")
    return recording
