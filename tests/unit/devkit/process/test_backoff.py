from pkg.devkit.process.backoff import HEALTHY_AFTER_S, LONGEST_S, Backoff


def test_waits_double_up_to_the_cap() -> None:
    backoff = Backoff()

    delays = [backoff.delay_s(ran_s=0) for _ in range(9)]

    assert delays == [0.5, 1, 2, 4, 8, 16, LONGEST_S, LONGEST_S, LONGEST_S]


def test_a_minute_of_health_starts_over() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.delay_s(ran_s=0)

    after_health = backoff.delay_s(ran_s=HEALTHY_AFTER_S)

    assert after_health == 0.5
