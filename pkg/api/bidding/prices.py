"""Prices seen on one connection: a bid at or below one is refused without asking Redis."""

from dataclasses import dataclass


@dataclass
class PriceCounts:
    """Counts over all connections since the process started."""

    hits: int = 0
    evictions: int = 0


class SeenPrices:
    """A bounded cache that lives as long as its connection, on which prices only rise."""

    def __init__(self, limit: int, counts: PriceCounts) -> None:
        self._limit = limit
        self._counts = counts
        self._cents: dict[str, int] = {}

    def refuses(self, item_id: str, amount_cents: int) -> int | None:
        """The price, in cents, that the amount does not beat; ``None`` if Redis must be asked."""
        price = self._cents.get(item_id, 0)
        if amount_cents > price:
            return None
        self._counts.hits += 1
        return price

    def saw(self, item_id: str, price_cents: int) -> None:
        cents = self._cents
        known = cents.get(item_id)
        if known is None:
            if not self._limit:
                return
            if len(cents) >= self._limit:
                del cents[next(iter(cents))]  # the oldest
                self._counts.evictions += 1
            cents[item_id] = price_cents
        elif price_cents > known:
            cents[item_id] = price_cents
