"""A deadline is for what is waited for, and not for the machine."""

import time

import pytest

from pkg.trials.waiting import NotInTimeError, until


async def test_a_machine_that_stood_still_past_the_deadline_is_given_time_to_go_on() -> None:
    looks = 0

    def comes_after_the_machine_stood_still() -> bool:
        nonlocal looks
        looks += 1
        if looks == 1:
            time.sleep(0.3)
        return looks == 3

    await until(comes_after_the_machine_stood_still, within_s=0.2)


async def test_what_never_comes_fails_with_what_was_last_seen() -> None:
    began = time.monotonic()

    with pytest.raises(NotInTimeError, match=r"not within 0\.3 s; last seen: 0"):
        await until(lambda: 0, within_s=0.3)

    assert time.monotonic() - began >= 0.3
