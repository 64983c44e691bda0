"""Amounts compared with Python's Decimal, which reads any JSON number exactly."""

import decimal
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pkg.auction.money import MAX_CENTS, MoneyError, cents_from_json, text_from_cents

_DIGITS = "0123456789"
_WIDE = decimal.Context(prec=2000, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)

whole_parts = st.one_of(
    st.just("0"),
    st.from_regex(r"[1-9][0-9]{0,13}", fullmatch=True),
    st.from_regex(r"[1-9][0-9]{0,3}0{0,300}", fullmatch=True),
)
fractions = st.one_of(
    st.just(""),
    st.from_regex(r"\.[0-9]{1,4}", fullmatch=True),
    st.from_regex(r"\.0{0,40}[0-9]{1,3}0{0,40}", fullmatch=True),
)
exponents = st.one_of(
    st.just(""),
    st.from_regex(r"[eE][+-]?0{0,3}[0-9]{1,2}", fullmatch=True),
    st.from_regex(r"[eE][+-]?[0-9]{1,3}", fullmatch=True),
)
json_numbers = st.builds(
    "".join, st.tuples(st.sampled_from(["", "", "", "-"]), whole_parts, fractions, exponents)
)


def expected_cents(text: str) -> int | None:
    """The amount by the number's exact value; None if it is not an acceptable amount."""
    value = _WIDE.create_decimal(text)
    if value.is_signed() or value.is_zero():
        return None
    cents = _WIDE.multiply(value, Decimal(100))
    if cents > MAX_CENTS or cents != cents.to_integral_value():
        return None
    return int(cents)


def cents_or_none(text: str) -> int | None:
    try:
        return cents_from_json(text.encode())
    except MoneyError:
        return None


@given(json_numbers)
@example("1.10e1")
@example("100.000")
@example("0.001")
@example("9999999999.99")
@example("9999999999.990")
@example("10000000000")
@example("99999999999900e-4")
@example("0.0000000001e10")
@example("-0")
@example("-0.0")
@example("0e5")
@example("1e400")
@example("1e-400")
def test_every_json_number_is_read_like_decimal(text: str) -> None:
    assert cents_or_none(text) == expected_cents(text)


@given(st.integers(min_value=1, max_value=MAX_CENTS))
def test_cents_survive_conversion_to_text_and_back(cents: int) -> None:
    assert cents_from_json(text_from_cents(cents).encode()) == cents


@given(st.integers(min_value=1, max_value=MAX_CENTS), st.integers(min_value=-30, max_value=30))
def test_the_same_value_with_another_exponent_is_the_same_amount(cents: int, shift: int) -> None:
    text = f"{cents}e{-2}" if shift == 0 else f"{cents}{'0' * max(shift, 0)}e{-2 - max(shift, 0)}"

    assert cents_from_json(text.encode()) == cents


@pytest.mark.parametrize(
    "text",
    [
        *("NaN", "nan", "Infinity", "-Infinity", "inf", '"200"', "true", "false", "null", "[]"),
        *(
            "{}",
            "",
            " 1",
            "1 ",
            "+1",
            "01",
            "00",
            "007.50",
            ".5",
            "5.",
            "1.e1",
            "1e",
            "1e+",
            "0x10",
        ),
        *("1_000", "1,5", "\u0661", "1\n", "1\x00", "--1", "1e1.5", "1d", "²"),
    ],
)
def test_text_that_is_not_a_json_number_is_refused(text: str) -> None:
    with pytest.raises(MoneyError) as refused:
        cents_from_json(text.encode())

    assert refused.value.code == "amount_not_number"


@given(st.binary(max_size=40))
def test_random_bytes_give_an_amount_or_a_money_error(raw: bytes) -> None:
    try:
        cents = cents_from_json(raw)
    except MoneyError:
        return

    assert 0 < cents <= MAX_CENTS


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("0", "amount_not_positive"),
        ("0.00", "amount_not_positive"),
        ("-0", "amount_not_positive"),
        ("-5", "amount_not_positive"),
        ("0e999999999", "amount_not_positive"),
        ("0.001", "amount_precision"),
        ("1.005", "amount_precision"),
        ("1e-3", "amount_precision"),
        ("10000000000", "amount_too_large"),
        ("9999999999.99e1", "amount_too_large"),
        ("1e400", "amount_too_large"),
        ("1e999999999999", "amount_out_of_range"),
        ("1e-999999999999", "amount_out_of_range"),
    ],
)
def test_each_refusal_has_its_code(text: str, code: str) -> None:
    with pytest.raises(MoneyError) as refused:
        cents_from_json(text.encode())

    assert refused.value.code == code


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "text",
    [
        "1e" + "9" * 60_000,
        "1e-" + "9" * 60_000,
        "9" * 65_000,
        "0." + "0" * 65_000 + "1",
        "1" + "0" * 60_000 + "e-60000",
        "1." + "0" * 65_000,
    ],
)
def test_body_full_of_digits_is_read_quickly(text: str) -> None:
    with decimal.localcontext(decimal.Context(prec=70_000)):
        assert cents_or_none(text) in {None, 100}


def test_sixty_thousand_trailing_zeros_are_accepted() -> None:
    assert cents_from_json(b"1." + b"0" * 60_000) == 100
    assert cents_from_json(b"1" + b"0" * 60_000 + b"e-60000") == 100


def test_exponents_written_with_thousands_of_zeros_are_read_by_their_value() -> None:
    """``int`` refuses thousands of digits, whatever their value."""
    zeros = b"0" * 6_000

    assert cents_from_json(b"1e" + zeros + b"1") == 1_000
    assert cents_from_json(b"1E+" + zeros + b"2") == 10_000
    assert cents_from_json(b"150e-" + zeros + b"1") == 1_500
    assert cents_from_json(b"7e" + zeros) == 700
