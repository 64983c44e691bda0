"""Exact money: JSON number text in, integer cents inside, two decimals out. No float anywhere."""

import re

MAX_CENTS = 999_999_999_999  # 9,999,999,999.99: numeric(18,2) holds it, and so does a Lua double

# Nearly every client sends this form. It needs no arithmetic on untrusted exponents.
_PLAIN = re.compile(rb"([0-9]{1,10})(?:\.([0-9]{1,2}))?", re.ASCII)
_NUMBER = re.compile(rb"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?", re.ASCII)

# A longer exponent is refused unread: a body of 64 KiB has too few digits to offset it.
_MAX_EXPONENT_DIGITS = 5


class MoneyError(ValueError):
    """The text is not an acceptable amount. ``code`` is the reason for programs."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


NOT_A_NUMBER = ("amount_not_number", "Bid amount must be a JSON number")
NOT_POSITIVE = ("amount_not_positive", "Bid amount must be positive")
TOO_PRECISE = ("amount_precision", "Bid amount must have at most two decimals")
OUT_OF_RANGE = ("amount_out_of_range", "Bid amount has too large an exponent")
TOO_LARGE = ("amount_too_large", "Bid amount must be at most 9999999999.99")


def cents_from_json(raw: bytes) -> int:
    """Reads the text of one JSON number by its value: ``1.10e1`` is 1100 cents.

    Raises:
        MoneyError: not a number, not above zero, more than two decimals, or above the maximum.
    """
    if plain := _PLAIN.fullmatch(raw):
        whole, fraction = plain.groups()
        if len(whole) == 1 or not whole.startswith(b"0"):
            cents = int(whole) * 100 + (int(fraction.ljust(2, b"0")) if fraction else 0)
            if cents == 0:
                raise MoneyError(*NOT_POSITIVE)
            return cents
    return _cents_from_any_number(raw)


def _cents_from_any_number(raw: bytes) -> int:
    number = _NUMBER.fullmatch(raw)
    if number is None:
        raise MoneyError(*NOT_A_NUMBER)
    sign, whole, fraction, exponent = number.groups()
    significant = (whole + (fraction or b"")).lstrip(b"0")
    if not significant.rstrip(b"0") or sign:
        raise MoneyError(*NOT_POSITIVE)
    # Checked as text, so that 1e999999999 is never computed. Leading zeros are dropped because
    # int() refuses thousands of digits, whatever their value.
    power = (exponent or b"").lstrip(b"+-").lstrip(b"0")
    if len(power) > _MAX_EXPONENT_DIGITS:
        raise MoneyError(*OUT_OF_RANGE)
    shift = int(power or b"0") * (-1 if exponent and exponent.startswith(b"-") else 1)
    digits = significant.rstrip(b"0")
    # The value is the digits shifted by this many places.
    scale = shift - len(fraction or b"") + len(significant) - len(digits)
    if scale < -2:  # noqa: PLR2004 - two decimals
        raise MoneyError(*TOO_PRECISE)
    if len(digits) + scale > 10:  # noqa: PLR2004 - integer digits of the maximum
        raise MoneyError(*TOO_LARGE)
    return int(digits + b"0" * (scale + 2))


def text_from_cents(cents: int) -> str:
    """``20000`` is ``"200.00"``: also valid as a JSON number."""
    return f"{cents // 100}.{cents % 100:02d}"
