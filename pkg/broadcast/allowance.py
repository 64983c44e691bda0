"""How many messages a viewer may send: a token bucket, so that a flood costs others nothing."""

BURST_S = 5.0
"""A viewer may send what it saved up in this time all at once."""


class Allowance:
    """``per_s`` messages a second. ``now`` is any monotonic number of seconds."""

    __slots__ = ("_left", "_most", "_per_s", "_since")

    def __init__(self, per_s: float, now: float) -> None:
        self._per_s = per_s
        self._most = self._left = per_s * BURST_S
        self._since = now

    def spend(self, now: float) -> bool:
        """Takes one message; False if there are too many."""
        self._left = min(self._most, self._left + (now - self._since) * self._per_s)
        self._since = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
