"""REDIS_CA, NATS_CA and POSTGRES_CA: certificates of private authorities."""

import ssl
from collections.abc import Mapping
from pathlib import Path

import pytest
from redis.asyncio.connection import parse_url

from pkg.archival.settings import PostgresSettings, RedriveSettings
from pkg.runtime.settings.loading import SettingsError, load
from pkg.runtime.settings.sections import NatsSettings, RedisSettings
from pkg.runtime.tls import certificates

PEM = """\
-----BEGIN CERTIFICATE-----
MIIBdDCCARugAwIBAgIUcxBRCyKDJpw0AxOukvDlUoCvMoAwCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjkwOTU0MDJaGA8yMTI2MTEwNTA5NTQw
MlowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABM1s
V2vww5qoBWrQ5xJxVXaKIgvZLYQWTmoUGDwkEKXmhhWsRhJnYitk/gX0ZdIP6HeD
uy7nC9O8Kik/JH5KWcmjUzBRMB0GA1UdDgQWBBTIrJyBKcsVUeISdXniFiuj4dKK
ujAfBgNVHSMEGDAWgBTIrJyBKcsVUeISdXniFiuj4dKKujAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0cAMEQCIEvZu+5TnnLtQlVsgfTtpwaWC79XKjVVIKZQ
4iNzCFjmAiBuqAcdspXhl2e4KKSfRonb/mUuxKH3EGobueVKUJcNFg==
-----END CERTIFICATE-----
"""  # of a certificate that signs itself
REDIS = {"REDIS_URL": "rediss://redis:6379/0"}
NATS = {"NATS_URL": "tls://nats-1:4222, tls://nats-2:4222"}
POSTGRES = {"POSTGRES_URL": "postgresql://bidding@db/bidding?sslmode=require"}
WITH_CA = [
    (RedisSettings, REDIS, "REDIS_CA"),
    (NatsSettings, NATS, "NATS_CA"),
    (PostgresSettings, POSTGRES, "POSTGRES_CA"),
]


@pytest.mark.parametrize(("settings", "urls", "name"), WITH_CA)
def test_certificates_come_from_a_variable_or_a_file(
    settings: type[object], urls: dict[str, str], name: str, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    file.write_text(f"# Beh\u00f6rde\n{PEM}\n{PEM}")

    assert vars(load(settings, {**urls, name: PEM}))[name.lower()] == PEM
    assert vars(load(settings, {**urls, f"{name}_FILE": str(file)}))[name.lower()] == PEM + PEM


@pytest.mark.parametrize(("settings", "urls", "name"), WITH_CA)
def test_a_missing_file_and_what_is_no_certificate_are_refused(
    settings: type[object], urls: dict[str, str], name: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=f"cannot read {name}_FILE"):
        load(settings, {**urls, f"{name}_FILE": str(tmp_path / "missing.pem")})
    with pytest.raises(SettingsError, match=f"{name}: holds no certificate"):
        load(settings, {**urls, name: "secret"})
    with pytest.raises(SettingsError, match=f"{name}: holds a certificate that cannot be read"):
        load(settings, {**urls, name: PEM.replace("MIIB", "MIIC")})


@pytest.mark.parametrize(
    ("settings", "environment"),
    [
        (RedisSettings, {"REDIS_URL": "redis://redis:6379/0", "REDIS_CA": PEM}),
        (RedisSettings, {"REDIS_ADDR": "redis:6379", "REDIS_CA": PEM}),
        (RedisSettings, {"REDIS_URL": "rediss://r/0?ssl_ca_certs=/a", "REDIS_CA": PEM}),
        (NatsSettings, {"NATS_URL": "nats://nats:4222", "NATS_CA": PEM}),
        (NatsSettings, {"NATS_URL": "tls://nats-1, nats://nats-2", "NATS_CA": PEM}),
        (RedriveSettings, {"POSTGRES_URL": "postgresql://a@db/b", "POSTGRES_CA": PEM}),
        (
            RedriveSettings,
            {"POSTGRES_URL": "postgresql://a@db/b?sslmode=prefer"} | {"POSTGRES_CA": PEM},
        ),
    ],
)
def test_an_authority_without_tls_is_refused(
    settings: type[object], environment: dict[str, str]
) -> None:
    """Whoever sets one means to be protected by it."""
    with pytest.raises(SettingsError, match="_CA goes with a"):
        load(settings, environment)


def test_redis_py_reads_the_authority_from_the_target() -> None:
    settings = load(RedisSettings, {**REDIS, "REDIS_CA": PEM, "REDIS_PASSWORD": "a/b?c&d%2B"})

    options: Mapping[str, object] = dict(parse_url(settings.redis_target))

    assert options["ssl_ca_data"] == PEM
    assert (options["host"], options["db"], options["password"]) == ("redis", 0, "a/b?c&d%2B")


def test_only_the_given_authorities_are_trusted() -> None:
    nats = load(NatsSettings, {**NATS, "NATS_CA": PEM}).nats_tls
    postgres = load(PostgresSettings, {**POSTGRES, "POSTGRES_CA": PEM}).postgres_tls

    for context in (nats, postgres):
        assert context
        assert len(context.get_ca_certs()) == 1
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert load(NatsSettings, NATS).nats_tls is None
    assert load(PostgresSettings, POSTGRES).postgres_tls is None


def test_a_private_key_is_refused_without_being_shown() -> None:
    with pytest.raises(ValueError, match="holds no certificate") as refused:
        certificates("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----")

    assert "c2Vj" not in str(refused.value)
