import pytest

from pkg.devkit.errors import BadArgument
from pkg.devkit.names import named, scaling


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("api", "api-gateway"),
        ("broadcast", "broadcast-service"),
        ("archival", "archival-worker"),
        ("api-gateway", "api-gateway"),
        ("redis", "redis"),
        ("edge", "edge"),
    ],
)
def test_service_is_found_by_name_or_alias(text: str, name: str) -> None:
    assert named(text) == name


def test_error_for_an_unknown_service_lists_the_names() -> None:
    with pytest.raises(BadArgument, match=r"'gateway'.*api-gateway.*postgres"):
        named("gateway")


def test_scale_takes_a_name_or_an_alias() -> None:
    assert scaling("api=2") == ("api-gateway", 2)
    assert scaling("archival-worker=0") == ("archival-worker", 0)


@pytest.mark.parametrize("text", ["api=-1", "api=", "api=two", "api=2.0", "api=33", "api=²", "api"])
def test_invalid_number_of_replicas_is_refused(text: str) -> None:
    with pytest.raises(BadArgument, match="api-gateway"):
        scaling(text)


def test_store_cannot_be_scaled() -> None:
    with pytest.raises(BadArgument, match="redis is a store and cannot be scaled"):
        scaling("redis=2")


def test_edge_cannot_be_scaled() -> None:
    with pytest.raises(BadArgument, match="there is one edge and it cannot be scaled"):
        scaling("edge=2")
