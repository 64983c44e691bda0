"""Settings for all tests."""

import signal

import pytest
from hypothesis import HealthCheck, settings

# An example's duration depends on how busy the machine is, not on the code.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

# In the background or under nohup these are ignored, also by all processes that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--servers",
        choices=("wheels", "containers"),
        default="wheels",
        help="how integration tests run Redis, NATS and PostgreSQL",
    )
