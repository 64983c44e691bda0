"""How the report writes numbers. An unmeasured value is a dash, never a zero."""

from collections.abc import Callable, Iterable
from statistics import median

DASH = "\N{EN DASH}"
_NEAR = 0.01


def whole(value: float | None) -> str:
    return DASH if value is None else f"{value:,.0f}"


def figures(value: float | None, digits: int = 3) -> str:
    """About three significant digits: 0.0123, 1.23, 12.3, 1,234."""
    if value is None:
        return DASH
    if value == 0:
        return "0"
    for limit, decimals in ((0.1, digits + 1), (1, digits), (10, digits - 1), (100, digits - 2)):
        if abs(value) < limit:
            return f"{value:.{decimals}f}"
    return f"{value:,.0f}"


def ms(microseconds: float | None) -> str:
    return DASH if microseconds is None else figures(microseconds / 1000)


def percent(share: float | None) -> str:
    """With three decimals near 0 and 100, and never rounded to either."""
    if share is None:
        return DASH
    if share in {0, 1}:
        return f"{share:.0%}"
    if _NEAR < share < 1 - _NEAR:
        return f"{share:.1%}"
    return f"{min(max(share * 100, 0.001), 99.999):.3f}%"


def size(value_bytes: float | None) -> str:
    if value_bytes is None:
        return DASH
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if value_bytes >= factor:
            return f"{value_bytes / factor:.3g} {unit}"
    return f"{value_bytes:.0f} bytes"


def middle(values: Iterable[float | None]) -> float | None:
    """The median of what was measured."""
    there = [value for value in values if value is not None]
    return median(there) if there else None


def span(values: Iterable[float | None], write: Callable[[float], str] = figures) -> str:
    """From the lowest to the highest of what was measured."""
    there = [value for value in values if value is not None]
    return f"{write(min(there))}{DASH}{write(max(there))}" if there else DASH


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(words: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *first, last = list(words)
    return f"{', '.join(first)} and {last}" if first else last
