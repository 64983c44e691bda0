import pytest

from pkg.devkit.names import API
from pkg.devkit.process.workloads import ServiceWorkload


def test_a_replica_that_has_just_ended_still_has_its_port_for_whoever_asks() -> None:
    workload = ServiceWorkload(API, listener=lambda: None, settings={})
    port = workload.port

    workload.close()

    assert workload.port == port > 0


@pytest.mark.parametrize(
    ("settings", "within_s"),
    [({}, 23), ({"DEREGISTER_S": "40", "SHUTDOWN_TIMEOUT_S": "60"}, 108)],
)
def test_a_replica_has_the_time_to_end_that_its_settings_give_it(
    settings: dict[str, str], within_s: float
) -> None:
    workload = ServiceWorkload(API, listener=lambda: None, settings=settings)

    assert workload.launch().stop_within_s == within_s

    workload.close()
