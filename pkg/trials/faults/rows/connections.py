"""Faults of the network between the services and each store."""

from functools import partial

from pkg.devkit.names import NATS, POSTGRES, REDIS, STORES
from pkg.trials.faults.row import REDIS_AWAY, Row
from pkg.trials.faults.trial import Trial

_DELAY_S = {REDIS: 0.1, NATS: 0.2, POSTGRES: 0.2}
"""Each way."""

_EXPECTS = {
    ("slow", REDIS): "Bids are answered later.",
    ("slow", NATS): "Viewers see bids later.",
    ("slow", POSTGRES): "Nobody notices.",
    ("half-open", REDIS): "Bids get 503 after REDIS_TIMEOUT_S; those in flight outcome_unknown.",
    ("half-open", NATS): "Bids go on. Viewers get snapshots until pings have found it out.",
    ("half-open", POSTGRES): "Nobody notices. The archive catches up after the statement time-out.",
    ("resetting", REDIS): "Bids in flight at a reset get 503 outcome_unknown, the next ones pass.",
    ("resetting", NATS): "Bids go on. Viewers' gaps are repaired.",
    ("resetting", POSTGRES): "Nobody notices. A commit of unknown outcome is repeated.",
}


async def _slow(store: str, trial: Trial) -> None:
    trial.proxies[store].slow(delay_s=_DELAY_S[store])
    await trial.hold(15, short_s=4)
    trial.proxies[store].restore()


async def _half_open(store: str, trial: Trial) -> None:
    trial.proxies[store].half_open()
    await trial.hold(15, short_s=4)
    trial.proxies[store].restore()


async def _resetting(store: str, trial: Trial) -> None:
    before = trial.proxies[store].accepted
    trial.proxies[store].resetting(after_s=0.5)
    await trial.hold(15, short_s=4)
    trial.proxies[store].restore()
    trial.note(f"{trial.proxies[store].accepted - before} connections were made meanwhile.")


_FAULTS = {"slow": _slow, "half-open": _half_open, "resetting": _resetting}

ROWS = tuple(
    Row(
        name=f"{store}-{kind}",
        expects=_EXPECTS[kind, store],
        fault=partial(fault, store),
        proxied=True,
        may_fail=REDIS_AWAY if store == REDIS and kind != "slow" else frozenset(),
    )
    for store in STORES
    for kind, fault in _FAULTS.items()
)
