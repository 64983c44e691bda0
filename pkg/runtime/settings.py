"""Settings: environment variables read once into one frozen class a service.

A service's class is a frozen dataclass whose fields are made by ``setting``. The variable is the
field's name in upper case. ``docs/operations.md`` lists every one of them, and a test compares.
"""

import dataclasses
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

T = TypeVar("T")


class SettingsError(Exception):
    """Some variables are missing or bad; the message names every one. Nothing was started."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: a host and port, or an inherited socket that is bound already."""

    host: str | None = None
    port: int = 0
    fd: int | None = None


def setting(
    parse: Callable[[str], T],
    *,
    default: Any = dataclasses.MISSING,  # noqa: ANN401 - of the field's own type, checked by use
    secret: bool = False,
    what: str,
) -> Any:  # noqa: ANN401 - as dataclasses.field
    """A field read from the environment.

    A secret may also be given as a file, by ``NAME_FILE``. ``what`` says what it is, with its unit.
    """
    return dataclasses.field(
        default=default, metadata={"parse": parse, "secret": secret, "what": what}
    )


def load(settings: type[T], environ: Mapping[str, str]) -> T:
    """Reads a settings class from the environment. An empty value counts as not set.

    Raises:
        SettingsError: naming every missing or bad variable in one message.
    """
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        name = field.name.upper()
        try:
            text = _text_of(name, environ, secret=field.metadata["secret"])
            if text is not None:
                values[field.name] = field.metadata["parse"](text)
            elif field.default is dataclasses.MISSING:
                problems[name] = f"{name} is not set ({field.metadata['what']})"
        except ValueError as error:
            problems[name] = f"{name}: {error}"
    sentences = [*problems.values(), *_problems_between(settings, values, known=problems)]
    if sentences:
        raise SettingsError("; ".join(sentences))
    return settings(**values)


def _problems_between(
    settings: type[Any], values: Mapping[str, Any], *, known: Mapping[str, str]
) -> list[str]:
    """What each part's ``__post_init__`` finds between its fields, whatever other parts lack.

    A field that could not be read stands at its default here: what is said of it is left out.
    """
    found: list[str] = []
    for part in settings.__mro__:
        if "__post_init__" not in vars(part):
            continue
        names = [field.name for field in dataclasses.fields(part)]
        required = {
            field.name for field in dataclasses.fields(part) if field.default is dataclasses.MISSING
        }
        if not required <= values.keys():
            continue  # it is told already that they lack
        try:
            part(**{name: values[name] for name in names if name in values})
        except ValueError as error:
            if not any(name in str(error) for name in known):
                found.append(str(error))
    return found


def _text_of(name: str, environ: Mapping[str, str], *, secret: bool) -> str | None:
    text = environ.get(name) or None
    file = environ.get(f"{name}_FILE") if secret else None
    if not file:
        return text
    if text is not None:
        raise ValueError(f"set it or {name}_FILE, not both")
    try:
        return Path(file).read_text(encoding="utf-8").rstrip("\r\n") or None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {name}_FILE: {error}") from error


def plain_text(text: str) -> str:
    return text


def one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"{text!r} is none of {', '.join(choices)}")
        return text

    return parse


def flag(text: str) -> bool:
    if text.lower() not in {"true", "false", "1", "0"}:
        raise ValueError(f"{text!r} is neither true nor false")
    return text.lower() in {"true", "1"}


def whole(minimum: int, maximum: int) -> Callable[[str], int]:
    """A whole number between the two, both allowed."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and minimum <= int(text) <= maximum):
            raise ValueError(f"{text!r} is no whole number from {minimum} to {maximum}")
        return int(text)

    return parse


def seconds(minimum: float, maximum: float) -> Callable[[str], float]:
    """A number of seconds between the two, both allowed."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not minimum <= value <= maximum:  # also refuses NaN
            raise ValueError(f"{text!r} is no number of seconds from {minimum:g} to {maximum:g}")
        return value

    return parse


def address(text: str) -> Address:
    """``host:port``, ``:port`` (every interface), ``[v6]:port``, or ``fd:N`` (inherited)."""
    host, colon, port = text.rpartition(":")
    if not (colon and port.isascii() and port.isdecimal() and int(port) <= 65535):  # noqa: PLR2004
        raise ValueError(f"{text!r} is no address (host:port, :port or fd:N)")
    if host == "fd":
        return Address(fd=int(port))
    if host.startswith("[") and host.endswith("]"):
        host = str(ipaddress.IPv6Address(host[1:-1]))
    return Address(host=host or None, port=int(port))


