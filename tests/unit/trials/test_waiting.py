import time

import pytest

from pkg.trials.waiting import NotInTimeError, until


async def test_stalled_machine_does_not_use_up_the_time() -> None:
    checks = 0

    def true_after_a_stall() -> bool:
        nonlocal checks
        checks += 1
        if checks == 1:
            time.sleep(0.3)
        return checks == 3

    await until(true_after_a_stall, within_s=0.2)


async def test_error_shows_what_was_last_seen() -> None:
    began = time.monotonic()

    with pytest.raises(NotInTimeError, match=r"not within 0\.3 s; last seen: 0"):
        await until(lambda: 0, within_s=0.3)

    assert time.monotonic() - began >= 0.3


async def test_measured_bound_is_by_the_wall_clock() -> None:
    began = time.monotonic()

    with pytest.raises(NotInTimeError):
        await until(lambda: time.sleep(0.2), within_s=0.3, wall_clock=True)

    assert time.monotonic() - began < 1


async def test_no_time_at_all_is_one_check_more() -> None:
    with pytest.raises(NotInTimeError):
        await until(lambda: False, within_s=0)
