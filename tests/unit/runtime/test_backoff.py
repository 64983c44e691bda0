from pkg.runtime.backoff import Backoff


def test_delays_double_up_to_the_cap_and_start_over_after_a_reset() -> None:
    backoff = Backoff(0.5, 30)

    delays = [backoff.next_s() for _ in range(9)]

    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    backoff.reset()
    assert backoff.next_s() == 0.5


def test_delay_after_a_limited_one_is_twice_the_limited_one() -> None:
    backoff = Backoff(4, 30)

    assert [backoff.next_s(at_most_s=1), backoff.next_s()] == [1, 2]


def test_jitter_shortens_each_delay_by_up_to_half_and_does_not_accumulate() -> None:
    backoff = Backoff(1, 8, jitter=True)

    delays = [backoff.next_s() for _ in range(6)]

    assert all(
        cap / 2 <= delay <= cap for delay, cap in zip(delays, [1, 2, 4, 8, 8, 8], strict=True)
    )