def url(*schemes: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        parts = urlsplit(text)
        if parts.scheme not in schemes:
            raise ValueError(f"must begin with {' or '.join(f'{each}://' for each in schemes)}")
        if not parts.hostname:
            raise ValueError("names no host")
        try:
            _ = parts.port
        except ValueError:
            # Its own message quotes what stands there, which may be half a password.
            raise ValueError("has no port; a password's @ : / % must be URL-encoded") from None
        return text

    return parse


def urls(*schemes: str) -> Callable[[str], str]:
    """One URL or several between commas."""
    check = url(*schemes)

    def parse(text: str) -> str:
        for each in text.split(","):
            check(each.strip())
        return text

    return parse


@dataclass(frozen=True, kw_only=True)
class LogSettings:
    """What every process reads."""

    log_level: str = setting(
        one_of("debug", "info", "warning", "error"), default="info", what="least level logged"
    )
    log_format: str = setting(one_of("json", "text"), default="json", what="how a line looks")


@dataclass(frozen=True, kw_only=True)
class ServingSettings:
    """What every process that listens reads."""

    admin_addr: Address | None = setting(  # noqa: RUF009 - a field of a frozen value
        address,
        default=None,
        what="where health, readiness and metrics of this very process are served besides",
    )
    start_grace_s: float = setting(
        seconds(0, 60), default=5.0, what="seconds after which an unready replica accepts anyway"
    )
    deregister_s: float = setting(
        seconds(0, 120),
        default=0.0,
        what="seconds after SIGTERM for which connections are still accepted, /ready being 503: as "
        "long as a load balancer takes to notice",
    )
    drain_s: float = setting(
        seconds(0, 60), default=2.0, what="seconds for which idle connections are still served"
    )
    shutdown_timeout_s: float = setting(
        seconds(1, 120), default=15.0, what="seconds after which a shutdown is forced"
    )
    emf_every_s: float = setting(
        seconds(0, 3600),
        default=0.0,
        what="seconds between lines of metrics for CloudWatch on standard output; 0: none",
    )
    stuck_after_s: float = setting(
        seconds(0, 3600),
        default=30.0,
        what="seconds for which the event loop may stand still before the process ends itself "
        "with exit code 70; 0: for ever",
    )


@dataclass(frozen=True, kw_only=True)
class RedisSettings:
    """Where Redis is: REDIS_URL, or REDIS_ADDR with REDIS_DB; REDIS_PASSWORD goes with either."""

    redis_url: str = setting(
        url("redis", "rediss"), default="", secret=True, what="redis:// or rediss:// (TLS) URL"
    )
    redis_addr: str = setting(plain_text, default="", what="host:port, in place of REDIS_URL")
    redis_password: str = setting(
        plain_text,
        default="",
        secret=True,
        what="password, with REDIS_ADDR or a REDIS_URL that has none",
    )
    redis_db: int = setting(whole(0, 15), default=0, what="database number, with REDIS_ADDR")
    redis_timeout_s: float = setting(
        seconds(0.05, 60), default=2.0, what="seconds after which a Redis reply counts as lost"
    )
    partitions: int = setting(
        whole(1, 64), default=4, what="outboxes the items are spread over; never changed later"
    )

    @property
    def redis_target(self) -> str:
        """The URL to connect to. A password may hold any character."""
        target = self.redis_url or f"redis://{self.redis_addr}/{self.redis_db}"
        if not self.redis_password:
            return target
        parts = urlsplit(target)
        user, _, place = parts.netloc.rpartition("@")
        return parts._replace(
            netloc=f"{user}:{quote(self.redis_password, safe='')}@{place}"
        ).geturl()

    def __post_init__(self) -> None:
        if bool(self.redis_url) == bool(self.redis_addr):
            raise ValueError("set either REDIS_URL or REDIS_ADDR (where Redis is)")
        if self.redis_password and urlsplit(self.redis_url).password is not None:
            raise ValueError("REDIS_PASSWORD goes with a REDIS_URL that has no password of its own")
        if self.redis_addr:
            try:
                url("redis")(f"redis://{self.redis_addr}")
            except ValueError as error:
                raise ValueError(f"REDIS_ADDR: {error}") from error


@dataclass(frozen=True, kw_only=True)
class NatsSettings:
    """Where NATS is, and how the stream is made when it is missing."""

    nats_url: str = setting(
        urls("nats", "tls"),
        secret=True,
        what="nats:// or tls:// URL of the NATS server, or of several between commas",
    )
    nats_user: str = setting(plain_text, default="", what="user, with NATS_PASSWORD")
    nats_password: str = setting(plain_text, default="", secret=True, what="password")
    nats_token: str = setting(plain_text, default="", secret=True, what="token, in place of a user")
    stream_max_bytes: int = setting(
        whole(1 << 20, 1 << 44), default=1 << 30, what="bytes the stream holds; full, it refuses"
    )
    stream_replicas: int = setting(whole(1, 5), default=1, what="copies of the stream")

    @property
    def nats_servers(self) -> list[str]:
        """The URLs one by one."""
        return [each.strip() for each in self.nats_url.split(",")]
