from dataclasses import replace

from pkg.devkit.compose.changes import changes_between
from pkg.devkit.compose.container import container_of
from tests.unit.devkit.compose.test_container import HEALTHY, inspected

API = replace(container_of(inspected(Health=HEALTHY)), restarts=0)


def test_unchanged_container_is_not_reported() -> None:
    assert list(changes_between([API], [API])) == []


def test_restart_failing_check_and_recovery_are_reported() -> None:
    failing = replace(API, health="unhealthy", last_check="503: no redis")

    assert list(changes_between([API], [replace(API, restarts=1)])) == [
        "api-gateway-1 ended and was started again (restart 1)"
    ]
    assert list(changes_between([API], [failing])) == ["api-gateway-1 is unready: 503: no redis"]
    assert list(changes_between([failing], [API])) == ["api-gateway-1 is ready"]


def test_containers_that_start_and_go_are_reported() -> None:
    successor = replace(API, id="two", number=2)

    assert list(changes_between([API], [successor])) == [
        "api-gateway-2 starts",
        "api-gateway-1 is gone",
    ]
