from dataclasses import replace

from pkg.devkit.compose.changes import changes
from pkg.devkit.compose.container import Container

API = Container(
    id="one",
    name="bidding-system-api-gateway-1",
    service="api-gateway",
    number=1,
    status="running",
    health="healthy",
    last_check="ready",
    exit_code=0,
    out_of_memory=False,
    error="",
    restarts=0,
    pid=4711,
    address=None,
    health_port=8080,
    started_at=None,
)


def test_what_stays_as_it_is_is_not_told() -> None:
    assert list(changes([API], [API])) == []


def test_a_restart_a_failing_check_and_a_recovery_are_told() -> None:
    failing = replace(API, health="unhealthy", last_check="503: no redis")

    assert list(changes([API], [replace(API, restarts=1)])) == [
        "api-gateway-1 ended and was started again (restart 1)"
    ]
    assert list(changes([API], [failing])) == ["api-gateway-1 is unready: 503: no redis"]
    assert list(changes([failing], [API])) == ["api-gateway-1 is ready"]


def test_what_comes_and_goes_is_told() -> None:
    heir = replace(API, id="two", number=2)

    assert list(changes([API], [heir])) == ["api-gateway-2 starts", "api-gateway-1 is gone"]
