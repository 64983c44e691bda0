from pkg.broadcast.allowance import Allowance


def spent(allowance: Allowance, count: int, now: float) -> int:
    return sum(allowance.spend(now) for _ in range(count))


def test_five_seconds_worth_may_come_at_once_and_no_more() -> None:
    assert spent(Allowance(10, 0.0), 1000, 0.0) == 50


def test_it_fills_up_again_with_time() -> None:
    allowance = Allowance(10, 0.0)
    spent(allowance, 1000, 0.0)

    assert spent(allowance, 1000, 2.0) == 20


def test_silence_saves_up_no_more_than_five_seconds_worth() -> None:
    assert spent(Allowance(10, 0.0), 1000, 3600.0) == 50


def test_the_allowed_rate_is_never_too_much() -> None:
    allowance = Allowance(10, 0.0)

    assert all(allowance.spend(number / 10) for number in range(10_000))
