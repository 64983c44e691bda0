"""Faults of the network between the services and each store."""

from functools import partial

from pkg.devkit.names import NATS, POSTGRES, REDIS, STORES
from pkg.trials.faults.row import REDIS_AWAY, Row
from pkg.trials.faults.trial import Trial

_DELAY_S = {REDIS: 0.1, NATS: 0.2, POSTGRES: 0.2}
"""Each way."""

_EXPECTS = {
    ("slow", REDIS): "Bids are answered more slowly.",
    ("slow", NATS): "Viewers see bids later.",
    ("slow", POSTGRES): "No visible effect.",
    ("half-open", REDIS): "Bids get 503 after REDIS_TIMEOUT_S; bids in flight get outcome_unknown.",
    ("half-open", NATS): "Bidding continues. Viewers get snapshots until pings detect the outage.",
    ("half-open", POSTGRES): "No visible effect. The archive resumes a few seconds later.",
    ("resetting", REDIS): "Bids in flight at a reset get 503 outcome_unknown; the next succeed.",
    ("resetting", NATS): "Bidding continues. Viewers' gaps are repaired.",
    ("resetting", POSTGRES): "No visible effect. A commit of unknown outcome is repeated.",
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
    trial.note(f"{trial.proxies[store].accepted - before} connections were opened meanwhile.")


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
