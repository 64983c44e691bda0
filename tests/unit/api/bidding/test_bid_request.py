"""Parsing bids: every kind of bad input is a BadRequest that says what is wrong."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkg.api.bidding.bid_request import bid_from_body, checked_item_id
from pkg.api.errors import BadRequest


def refused(body: bytes) -> BadRequest:
    with pytest.raises(BadRequest) as raised:
        bid_from_body("vase", body)
    return raised.value


@pytest.mark.parametrize(
    ("body", "cents"),
    [
        (b'{"user_id":"ann","amount":200}', 20000),
        (b'{"amount":200.5,"user_id":"ann"}', 20050),
        (b' \t\r\n{"user_id" : "ann" , "amount" : 1.10e1 }\n ', 1100),
        (b'{"user_id":"ann","amount":100.000}', 10000),
        (b'{"user_id":"ann","amount":9999999999.99}', 999_999_999_999),
        (b'{"user_id":"ann","amount":0.01}', 1),
        (b'{"user_id":"bob","user_id":"ann","amount":1,"amount":2}', 200),
        (b'{"amount":"no","user_id":7,"user_id":"ann","amount":2}', 200),
        (b'{"user_id":"ann","amount":2,"note":{"deep":[1,{"a":null}]},"x":1e999}', 200),
        (b'{"\\u0075ser_id":"\\u0061nn","amount":2}', 200),
    ],
)
def test_a_good_body_is_a_bid(body: bytes, cents: int) -> None:
    bid = bid_from_body("vase", body)

    assert (bid.item_id, bid.user_id, bid.amount_cents) == ("vase", "ann", cents)
    assert bid.event_id != bid.bid_id


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"user_id":"ann","amount":200',
        b'{"user_id":"ann" "amount":200}',
        b'{"user_id":"ann","amount":200,}',
        b"{'user_id':'ann','amount':200}",
        b"[]",
        b"null",
        b'"text"',
        b"200",
        b'{"user_id":"ann","amount":200} x',
        b'{"user_id":"ann","amount":200}{}',
        b'{"user_id":"ann","amount":200}\x00',
        b'\xef\xbb\xbf{"user_id":"ann","amount":200}',
        b'{"user_id":"ann","amount":200,"note":"\xff"}',
        b'{"user_id":"ann","amount":200,"\xc3":1}',
        b'{"user_id":"a\xed\xa0\x80n","amount":200}',
        b'{"user_id":"\\ud800","amount":200}',
        b'{"user_id":"a\nb","amount":200}',
        b'{"user_id":"a\\x","amount":200}',
        b'{"user_id":"ann","amount":NaN}',
        b'{"user_id":"ann","amount":Infinity}',
        b'{"user_id":"ann","amount":-Infinity}',
        b'{"user_id":"ann","amount":01}',
        b'{"user_id":"ann","amount":+1}',
        b'{"user_id":"ann","amount":1.}',
        b'{"user_id":"ann","amount":.5}',
        b'{"user_id":"ann","amount":}',
        "{'user_id':'ann','amount':200}".encode("utf-16"),
        b"\x1f\x8b\x08\x00",
        b"[" * 65_000,
        b'{"a":' * 10_000,
        b'{"user_id":"ann","amount":200,"deep":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    ],
)
def test_anything_but_a_json_object_is_an_invalid_body(body: bytes) -> None:
    error = refused(body)

    assert (error.status, error.code, error.sentence) == (
        400,
        "invalid_body",
        "Invalid request body",
    )


@pytest.mark.parametrize(
    ("user", "code"),
    [
        ("", "user_id_required"),
        ('"user_id":"",', "user_id_required"),
        ('"user_id":null,', "user_id_required"),
        ('"user_id":7,', "user_id_invalid"),
        ('"user_id":true,', "user_id_invalid"),
        ('"user_id":[],', "user_id_invalid"),
        ('"user_id":{"a":1},', "user_id_invalid"),
        ('"user_id":" ",', "user_id_invalid"),
        ('"user_id":"a b",', "user_id_invalid"),
        ('"user_id":"é",', "user_id_invalid"),
        ('"user_id":"a\\u0000b",', "user_id_invalid"),
        ('"user_id":"a\\nb",', "user_id_invalid"),
        (f'"user_id":"{"a" * 129}",', "user_id_invalid"),
    ],
)
def test_a_bad_user_is_reported_before_a_bad_amount(user: str, code: str) -> None:
    error = refused(f'{{{user}"amount":-1}}'.encode())

    assert error.code == code
    if code == "user_id_required":
        assert error.sentence == "User ID is required"


@pytest.mark.parametrize(
    ("amount", "code"),
    [
        ("", "amount_required"),
        (',"amount":null', "amount_required"),
        (',"amount":0', "amount_not_positive"),
        (',"amount":-0', "amount_not_positive"),
        (',"amount":-200', "amount_not_positive"),
        (',"amount":0.001', "amount_precision"),
        (',"amount":1e400', "amount_too_large"),
        (',"amount":1e-400', "amount_precision"),
        (',"amount":1e99999999999', "amount_out_of_range"),
        (',"amount":10000000000', "amount_too_large"),
        (',"amount":"200"', "amount_not_number"),
        (',"amount":true', "amount_not_number"),
        (',"amount":[]', "amount_not_number"),
        (',"amount":{}', "amount_not_number"),
        (',"amount":[200]', "amount_not_number"),
    ],
)
def test_each_kind_of_bad_amount_has_its_own_code(amount: str, code: str) -> None:
    error = refused(f'{{"user_id":"ann"{amount}}}'.encode())

    assert (error.status, error.code) == (400, code)
    if code == "amount_not_positive":
        assert error.sentence == "Bid amount must be positive"
    if code == "amount_required":
        assert error.sentence == "Bid amount is required"


@given(st.binary(max_size=300))
def test_random_bytes_are_a_bad_request(body: bytes) -> None:
    assert refused(body).status == 400


@given(
    st.dictionaries(
        st.sampled_from(["user_id", "amount", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ),
    )
)
def test_any_json_object_is_a_bid_or_a_bad_request(body: dict[str, object]) -> None:
    text = json.dumps(body).encode()

    try:
        bid = bid_from_body("vase", text)
    except BadRequest:
        return

    assert bid.user_id == body["user_id"]
    assert 0 < bid.amount_cents <= 999_999_999_999


@given(cut=st.integers(0, 45), flip=st.integers(0, 255), at=st.integers(0, 45))
def test_a_corrupted_body_is_a_bid_or_a_bad_request(cut: int, flip: int, at: int) -> None:
    body = bytearray(b'{"user_id":"ann","amount":200.25,"note":"x"}')
    body[min(at, len(body) - 1)] = flip

    try:
        bid = bid_from_body("vase", bytes(body[:cut]) if cut < len(body) else bytes(body))
    except BadRequest:
        return

    assert bid.amount_cents > 0


@pytest.mark.parametrize("item_id", ["", "a/b", "é", "a" * 129, "a b", "\x00", "a�"])
def test_an_invalid_item_id_is_a_bad_request(item_id: str) -> None:
    with pytest.raises(BadRequest) as raised:
        checked_item_id(item_id)

    assert raised.value.code == "item_id_invalid"
