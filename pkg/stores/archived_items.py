"""Asks the archive for items, by way of the archival workers (NATS request and reply)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
import nats.errors

from pkg.auction.asking import MOST_ASKED, ArchivedItem, Question, decode_answer
from pkg.auction.events import UndecodableError
from pkg.auction.subjects import ITEMS_ASKED
from pkg.runtime.background import ended
from pkg.runtime.nats_link import NatsLink

TIMEOUT_S = 2.0
AT_ONCE = 4
WAITING_MAX = 1000
"""Items that wait for one of AT_ONCE questions. Beyond that, asking fails at once."""


class ArchiveUnavailableError(Exception):
    """The archive did not answer. Nothing is known about the items."""


class ArchivedItems:
    """Made by ``asking``. Items asked for while AT_ONCE questions are under way share the next."""

    def __init__(self, link: NatsLink) -> None:
        self._link = link
        self._waiting: dict[str, asyncio.Future[ArchivedItem | ArchiveUnavailableError | None]] = {}
        self._asking: set[asyncio.Task[None]] = set()
        self.failed = 0
        """Items asked for in vain since the process started."""

    async def find(self, item_ids: Sequence[str]) -> dict[str, ArchivedItem]:
        """Those that the archive has, as it had them after this call began.

        Raises:
            ArchiveUnavailableError: nothing is known about them.
        """
        loop = asyncio.get_running_loop()
        new = [each for each in item_ids if each not in self._waiting]
        if len(self._waiting) + len(new) > WAITING_MAX:
            self.failed += len(item_ids)
            raise ArchiveUnavailableError("too many items are asked for")
        for item_id in new:
            self._waiting[item_id] = loop.create_future()
        answers = {each: self._waiting[each] for each in item_ids}
        self._ask_on()
        await asyncio.wait(answers.values())  # does not cancel what others wait for
        found = {}
        for item_id, answer in answers.items():
            item = answer.result()
            if isinstance(item, ArchiveUnavailableError):
                self.failed += len(item_ids)
                raise item
            if item is not None:
                found[item_id] = item
        return found

    def _ask_on(self) -> None:
        while self._waiting and len(self._asking) < AT_ONCE:
            batch = {each: self._waiting.pop(each) for each in list(self._waiting)[:MOST_ASKED]}
            task = asyncio.create_task(self._ask(batch))
            self._asking.add(task)
            task.add_done_callback(self._asked)

    def _asked(self, task: "asyncio.Task[None]") -> None:
        self._asking.discard(task)
        self._ask_on()

    async def _ask(
        self, batch: dict[str, "asyncio.Future[ArchivedItem | ArchiveUnavailableError | None]"]
    ) -> None:
        found: dict[str, ArchivedItem] = {}
        error: ArchiveUnavailableError | None = ArchiveUnavailableError("closed")
        try:
            found = await self._request(list(batch))
            error = None
        except ArchiveUnavailableError as failure:
            error = failure
        finally:
            for item_id, future in batch.items():
                future.set_result(error or found.get(item_id))

    async def _request(self, item_ids: list[str]) -> dict[str, ArchivedItem]:
        if not self._link.connected:
            raise ArchiveUnavailableError("NATS is away")
        try:
            message = await self._link.client.request(
                ITEMS_ASKED, msgspec.json.encode(Question(item_ids)), timeout=TIMEOUT_S
            )
            answer = decode_answer(message.data)
        except (nats.errors.Error, TimeoutError, OSError, UndecodableError) as error:
            raise ArchiveUnavailableError(str(error) or type(error).__name__) from error
        if answer.error:
            raise ArchiveUnavailableError(answer.error)
        return {item.item_id: item for item in answer.items}

    async def close(self) -> None:
        self._waiting, waiting = {}, self._waiting
        for future in waiting.values():
            future.set_result(ArchiveUnavailableError("closed"))
        for task in tuple(self._asking):
            await ended(task)


@asynccontextmanager
async def asking(link: NatsLink) -> AsyncIterator[ArchivedItems]:
    archive = ArchivedItems(link)
    try:
        yield archive
    finally:
        await archive.close()
