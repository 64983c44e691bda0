from pkg.devkit.names import API
from pkg.devkit.process.workloads import ServiceWorkload


def test_a_replica_that_has_just_ended_still_has_its_port_for_whoever_asks() -> None:
    workload = ServiceWorkload(API, listener=lambda: None, settings={})
    port = workload.port

    workload.close()

    assert workload.port == port > 0
