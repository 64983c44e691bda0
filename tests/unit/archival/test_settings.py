"""POSTGRES_URL together with POSTGRES_PASSWORD."""

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkg.archival.settings import PostgresSettings
from pkg.runtime.settings.loading import SettingsError, load

URL = "postgresql://bidding@db:5432/bidding?sslmode=require"


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
def test_a_separate_password_may_contain_any_character(password: str) -> None:
    target = load(
        PostgresSettings, {"POSTGRES_URL": URL, "POSTGRES_PASSWORD": password}
    ).postgres_target

    parts = urlsplit(target)
    assert unquote(parts.password or "") == password
    assert (parts.username, parts.hostname, parts.port) == ("bidding", "db", 5432)
    assert (parts.path, parts.query) == ("/bidding", "sslmode=require")


def test_without_a_separate_password_the_url_is_unchanged() -> None:
    assert load(PostgresSettings, {"POSTGRES_URL": URL}).postgres_target == URL


@pytest.mark.parametrize("url", ["postgresql://bidding:own@db/bidding", "postgresql://db/bidding"])
def test_a_second_password_or_one_without_a_user_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="POSTGRES_PASSWORD goes with a POSTGRES_URL"):
        load(PostgresSettings, {"POSTGRES_URL": url, "POSTGRES_PASSWORD": "x"})


def test_a_missing_url_is_reported_even_with_a_password() -> None:
    with pytest.raises(SettingsError, match="POSTGRES_URL is not set"):
        load(PostgresSettings, {"POSTGRES_PASSWORD": "x"})
