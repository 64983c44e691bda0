import pytest

from pkg.devkit.names import API
from pkg.devkit.process.workloads import ServiceWorkload


def test_closed_workload_still_knows_its_port() -> None:
    workload = ServiceWorkload(API, listener=lambda: None, settings={})
    port = workload.port

    workload.close()

    assert workload.port == port > 0


@pytest.mark.parametrize(
    ("settings", "within_s"),
    [({}, 23), ({"DEREGISTER_S": "40", "SHUTDOWN_TIMEOUT_S": "60"}, 108)],
)
def test_time_to_stop_follows_from_the_settings(settings: dict[str, str], within_s: float) -> None:
    workload = ServiceWorkload(API, listener=lambda: None, settings=settings)

    assert workload.launch().stop_within_s == within_s

    workload.close()
