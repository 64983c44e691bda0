import os
import signal

import pytest

from pkg.devkit.signals import cancellation, signals_deferred


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def test_a_signal_only_sets_the_token_until_somebody_asks_it() -> None:
    with cancellation() as token:
        token.check()
        send(signal.SIGTERM)

        assert token.requested.is_set()
        assert not token.hurried.is_set()
        with pytest.raises(KeyboardInterrupt):
            token.check()


def test_a_second_signal_asks_for_hurry_but_not_that_of_a_closing_terminal() -> None:
    with cancellation() as token:
        send(signal.SIGHUP)
        send(signal.SIGHUP)
        assert not token.hurried.is_set()

        send(signal.SIGINT)
        assert token.hurried.is_set()


def test_after_the_block_ctrl_c_interrupts_again() -> None:
    with cancellation():
        pass

    with pytest.raises(KeyboardInterrupt):
        send(signal.SIGINT)


def test_a_deferred_signal_takes_effect_when_the_block_ends() -> None:
    done = []

    def work() -> None:
        with signals_deferred():
            send(signal.SIGINT)
            done.append("after the signal")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done


def test_a_deferred_signal_is_not_lost_when_the_block_raises() -> None:
    def work() -> None:
        with signals_deferred():
            send(signal.SIGINT)
            raise RuntimeError

    with pytest.raises(KeyboardInterrupt):
        work()
