import re
import string
import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkg.auction import ids
from pkg.auction.ids import is_identifier, seconds_of_uuid7, uuid7

ALLOWED = string.ascii_letters + string.digits + "._:-"


@given(st.text(alphabet=ALLOWED, min_size=1, max_size=128))
def test_1_to_128_allowed_characters_are_an_identifier(text: str) -> None:
    assert is_identifier(text)


@given(st.text(max_size=140))
def test_identifier_rule_is_its_length_and_alphabet(text: str) -> None:
    assert is_identifier(text) == (1 <= len(text) <= 128 and set(text) <= set(ALLOWED))


@pytest.mark.parametrize(
    "text",
    ["", "a" * 129, "a b", "a/b", "a\n", "\na", "é", "\uff11", "a\x00", "{a}", "a*", "a>", "%41"],
)
def test_text_that_needs_escaping_or_is_too_long_is_refused(text: str) -> None:
    assert not is_identifier(text)


def test_generated_ids_are_version_7_uuids_in_time_order() -> None:
    first = uuid.UUID(ids._uuid7_text(1_700_000_000_000, 2**74 - 1))
    second = uuid.UUID(ids._uuid7_text(1_700_000_000_001, 0))

    assert (first.version, second.version) == (7, 7)
    assert first.variant == uuid.RFC_4122
    assert first < second


def test_ten_thousand_generated_ids_are_unique() -> None:
    generated = {uuid7() for _ in range(10_000)}

    assert len(generated) == 10_000
    assert all(
        re.fullmatch(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", each) for each in generated
    )


def test_time_of_a_uuid7_can_be_read_from_it() -> None:
    before = time.time()

    seconds = seconds_of_uuid7(uuid7())

    assert seconds is not None
    assert before - 0.001 <= seconds <= time.time()
    assert seconds_of_uuid7("e7") is None
    assert seconds_of_uuid7("01234567-89ab-4def-8123-456789abcdef") is None
