"""The audit's walk over both stores, page by page. Bids may be placed meanwhile."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from pkg.archival.audit.archive_side import ArchiveSide, ListedLetter
from pkg.archival.audit.auction_side import AuctionSide, Waiting
from pkg.archival.audit.verdict import Verdict, counted, judge
from pkg.auction.item import ItemState
from pkg.auction.outbox import BEGINNING
from pkg.auction.witnessed import Witnessed

POLL_S = 0.25
SETTLE_S = 5.0  # for events still on their way after the wait for the outboxes
MOST_LETTERS = 1000
_KNOWN_PAGE = 1000
MOST_SEQ = 2**62


@dataclass(slots=True)
class Findings:
    drained: bool = True
    not_archived: int = 0
    """Outbox entries after the watermarks, once the wait was over."""
    items: int = 0
    departed: int = 0
    """Of these, the items that are in the archive only, since they left Redis."""
    accepted: int = 0
    archived: int = 0
    dead_letters_in_all: int = 0
    failing: dict[str, Verdict] = field(default_factory=dict)
    only_in_redis: list[str] = field(default_factory=list)
    only_in_postgres: list[str] = field(default_factory=list)
    astray: list[str] = field(default_factory=list)
    """Items in the wrong partition of Redis."""
    superseded: int = 0
    """Dead letters that are bids accepted by a superseded Redis."""
    dead_letters: list[ListedLetter] = field(default_factory=list)
    lost: list[Witnessed] = field(default_factory=list)
    """Bids that a gateway accepted but no store holds."""

    @property
    def ok(self) -> bool:
        return not (
            self.failing or self.only_in_postgres or self.astray or self.lost or self.superseded
        )


class Walk:
    def __init__(
        self, auction: AuctionSide, archive: ArchiveSide, *, progress: Callable[[str], None]
    ) -> None:
        """``progress`` shows a line of progress."""
        self._auction = auction
        self._archive = archive
        self._progress = progress
        self._witnessed: dict[str, Witnessed] = {}

    async def wait_for_outboxes(self, findings: Findings, *, wait_s: float) -> None:
        """Waits until all events accepted before the audit are archived, or for ``wait_s``."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._witnessed = (
            await self._auction.witnessed()
        )  # first, so that the outbox ends cover them
        ends = await self._auction.outbox_ends()
        while True:
            marks = await self._archive.watermarks()
            behind = [name for name, end in ends.items() if marks.get(name, BEGINNING) < end]
            if not behind:
                return
            waited_s = loop.time() - began
            if waited_s >= wait_s:
                break
            self._progress(
                f"waiting for the archive: {len(behind)} of {len(self._auction.names)} "
                f"outboxes left, {waited_s:.0f} of {wait_s:.0f} s"
            )
            await asyncio.sleep(POLL_S)
        findings.drained = False
        for name in behind:
            findings.not_archived += await self._auction.entries_after(
                name, marks.get(name, BEGINNING)
            )

    async def every_witnessed(self, findings: Findings, *, settle_s: float = SETTLE_S) -> None:
        """Finds the witnessed bids that no store holds. Call ``wait_for_outboxes`` first.

        Bids on their way get ``settle_s`` to arrive; one in an outbox is not lost.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + settle_s
        missing = list(self._witnessed)
        while True:
            missing = await self._not_archived(missing)
            if not missing or loop.time() >= deadline:
                break
            self._progress(f"{counted(len(missing), 'witnessed bid')} not archived yet")
            await asyncio.sleep(POLL_S)
        if missing:
            waiting = await self._waiting(self._auction.names)
            # Entries that have left an outbox meanwhile are archived by now.
            missing = await self._not_archived([each for each in missing if each not in waiting])
        findings.lost = sorted(
            (self._witnessed[each] for each in missing), key=lambda bid: (bid.item_id, bid.seq)
        )

    async def _waiting(self, partitions: Iterable[str]) -> dict[str, Waiting]:
        """The events in these outboxes beyond the watermarks, by event_id."""
        marks = await self._archive.watermarks()
        waiting: dict[str, Waiting] = {}
        for name in partitions:
            waiting |= await self._auction.waiting_after(name, marks.get(name, BEGINNING))
        return waiting

    async def _late(self, states: Mapping[str, ItemState]) -> Counter[str]:
        """How many events of each item, up to its state, wait in the outbox for the archive."""
        waiting = await self._waiting({self._auction.partition_of(each) for each in states})
        late = {
            event_id: each
            for event_id, each in waiting.items()
            if each.item_id in states and each.seq <= states[each.item_id].seq
        }
        return Counter(late[each].item_id for each in await self._not_archived(list(late)))

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
        """Compares all items. Checks those that fail again for up to ``settle_s``, as events may be
        on their way.
        """
        suspects: dict[str, Verdict] = {}
        seen: set[int] = set()  # hashes, so that an id that SCAN repeats counts once
        async for page in self._auction.pages():
            new = [each for each in page if hash(each) not in seen]
            seen.update(map(hash, new))
            for verdict in await self._judged(await self._known(new)):
                if verdict.problems:
                    suspects[verdict.item_id] = verdict
                else:
                    self._count(findings, verdict, show)
            self._progress(f"{counted(findings.items, 'item')} compared")
        for verdict in await self._settled(suspects, within_s=settle_s):
            self._count(findings, verdict, show)
            if verdict.problems:
                findings.failing[verdict.item_id] = verdict
                if not verdict.record.reached:
                    findings.only_in_redis.append(verdict.item_id)
        async for page in self._archive.pages():
            states = await self._auction.states(page)
            missing = [each for each, state in states.items() if state is None]
            departed = await self._auction.departures.departed(missing)
            findings.only_in_postgres += [each for each in missing if each not in departed]
            new = [each for each in departed if hash(each) not in seen]
            for verdict in await self._judged(await self._as_archived(new)):
                findings.departed += 1
                self._count(findings, verdict, show)
                if verdict.problems:
                    findings.failing[verdict.item_id] = verdict
        findings.astray = self._auction.astray
        findings.superseded = await self._archive.count_superseded()
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

    async def _as_archived(self, item_ids: Iterable[str]) -> dict[str, ItemState]:
        """Items that left Redis, as they will come back: after the last event that is archived."""
        records = await self._archive.items(dict.fromkeys(item_ids, MOST_SEQ))
        records = await self._archive.items({each: at.reached for each, at in records.items()})
        return {
            each: ItemState(
                price_cents=at.last_cents or 0,
                seq=at.reached,
                count=at.archived + at.dead_lettered - at.twice,
                event_id=next(iter(at.last_event_ids), None),
            )
            for each, at in records.items()
        }

    async def _judged(
        self, states: Mapping[str, ItemState], late: Mapping[str, int] | None = None
    ) -> list[Verdict]:
        """Reads the archive only up to the given states, so that newer bids do not matter. ``late``
        is from before: what left an outbox since then is archived.
        """
        records = await self._archive.items({each: state.seq for each, state in states.items()})
        ahead = [each for each, state in states.items() if records[each].last_seq > state.seq]
        since = await self._auction.states(ahead)
        seqs = {each: state.seq if state else 0 for each, state in since.items()}
        return [
            judge(
                each,
                state,
                records[each],
                seq_since=seqs.get(each, state.seq),
                waiting=(late or {}).get(each, 0),
            )
            for each, state in states.items()
        ]

    async def _settled(self, suspects: dict[str, Verdict], *, within_s: float) -> list[Verdict]:
        """Compares again, with the same state while events are missing, else with a new one."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        done: list[Verdict] = []
        while suspects:
            states = {each: verdict.state for each, verdict in suspects.items()}
            states |= await self._known(
                each for each, verdict in suspects.items() if not verdict.missing
            )
            over = loop.time() >= deadline
            late = await self._late(states) if over else None
            for verdict in await self._judged(states, late):
                if over or not verdict.missing:
                    done.append(verdict)
                    del suspects[verdict.item_id]
            if suspects:
                self._progress(f"{counted(len(suspects), 'item')} not archived yet")
                await asyncio.sleep(POLL_S)
        return done
