"""Which web pages may bid and watch.

A browser names the origin of the page that asks (RFC 6454); other clients name none. Without this,
any page that somebody visits could bid in the visitor's network.
"""

from collections.abc import Collection
from urllib.parse import urlsplit


class Origins:
    """``allowed`` are origins as browsers send them, such as ``https://shop.example``."""

    def __init__(self, allowed: Collection[str] = ()) -> None:
        self._allowed = frozenset(allowed)

    def allow(self, origin: str, *, host: str) -> bool:
        """Whether a page of ``origin`` may use us. ``host`` is the request's Host header.

        Pages of our own host may, whatever their port: the API and the viewers' socket have
        different ones.
        """
        if origin in self._allowed:
            return True
        own = _host_of(f"//{host}")
        return own is not None and own == _host_of(origin)


def _host_of(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
