import json
from datetime import UTC, datetime, timedelta

from pkg.runtime.readiness import Readiness, health_page, ready_page


def test_health_does_not_depend_on_other_parts() -> None:
    readiness = Readiness("archival-worker")
    readiness.watch("redis", lambda: "down")

    page = health_page(readiness)

    body = json.loads(page.body)
    assert (page.status, body["status"], body["service"]) == (200, "healthy", "archival-worker")
    shown = datetime.fromisoformat(body["time"])
    assert abs(datetime.now(UTC) - shown) < timedelta(seconds=5)


def test_only_required_parts_decide_readiness() -> None:
    readiness = Readiness("api-gateway")
    redis, nats = [None, "down"], ["down", None]
    readiness.watch("redis", lambda: redis[0])
    readiness.watch("nats", lambda: nats[0], required=False)

    up = ready_page(readiness)
    redis.reverse()
    nats.reverse()
    down = ready_page(readiness)

    assert (up.status, json.loads(up.body)) == (
        200,
        {"ready": True, "checks": {"redis": "ok", "nats": "down"}},
    )
    assert (down.status, json.loads(down.body)) == (
        503,
        {"ready": False, "checks": {"redis": "down", "nats": "ok"}},
    )


def test_draining_process_is_not_ready_and_reports_draining() -> None:
    readiness = Readiness("api-gateway")
    readiness.watch("redis", lambda: None)

    readiness.draining = True

    page = ready_page(readiness)
    assert page.status == 503
    assert json.loads(page.body) == {
        "ready": False,
        "checks": {"redis": "ok", "draining": "yes"},
    }
