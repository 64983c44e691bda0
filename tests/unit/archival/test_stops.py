import pytest

from pkg.archival.stops import (
    COMES_AGAIN_S,
    GRACE_S,
    MAX_COMES_AGAIN_S,
    REDELIVERIES_PER_S,
    Stops,
)
from pkg.auction.events import UnknownVersionError

VERSION_2 = UnknownVersionError("version 2")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_message_of_a_newer_program_stops_its_partition_with_a_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stops = Stops(Clock())
    assert stops.probe() is None

    for data in (b"one", b"two", b"two"):
        stops.wait("p01", data, VERSION_2)

    assert stops.waiting == {"p01": 2}
    assert stops.probe() == "stopped: p01"
    assert (
        capsys.readouterr().out.count(
            "partition p01 holds events of version 2: roll the archival-wo"
        )
        == 1
    )


def test_partition_goes_on_here_when_another_worker_has_its_messages() -> None:
    clock = Clock()
    stops = Stops(clock)
    stops.wait("p01", b"one", VERSION_2)
    clock.now += COMES_AGAIN_S + GRACE_S
    stops.look()
    assert stops.waiting == {"p01": 1}

    clock.now += 0.1
    stops.look()

    assert stops.waiting == {}
    assert stops.probe() is None


def test_the_more_messages_wait_the_more_rarely_each_comes_again() -> None:
    stops = Stops(Clock())
    rate = REDELIVERIES_PER_S

    assert stops.wait("p01", b"first", VERSION_2) == COMES_AGAIN_S
    waits = [stops.wait("p02", b"%d" % number, VERSION_2) for number in range(40 * rate)]

    assert waits[10 * rate] == pytest.approx(10, abs=0.1)
    assert waits[-1] == MAX_COMES_AGAIN_S
