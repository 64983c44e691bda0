from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio.connection import SSLConnection, parse_url

from pkg.api.settings import ApiSettings, RelaySettings
from pkg.runtime.settings.loading import Check, Checked, SettingsError, load, setting
from pkg.runtime.settings.parsers import Address, address, flag, plain_text, seconds, url, whole
from pkg.runtime.settings.sections import NatsSettings, RedisSettings

STORES = {"REDIS_URL": "redis://r:6379/0", "NATS_URL": "nats://n:4222"}


@dataclass(frozen=True, kw_only=True)
class Sample:
    count: int = setting(whole(1, 5), what="how many")
    name: str = setting(str, default="x", what="a name")
    token: str = setting(str, default="", secret=True, what="a secret")


def problems(settings: type[object], environment: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as raised:
        load(settings, environment)
    return str(raised.value)


def test_every_missing_and_bad_variable_is_named_in_one_message() -> None:
    message = problems(
        ApiSettings,
        {
            "REDIS_URL": "http://r",
            "BID_STRATEGY": "pessimistic",
            "BID_STRATEGY_OVERRIDE": "maybe",
            "PARTITIONS": "0",
            "SERVER_ADDR": "nowhere",
            "LOG_LEVEL": "loud",
            "DRAIN_S": "nan",
        },
    )

    for name in (
        *("REDIS_URL", "NATS_URL", "BID_STRATEGY", "BID_STRATEGY_OVERRIDE"),
        *("PARTITIONS", "SERVER_ADDR", "LOG_LEVEL", "DRAIN_S"),
    ):
        assert name in message
    assert "\n" not in message


def test_unset_variables_have_their_defaults() -> None:
    settings = load(ApiSettings, STORES)

    assert settings.server_addr == Address(port=8080)
    assert (settings.bid_strategy, settings.bid_strategy_override) == ("lua", False)
    assert (settings.partitions, settings.optimistic_connections) == (4, 8)
    assert settings.admin_addr is None


def test_empty_variable_counts_as_unset() -> None:
    assert load(Sample, {"COUNT": "3", "NAME": ""}).name == "x"
    assert "COUNT is not set" in problems(Sample, {"COUNT": ""})


def test_secret_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("s3cret\r\n")

    assert load(Sample, {"COUNT": "1", "TOKEN_FILE": str(file)}).token == "s3cret"


def test_secret_set_twice_is_refused_without_revealing_it(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("s3cret")

    message = problems(Sample, {"COUNT": "1", "TOKEN": "hidden", "TOKEN_FILE": str(file)})

    assert "TOKEN_FILE" in message
    assert "s3cret" not in message
    assert "hidden" not in message


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_unreadable_secret_file_is_reported_by_its_variable(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)

    assert "TOKEN_FILE" in problems(Sample, {"COUNT": "1", "TOKEN_FILE": str(file)})


def test_only_secrets_are_read_from_files(tmp_path: Path) -> None:
    file = tmp_path / "name"
    file.write_text("other")

    assert load(Sample, {"COUNT": "1", "NAME_FILE": str(file)}).name == "x"


def test_message_about_a_bad_url_does_not_reveal_its_password() -> None:
    message = problems(RedisSettings, {"REDIS_URL": "http://:hidden@r:1"})

    assert "hidden" not in message


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=30))
def test_any_password_reaches_redis_unchanged(password: str) -> None:
    settings = RedisSettings(redis_addr="r:6380", redis_password=password, redis_db=3)

    options = parse_url(settings.redis_target)

    assert (options.get("password"), options["host"], options["port"]) == (password, "r", 6380)
    assert options["db"] == 3


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=30))
def test_any_password_can_be_set_beside_a_tls_url(password: str) -> None:
    settings = RedisSettings(redis_url="rediss://ann@r:6380/3", redis_password=password)

    options = parse_url(settings.redis_target)

    assert options["connection_class"] is SSLConnection
    assert (options["username"], options["password"]) == ("ann", password)
    assert (options["host"], options["port"], options["db"]) == ("r", 6380, 3)


def test_second_redis_password_is_refused() -> None:
    two = {"REDIS_URL": "redis://:first@r:1", "REDIS_PASSWORD": "second"}

    assert "no password of its own" in problems(RedisSettings, two)


def test_nats_url_may_name_several_servers() -> None:
    settings = load(NatsSettings, {"NATS_URL": "nats://a:4222, nats://b:4222"})

    assert settings.nats_servers == ["nats://a:4222", "nats://b:4222"]


