"""Settings of the worker, of the audit, of restore and of redrive."""

import ssl
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import parse_qs, quote, urlsplit

from pkg.runtime.settings.loading import Check, Checked, setting
from pkg.runtime.settings.parsers import Address, address, plain_text, seconds, url, whole
from pkg.runtime.settings.sections import (
    ItemSettings,
    LogSettings,
    NatsSettings,
    RedisSettings,
    ServingSettings,
)
from pkg.runtime.tls import certificates, trusting

DEFAULT_PORT = 8082


def _one_password(postgres_url: str, postgres_password: str) -> str | None:
    parts = urlsplit(postgres_url)
    if postgres_password and (parts.password is not None or not parts.username):
        return "POSTGRES_PASSWORD goes with a POSTGRES_URL that names a user and no password"
    return None


def _sslmode(postgres_url: str) -> str:
    return parse_qs(urlsplit(postgres_url).query).get("sslmode", [""])[-1]


def _over_tls(postgres_url: str, postgres_ca: str) -> str | None:
    modes = {"require", "verify-ca", "verify-full"}
    if postgres_ca and (_sslmode(postgres_url) not in modes or "sslrootcert" in postgres_url):
        return (
            "POSTGRES_CA goes with a POSTGRES_URL that has sslmode=require, verify-ca or "
            "verify-full, and no sslrootcert"
        )
    return None


@dataclass(frozen=True, kw_only=True)
class PostgresSettings(Checked):
    """Where PostgreSQL is."""

    checks: ClassVar[tuple[Check, ...]] = (
        Check(("postgres_url", "postgres_password"), _one_password),
        Check(("postgres_url", "postgres_ca"), _over_tls),
    )

    postgres_url: str = setting(
        url("postgresql", "postgres"),
        secret=True,
        what="postgresql:// URL; sslmode=require turns TLS on",
    )
    postgres_password: str = setting(
        plain_text,
        default="",
        secret=True,
        what="password, if POSTGRES_URL names a user but no password",
    )
    postgres_ca: str = setting(
        certificates,
        default="",
        secret=True,
        what="PEM certificates of the only authorities trusted for PostgreSQL, whose host name is "
        "checked too unless sslmode=verify-ca; none: sslmode decides what is checked",
    )

    @property
    def postgres_tls(self) -> ssl.SSLContext | None:
        """Instead of what sslmode says, if there is POSTGRES_CA."""
        if not self.postgres_ca:
            return None
        check_hostname = _sslmode(self.postgres_url) != "verify-ca"
        return trusting(self.postgres_ca, check_hostname=check_hostname)

    @property
    def postgres_target(self) -> str:
        """The URL to connect to, with POSTGRES_PASSWORD (any characters) encoded into it."""
        if not self.postgres_password:
            return self.postgres_url
        user, at, place = self.postgres_url.partition("://")[2].partition("@")
        password = quote(self.postgres_password, safe="")
        return f"postgresql://{user}:{password}{at}{place}"


@dataclass(frozen=True, kw_only=True)
class ArchivalSettings(LogSettings, ServingSettings, NatsSettings, PostgresSettings):
    admin_addr: Address | None = setting(  # noqa: RUF009 - a field of a frozen value
        address,
        default=Address(port=DEFAULT_PORT),
        what="address for the worker's health, readiness and metrics",
    )
    statement_timeout_s: float = setting(
        seconds(1, 3600),
        default=30.0,
        what="seconds after which PostgreSQL cancels a statement",
    )
    archive_batch_events: int = setting(
        whole(1, 10_000),
        default=1000,
        what="number of events at which a transaction takes no more messages",
    )
    archive_batch_messages: int = setting(
        whole(1, 1000), default=256, what="maximum messages in one transaction and in one pull"
    )
    archive_linger_ms: int = setting(
        whole(0, 1000),
        default=20,
        what="minimum milliseconds between transactions, unless one is full; after a quiet spell "
        "none waits",
    )


@dataclass(frozen=True, kw_only=True)
class AuditSettings(LogSettings, RedisSettings, PostgresSettings):
    pass


@dataclass(frozen=True, kw_only=True)
class RestoreSettings(LogSettings, RedisSettings, NatsSettings, PostgresSettings, ItemSettings):
    pass


@dataclass(frozen=True, kw_only=True)
class RedriveSettings(LogSettings, PostgresSettings):
    pass
