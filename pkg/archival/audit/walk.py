"""The audit's walk over both stores, in pages, while bids may be going on."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from pkg.archival.audit.archive_side import ArchiveSide, ListedLetter
from pkg.archival.audit.auction_side import AuctionSide
from pkg.archival.audit.verdict import Verdict, counted, judge
from pkg.auction.item import ItemState
from pkg.auction.outbox import BEGINNING
from pkg.auction.witnessed import Witnessed

POLL_S = 0.25
SETTLE_S = 5.0  # for a single item's events, after the outboxes were waited for
MOST_LETTERS = 1000
_KNOWN_PAGE = 1000


@dataclass(slots=True)
class Findings:
    drained: bool = True
    not_archived: int = 0
    """Outbox entries beyond the watermarks when the wait was over."""
    items: int = 0
    accepted: int = 0
    archived: int = 0
    dead_letters_in_all: int = 0
    failing: dict[str, Verdict] = field(default_factory=dict)
    only_in_redis: list[str] = field(default_factory=list)
    only_in_postgres: list[str] = field(default_factory=list)
    astray: list[str] = field(default_factory=list)
    """Items that lie in another partition of Redis than their ids say."""
    dead_letters: list[ListedLetter] = field(default_factory=list)
    lost: list[Witnessed] = field(default_factory=list)
    """Bids that a gateway accepted and that no store holds."""

    @property
    def ok(self) -> bool:
        return not (self.failing or self.only_in_postgres or self.astray or self.lost)


class Walk:
    def __init__(
        self, auction: AuctionSide, archive: ArchiveSide, *, tell: Callable[[str], None]
    ) -> None:
        """``tell`` shows a line of progress."""
        self._auction = auction
        self._archive = archive
        self._tell = tell
        self._witnessed: dict[str, Witnessed] = {}

    async def wait_for_outboxes(self, findings: Findings, *, wait_s: float) -> None:
        """Until every event accepted before the audit began is archived, or the time is over."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._witnessed = await self._auction.witnessed()  # first: they are older than the ends
        ends = await self._auction.outbox_ends()
        while True:
            marks = await self._archive.watermarks()
            behind = [name for name, end in ends.items() if marks.get(name, BEGINNING) < end]
            if not behind:
                return
            waited_s = loop.time() - began
            if waited_s >= wait_s:
                break
            self._tell(
                f"waiting for the archive: {len(behind)} of {len(self._auction.names)} "
                f"outboxes to go, {waited_s:.0f} of {wait_s:.0f} s"
            )
            await asyncio.sleep(POLL_S)
        findings.drained = False
        for name in behind:
            findings.not_archived += await self._auction.entries_after(
                name, marks.get(name, BEGINNING)
            )

    async def every_witnessed(self, findings: Findings, *, settle_s: float = SETTLE_S) -> None:
        """Names the bids that gateways accepted and no store holds; to be asked when the outboxes
        were waited for. One on its way gets ``settle_s`` to arrive, and one that waits in an outbox
        is not lost.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + settle_s
        lacking = list(self._witnessed)
        while True:
            lacking = await self._not_archived(lacking)
            if not lacking or loop.time() >= deadline:
                break
            self._tell(f"{counted(len(lacking), 'bid')} that gateways remember not archived yet")
            await asyncio.sleep(POLL_S)
        if lacking:
            marks = await self._archive.watermarks()
            waiting: set[str] = set()
            for name in self._auction.names:
                waiting |= await self._auction.waiting_after(name, marks.get(name, BEGINNING))
            # What has left an outbox since is archived by now.
            lacking = await self._not_archived([each for each in lacking if each not in waiting])
        findings.lost = sorted(
            (self._witnessed[each] for each in lacking), key=lambda bid: (bid.item_id, bid.seq)
        )

    async def _not_archived(self, event_ids: list[str]) -> list[str]:
        pages = [event_ids[at : at + _KNOWN_PAGE] for at in range(0, len(event_ids), _KNOWN_PAGE)]
        known = {each for page in pages for each in await self._archive.known(page)}
        return [each for each in event_ids if each not in known]

    async def every_item(
        self,
        findings: Findings,
        *,
        settle_s: float = SETTLE_S,
        show: Callable[[Verdict], None] | None = None,
    ) -> None:
        """Compares all items. One that fails is looked at again before it is reported: events
        on their way get ``settle_s`` to arrive.
        """
        suspects: dict[str, Verdict] = {}
        seen: set[int] = set()  # hashes, for totals that are right when SCAN repeats itself
        async for page in self._auction.pages():
            new = [each for each in page if hash(each) not in seen]
            seen.update(map(hash, new))
            for verdict in await self._judged(await self._known(new)):
                if verdict.problems:
                    suspects[verdict.item_id] = verdict
                else:
                    self._count(findings, verdict, show)
            self._tell(f"{counted(findings.items, 'item')} compared")
        for verdict in await self._settled(suspects, within_s=settle_s):
            self._count(findings, verdict, show)
            if verdict.problems:
                findings.failing[verdict.item_id] = verdict
                if not verdict.record.reached:
                    findings.only_in_redis.append(verdict.item_id)
        async for page in self._archive.pages():
            states = await self._auction.states(page)
            findings.only_in_postgres += [each for each, state in states.items() if state is None]
        findings.astray = self._auction.astray
        findings.dead_letters_in_all = await self._archive.count_dead_letters()
        findings.dead_letters = await self._archive.dead_letters(limit=MOST_LETTERS)

    @staticmethod
    def _count(
        findings: Findings, verdict: Verdict, show: Callable[[Verdict], None] | None
    ) -> None:
        findings.items += 1
        findings.accepted += verdict.state.seq
        findings.archived += verdict.record.archived
        if show is not None:
            show(verdict)

    async def _known(self, item_ids: Iterable[str]) -> dict[str, ItemState]:
        states = await self._auction.states(item_ids)
        return {each: state for each, state in states.items() if state is not None}

    async def _judged(self, states: Mapping[str, ItemState]) -> list[Verdict]:
        """States first, the archive up to them second: bids accepted since do no harm."""
        records = await self._archive.items({each: state.seq for each, state in states.items()})
        ahead = [each for each, state in states.items() if records[each].last_seq > state.seq]
        since = await self._auction.states(ahead)
        seqs = {each: state.seq if state else 0 for each, state in since.items()}
        return [
            judge(each, state, records[each], seq_since=seqs.get(each, state.seq))
            for each, state in states.items()
        ]

    async def _settled(self, suspects: dict[str, Verdict], *, within_s: float) -> list[Verdict]:
        """Looks again, up to the state read first; at another state where nothing is missing."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        done: list[Verdict] = []
        while suspects:
            states = {each: verdict.state for each, verdict in suspects.items()}
            states |= await self._known(
                each for each, verdict in suspects.items() if not verdict.missing
            )
            over = loop.time() >= deadline
            for verdict in await self._judged(states):
                if over or not verdict.missing:
                    done.append(verdict)
                    del suspects[verdict.item_id]
            if suspects:
                self._tell(f"{counted(len(suspects), 'item')} not archived yet")
                await asyncio.sleep(POLL_S)
        return done