def test_one_bad_server_of_several_is_refused() -> None:
    assert "NATS_URL" in problems(NatsSettings, {"NATS_URL": "nats://a:4222,b:4222"})


def test_exactly_one_of_redis_url_and_redis_addr_is_required() -> None:
    both = {"REDIS_URL": "redis://r:1", "REDIS_ADDR": "r:1"}

    assert "either REDIS_URL or REDIS_ADDR" in problems(RedisSettings, {})
    assert "either REDIS_URL or REDIS_ADDR" in problems(RedisSettings, both)
    assert load(RedisSettings, {"REDIS_ADDR": "r:1"}).redis_target == "redis://r:1/0"


def test_redis_and_other_problems_are_in_one_message() -> None:
    message = problems(RelaySettings, {"RELAY_LINGER_MAX_MS": "-1"})

    assert "RELAY_LINGER_MAX_MS" in message
    assert "NATS_URL" in message
    assert "REDIS_URL" in message


def test_section_reports_every_broken_rule() -> None:
    message = problems(RedisSettings, {"REDIS_URL": "redis://r:1", "REDIS_ADDR": "r:99999"})

    assert "either REDIS_URL or REDIS_ADDR" in message
    assert "REDIS_ADDR: " in message


def test_bad_redis_url_is_reported_once() -> None:
    message = problems(RedisSettings, {"REDIS_URL": "http://r"})

    assert message.count("REDIS_URL") == 1


@pytest.mark.parametrize("bad", [":6379", "r:x", "r:99999"])
def test_bad_redis_address_is_reported_by_its_variable(bad: str) -> None:
    assert "REDIS_ADDR" in problems(RedisSettings, {"REDIS_ADDR": bad})


@pytest.mark.parametrize("bad", ["an n", "a.*", "a>", "a..b", ".a"])
def test_nats_user_that_cannot_be_part_of_a_subject_is_refused(bad: str) -> None:
    assert "NATS_USER" in problems(NatsSettings, {**STORES, "NATS_USER": bad})


@pytest.mark.parametrize("bad", ["nats://", "nats://:4222", "nats://n:99999", "n:4222", "ws://n"])
def test_url_without_host_or_with_another_scheme_is_refused(bad: str) -> None:
    assert "NATS_URL" in problems(NatsSettings, {"NATS_URL": bad})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":8080", Address(port=8080)),
        ("127.0.0.1:0", Address(host="127.0.0.1")),
        ("localhost:80", Address(host="localhost", port=80)),
        ("[::1]:9", Address(host="::1", port=9)),
        ("fd:7", Address(fd=7)),
    ],
)
def test_address_is_parsed(text: str, expected: Address) -> None:
    assert address(text) == expected


@pytest.mark.parametrize("text", ["", "8080", "a:", "a:x", ":70000", ":-1", "[zz]:1", "fd:x", ":٣"])
def test_invalid_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|IPv6|hextet|At least|permitted"):
        address(text)


@given(st.text(max_size=8))
def test_whole_numbers_are_parsed_strictly(text: str) -> None:
    try:
        value = whole(0, 100)(text)
    except ValueError:
        return
    assert text.lstrip("0") in {str(value), ""}


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "1e9", "", "x", "1s"])
def test_seconds_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="seconds"):
        seconds(0, 60)(text)


def test_flag_accepts_only_true_false_1_and_0() -> None:
    assert [flag(text) for text in ("true", "TRUE", "1", "false", "0")] == [
        *(True, True, True),
        *(False, False),
    ]
    with pytest.raises(ValueError, match="neither"):
        flag("yes")


def test_url_parser_keeps_the_text() -> None:
    assert url("redis", "rediss")("rediss://u:p%40@h:1/2?x=y") == "rediss://u:p%40@h:1/2?x=y"


def test_a_check_of_a_field_that_does_not_exist_is_a_mistake_of_ours() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Misspelt(Checked):
        checks = (Check(("colour",), lambda _: None),)
        color: str = setting(plain_text, default="", what="a colour")

    with pytest.raises(TypeError, match="colour"):
        load(Misspelt, {})


def test_an_empty_secret_file_is_refused(tmp_path: Path) -> None:
    """Not taken for unset: that would mean no password, or trust in any authority."""
    file = tmp_path / "token"
    file.write_text("\n")

    assert "TOKEN_FILE names is empty" in problems(Sample, {"COUNT": "1", "TOKEN_FILE": str(file)})
