"""What Redis says when it refuses the command of a bid: counted, logged once, told by readiness.

Redis answers and keeps its connections, but writes nothing: its memory is full (OOM), it lacks
replicas (NOREPLICAS), its user may not (NOPERM), it is a replica (READONLY).
"""

import asyncio
import re
from collections.abc import Callable

from pkg.runtime import logs

LOOK_EVERY_S = 1.0
WORDS_MAX = 20
OTHER = "other"

_WORD = re.compile(r"[A-Z][A-Z0-9_]+")
_IN_SCRIPT = re.compile(r"ERR Error running script.*@user_script: ?\d+: -?(.*)", re.DOTALL)
"""Redis 6.2 wraps the error of a script's command; Redis 7 does not."""

log = logs.get("bids")


class Refusals:
    """Refusals of one process. Accepted bids cost nothing: ``run`` looks at their number."""

    def __init__(self, *, look_every_s: float = LOOK_EVERY_S) -> None:
        self._look_every_s = look_every_s
        self.by_word: dict[str, int] = {}
        """Refusals since the process started, by the error's first word; OTHER past WORDS_MAX."""
        self._logged: set[str] = set()
        self._some = asyncio.Event()

    def count(self, error: Exception) -> None:
        """``error`` is Redis' reply to the command of a bid."""
        word, text = own_words(error)
        if word not in self.by_word and len(self.by_word) >= WORDS_MAX:
            word = OTHER
        self.by_word[word] = self.by_word.get(word, 0) + 1
        self._some.set()
        if word not in self._logged:
            self._logged.add(word)
            log.error("Redis refuses bids", why=text)

    def probe(self) -> str | None:
        """For ``Readiness.watch``: whether bids are refused, as far as the last bids told."""
        return "refused" if self._logged else None

    async def run(self, accepted: Callable[[], int]) -> None:
        """Notices that bids are accepted again, until cancelled.

        They are when bids were accepted, and none refused, since the look before.
        """
        while True:
            await self._some.wait()
            refused, before = self._total(), accepted()
            await asyncio.sleep(self._look_every_s)
            if self._total() == refused and accepted() > before:
                self._logged.clear()
                self._some.clear()
                log.info("Redis accepts bids again")

    def _total(self) -> int:
        return sum(self.by_word.values())


def own_words(error: Exception) -> tuple[str, str]:
    """The first word of Redis' error (ERR if it has none), and all of it."""
    text = str(error)
    if wrapped := _IN_SCRIPT.match(text):
        text = wrapped[1]
    word = _WORD.match(text)
    return (word[0] if word else "ERR"), text
