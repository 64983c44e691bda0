from pkg.runtime.backoff import Backoff


def test_delays_double_up_to_the_cap_and_a_reset_starts_over() -> None:
    backoff = Backoff(0.5, 30)

    delays = [backoff.next_s() for _ in range(9)]

    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    backoff.reset()
    assert backoff.next_s() == 0.5


def test_a_delay_cut_short_is_the_one_the_next_doubles() -> None:
    backoff = Backoff(4, 30)

    assert [backoff.next_s(at_most_s=1), backoff.next_s()] == [1, 2]


def test_jitter_takes_off_up_to_half_and_does_not_add_up() -> None:
    backoff = Backoff(1, 8, jitter=True)

    delays = [backoff.next_s() for _ in range(6)]

    assert all(
        cap / 2 <= delay <= cap for delay, cap in zip(delays, [1, 2, 4, 8, 8, 8], strict=True)
    )
