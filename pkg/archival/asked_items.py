"""Answers services that ask for items which left Redis.

On a connection of its own, so that no question waits for a transaction of the worker.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import asyncpg
import msgspec
import nats.errors
from nats.aio.msg import Msg

from pkg.archival.restore.archive_side import archived_item
from pkg.archival.sql import statement
from pkg.archival.store import Connection, Stopped, Store
from pkg.auction.asking import Answer, decode_question
from pkg.auction.events import UndecodableError
from pkg.auction.subjects import ITEMS_ASKED
from pkg.runtime import logs
from pkg.runtime.nats_link import NatsLink

GROUP = "archival-worker"
QUEUE_MAX = 64
"""Questions that wait; a further one is answered with an error."""
WITHIN_S = 1.5
"""Below the time for which an asker waits (``pkg.stores.archived_items``)."""

_ITEMS = statement("restore_items")

log = logs.get("asked-items")


class AskedItems:
    """Each question goes to one worker of the queue group."""

    def __init__(self, link: NatsLink, store: Store, *, may_answer: Callable[[], bool]) -> None:
        """``may_answer``: whether the archive is known to be of the stream's system."""
        self._may_answer = may_answer
        self._link = link
        self._store = store
        self._waiting: asyncio.Queue[tuple[float, Msg]] = asyncio.Queue(QUEUE_MAX)
        self.asked = 0
        """Items asked for since the start."""
        self.failed = 0
        """Questions that could not be answered."""

    async def hear(self) -> None:
        """Takes questions until cancelled. nats-py resubscribes by itself after an outage."""
        while True:
            await self._link.wait_connected()
            with suppress(nats.errors.Error):
                await self._link.client.subscribe(ITEMS_ASKED, queue=GROUP, cb=self._take)
                await asyncio.Event().wait()

    async def answer(self) -> None:
        """Answers one question after the other until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            asked_at, question = await self._waiting.get()
            left_s = asked_at + WITHIN_S - loop.time()
            if left_s > 0:
                await self._respond(question, await self._answer(question.data, within_s=left_s))
            else:
                self.failed += 1  # nobody waits for it any more

    async def _take(self, question: Msg) -> None:
        try:
            self._waiting.put_nowait((asyncio.get_running_loop().time(), question))
        except asyncio.QueueFull:
            self.failed += 1
            await self._respond(question, Answer([], error="too many questions"))

    async def _answer(self, data: bytes, *, within_s: float) -> Answer:
        if not self._may_answer():
            self.failed += 1
            return Answer([], error="the archive may be another system's")
        try:
            item_ids = decode_question(data).items
            self.asked += len(item_ids)
            async with asyncio.timeout(within_s):
                rows = await self._store.run(partial(_read, item_ids=item_ids))
        except UndecodableError as error:
            self.failed += 1
            return Answer([], error=str(error))
        except (TimeoutError, Stopped):
            self.failed += 1
            return Answer([], error="PostgreSQL is away")
        items = [archived_item(row) for row in rows]
        return Answer([item for item in items if item is not None])

    async def _respond(self, question: Msg, answer: Answer) -> None:
        if not question.reply:
            return
        try:
            await question.respond(msgspec.json.encode(answer))
        except nats.errors.Error as error:
            log.debug("cannot answer", why=str(error))


async def _read(connection: Connection, *, item_ids: list[str]) -> list[asyncpg.Record]:
    return list(await connection.fetch(_ITEMS, item_ids))
