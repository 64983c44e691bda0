import pytest

from pkg.devkit.errors import BadArgument
from pkg.devkit.service_settings import HIDDEN, check, check_together, read_by, readers

STORES = {
    "REDIS_URL": "redis://127.0.0.1:1",
    "NATS_URL": "nats://127.0.0.1:1",
    "POSTGRES_URL": "postgresql://127.0.0.1:1/bids",
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CONFLATE_MS", "50"),
        ("CONFLATE_MS", ""),
        ("ARCHIVE_LINGER_MS", "5"),
        ("NATS_TOKEN_FILE", "/nowhere"),
    ],
)
def test_valid_setting_of_a_service_is_accepted(name: str, value: str) -> None:
    check(name, value)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("NOSUCH", "1", "no service reads a setting NOSUCH; docs/operations.md lists them."),
        ("CONFLATE", "50", r"did you mean CONFLATE_MS\?"),
        ("CONFLATE_MS", "abc", "CONFLATE_MS: 'abc' is not a whole number from 1 to 60000."),
        ("SERVER_ADDR", ":80", "SERVER_ADDR cannot be set; use --api-port"),
    ],
)
def test_other_settings_are_refused_with_the_reason(name: str, value: str, sentence: str) -> None:
    with pytest.raises(BadArgument, match=sentence):
        check(name, value)


def test_conflicting_settings_are_refused() -> None:
    check_together("api-gateway", STORES)

    with pytest.raises(BadArgument, match="api-gateway would not start: set either REDIS_URL or"):
        check_together("api-gateway", {**STORES, "REDIS_ADDR": "127.0.0.1:6379"})


def test_readers_of_a_setting_are_known() -> None:
    assert readers("CONFLATE_MS") == ["broadcast-service"]
    assert readers("LOG_LEVEL") == ["api-gateway", "broadcast-service", "archival-worker"]
    assert readers("NOSUCH") == []


def test_service_is_shown_with_its_own_settings_and_without_secrets() -> None:
    environment = {**STORES, "CONFLATE_MS": "50", "NATS_PASSWORD": "hunter2"}

    broadcast, redis = read_by("broadcast-service", environment), read_by("redis", environment)

    assert redis == {}
    assert broadcast == {
        "REDIS_URL": STORES["REDIS_URL"],
        "NATS_URL": STORES["NATS_URL"],
        "CONFLATE_MS": "50",
        "NATS_PASSWORD": HIDDEN,
    }


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://:pa@ss@r:6379/0", "redis://:(secret)@r:6379/0"),
        ("rediss://ann:pass@r:6379/0", "rediss://ann:(secret)@r:6379/0"),
        ("redis://ann@r:6379/0", "redis://ann@r:6379/0"),
    ],
)
def test_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert read_by("api-gateway", {"REDIS_URL": url}) == {"REDIS_URL": shown}
