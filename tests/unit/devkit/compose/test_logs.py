import pytest

from pkg.devkit.backend import LogLine
from pkg.devkit.compose.logs import parse


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("api-gateway-12  | a | b", LogLine("api-gateway-12", "a | b")),
        ("redis-1  | ready", LogLine("redis", "ready")),
        ("edge-1  | ", LogLine("edge", "")),
    ],
)
def test_a_line_of_compose_bears_the_name_the_replica_has_elsewhere(
    line: str, expected: LogLine
) -> None:
    assert parse(line) == expected
