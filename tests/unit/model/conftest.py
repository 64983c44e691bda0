from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Discards the logs: a history logs hundreds of outages."""
    with structlog.testing.capture_logs():
        yield
