"""Settings that several services share."""

import ssl
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import quote, urlsplit

from pkg.runtime.settings.loading import Check, Checked, setting
from pkg.runtime.settings.parsers import (
    Address,
    address,
    one_of,
    origins,
    plain_text,
    seconds,
    url,
    urls,
    user_name,
    whole,
)
from pkg.runtime.tls import certificates, trusting


def _named_once(redis_url: str, redis_addr: str) -> str | None:
    if bool(redis_url) == bool(redis_addr):
        return "set either REDIS_URL or REDIS_ADDR (where Redis is)"
    return None


def _one_password(redis_url: str, redis_password: str) -> str | None:
    if redis_password and urlsplit(redis_url).password is not None:
        return "REDIS_PASSWORD goes with a REDIS_URL that has no password of its own"
    return None


def _redis_over_tls(redis_url: str, redis_ca: str) -> str | None:
    parts = urlsplit(redis_url)
    if redis_ca and (parts.scheme != "rediss" or "ssl_ca" in parts.query):
        return "REDIS_CA goes with a rediss:// REDIS_URL that has no ssl_ca option"
    return None


def _nats_over_tls(nats_url: str, nats_ca: str) -> str | None:
    schemes = {urlsplit(each.strip()).scheme for each in nats_url.split(",")}
    if nats_ca and schemes != {"tls"}:
        return "NATS_CA goes with a NATS_URL of which every URL begins with tls://"
    return None


def _valid_address(redis_addr: str) -> str | None:
    try:
        if redis_addr:
            url("redis")(f"redis://{redis_addr}")
    except ValueError as error:
        return f"REDIS_ADDR: {error}"
    return None


@dataclass(frozen=True, kw_only=True)
class LogSettings:
    """Settings of every process."""

    log_level: str = setting(
        one_of("debug", "info", "warning", "error"), default="info", what="minimum level logged"
    )
    log_format: str = setting(
        one_of("json", "text"), default="json", what="format of log lines: json or text"
    )


@dataclass(frozen=True, kw_only=True)
class ItemSettings:
    """How long items stay in Redis."""

    item_idle_s: int = setting(
        whole(0, 10 * 366 * 24 * 3600),
        default=30 * 24 * 3600,
        what="seconds without a bid after which an archived item leaves Redis; 0: never",
    )


@dataclass(frozen=True, kw_only=True)
class ServingSettings:
    """Settings of every process that accepts connections."""

    admin_addr: Address | None = setting(  # noqa: RUF009 - a field of a frozen value
        address,
        default=None,
        what="extra address for the health, readiness and metrics of this process",
    )
    start_grace_s: float = setting(
        seconds(0, 60),
        default=5.0,
        what="seconds after which a starting replica accepts connections even if it is not ready",
    )
    deregister_s: float = setting(
        seconds(0, 120),
        default=0.0,
        what="seconds after SIGTERM during which connections are still accepted while /ready "
        "returns 503, so that a load balancer can notice",
    )
    drain_s: float = setting(
        seconds(0, 60),
        default=2.0,
        what="seconds for which idle connections are still served during a shutdown",
    )
    shutdown_timeout_s: float = setting(
        seconds(1, 120),
        default=15.0,
        what="seconds after which a shutdown is forced; DEREGISTER_S comes on top",
    )
    emf_every_s: float = setting(
        seconds(0, 3600),
        default=0.0,
        what="seconds between metric lines for CloudWatch on standard output; 0: none",
    )
    stuck_after_s: float = setting(
        seconds(0, 3600),
        default=30.0,
        what="seconds the event loop may hang before the process exits with code 70; 0: no limit",
    )


@dataclass(frozen=True, kw_only=True)
class OriginSettings:
    """What every process that browsers talk to reads."""

    allowed_origins: tuple[str, ...] = setting(
        origins,
        default=(),
        what="origins between commas (https://shop.example) whose web pages may bid and watch, "
        "besides pages of the service's own host",
    )


@dataclass(frozen=True, kw_only=True)
class RedisSettings(Checked):
    """Where Redis is: REDIS_URL, or REDIS_ADDR with REDIS_DB; REDIS_PASSWORD goes with either."""

    checks: ClassVar[tuple[Check, ...]] = (
        Check(("redis_url", "redis_addr"), _named_once),
        Check(("redis_url", "redis_password"), _one_password),
        Check(("redis_url", "redis_ca"), _redis_over_tls),
        Check(("redis_addr",), _valid_address),
    )

    redis_url: str = setting(
        url("redis", "rediss"), default="", secret=True, what="redis:// or rediss:// (TLS) URL"
    )
    redis_addr: str = setting(plain_text, default="", what="host:port, instead of REDIS_URL")
    redis_password: str = setting(
        plain_text,
        default="",
        secret=True,
        what="password, with REDIS_ADDR or a REDIS_URL without one",
    )
    redis_ca: str = setting(
        certificates,
        default="",
        secret=True,
        what="PEM certificates of the only authorities trusted for Redis; none: the system's",
    )
    redis_db: int = setting(whole(0, 15), default=0, what="database number, with REDIS_ADDR")
    redis_timeout_s: float = setting(
        seconds(0.05, 60),
        default=2.0,
        what="seconds to wait for a reply from Redis before it counts as lost",
    )
    partitions: int = setting(
        whole(1, 64),
        default=4,
        what="number of outboxes that items are spread over; must not change later",
    )

    @property
    def redis_target(self) -> str:
        """The URL to connect to, with REDIS_PASSWORD (any characters) and REDIS_CA encoded into it,
        as redis-py reads them.
        """
        target = self.redis_url or f"redis://{self.redis_addr}/{self.redis_db}"
        if self.redis_ca:
            mark = "&" if urlsplit(target).query else "?"
            target += f"{mark}ssl_ca_data={quote(self.redis_ca, safe='')}"
        if not self.redis_password:
            return target
        parts = urlsplit(target)
        user, _, place = parts.netloc.rpartition("@")
        return parts._replace(
            netloc=f"{user}:{quote(self.redis_password, safe='')}@{place}"
        ).geturl()


@dataclass(frozen=True, kw_only=True)
class NatsSettings(Checked):
    """Where NATS is, and how a missing stream is created."""

    checks: ClassVar[tuple[Check, ...]] = (Check(("nats_url", "nats_ca"), _nats_over_tls),)

    nats_url: str = setting(
        urls("nats", "tls"),
        secret=True,
        what="nats:// or tls:// URL of the NATS server; several are separated by commas",
    )
    nats_user: str = setting(user_name, default="", what="user name, with NATS_PASSWORD")
    nats_password: str = setting(plain_text, default="", secret=True, what="password of NATS_USER")
    nats_token: str = setting(
        plain_text, default="", secret=True, what="token, instead of user and password"
    )
    nats_ca: str = setting(
        certificates,
        default="",
        secret=True,
        what="PEM certificates of the only authorities trusted for NATS; none: the system's",
    )
    stream_max_bytes: int = setting(
        whole(1 << 20, 1 << 44),
        default=1 << 30,
        what="maximum size of the stream in bytes; a full stream refuses new messages",
    )
    stream_replicas: int = setting(whole(1, 5), default=1, what="number of copies of the stream")

    @property
    def nats_servers(self) -> list[str]:
        """The URLs of NATS_URL."""
        return [each.strip() for each in self.nats_url.split(",")]

    @property
    def nats_tls(self) -> ssl.SSLContext | None:
        """For tls:// URLs; None: with the system's authorities."""
        return trusting(self.nats_ca) if self.nats_ca else None
