from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """A history logs more outages than anybody wants to read."""
    with structlog.testing.capture_logs():
        yield
