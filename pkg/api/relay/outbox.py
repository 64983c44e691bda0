"""The relay's side of the outbox in Redis: reading, measuring and trimming it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import hiredis
import msgspec
from redis.asyncio import Redis

from pkg.api.errors import OutcomeUnknown, RedisUnavailable
from pkg.api.redis.connection import RedisConnection, Reply, pack
from pkg.api.redis.link import RedisLink
from pkg.auction.events import MAX_BATCH_EVENTS
from pkg.auction.keys import meta_key, outbox_key
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.stores.redis_meta import ARCHIVED_TO, record_partitions, require_primary

QUEUE_MAX = 1_000

TRIMMED_TO = "trimmed_to"
"""Field of ``meta``: highest id removed before the archive had it (JetStream held it)."""
UNARCHIVED_FROM = "unarchived_from"
"""Field of ``meta``: lowest id so removed since the archive last passed ``trimmed_to``."""
RETIRED = "retired"
"""Field of ``meta``: how many were so removed since then."""


def relay_link(
    target: str, *, name: str, timeout_s: float, holds: Sequence[str], partitions: int
) -> RedisLink[RedisConnection]:
    """A link to the primary of a Redis that holds these of all partitions, open for bids or not."""

    async def prepare(connection: RedisConnection) -> RedisConnection:
        await require_primary(connection)
        await record_partitions(connection, holds, partitions=partitions)
        return connection

    return RedisLink(
        target,
        name=name,
        timeout_s=timeout_s,
        queue_max=QUEUE_MAX,
        prepare=prepare,
        check=require_primary,
    )


class Entry(msgspec.Struct, frozen=True):
    """An accepted event as JSON, with its outbox id."""

    id: OutboxId
    event: bytes


@dataclass(frozen=True, slots=True)
class OutboxState:
    """How full a partition's outbox is, and what left it unarchived. ``now_ms`` is Redis' clock."""

    depth: int
    first_unarchived: OutboxId | None
    """The first unarchived entry in the outbox."""
    archived_to: OutboxId
    retired: int
    """Entries that only JetStream holds. May be more: counts archived ones until all are."""
    retired_from: OutboxId
    """The first of them that the archive may lack."""
    now_ms: int

    @property
    def oldest(self) -> OutboxId | None:
        """The oldest unarchived event, wherever it waits. While retired ones are being archived,
        it may be the last archived one, which comes just before.
        """
        if not self.retired or self.first_unarchived is None:
            return self.retired_from if self.retired else self.first_unarchived
        return min(self.retired_from, self.first_unarchived)


class Outbox:
    """One server's outboxes. ``read`` blocks the link ``reading``; the rest uses ``asking``."""

    def __init__(
        self,
        reading: RedisLink[RedisConnection],
        asking: RedisLink[RedisConnection],
        *,
        partitions: Sequence[str],
    ) -> None:
        self._reading = reading
        self._asking = asking
        self.partitions = list(partitions)
        self._partition_of_key = {outbox_key(name).encode(): name for name in self.partitions}

    async def read(self, after: Mapping[str, OutboxId], *, block_ms: int) -> dict[str, list[Entry]]:
        """Entries after each partition's id, oldest first, at most MAX_BATCH_EVENTS of each.

        Waits up to ``block_ms`` for the first; empty if none comes.

        Raises:
            RedisUnavailable: nothing was read.
        """
        names = [outbox_key(partition) for partition in after]
        ids = [str(position) for position in after.values()]
        reply = await _ask(
            self._reading,
            pack(
                *("XREAD", "COUNT", str(MAX_BATCH_EVENTS), "BLOCK", str(block_ms)),
                *("STREAMS", *names, *ids),
            ),
        )
        return {
            self._partition_of_key[key]: [_entry(row) for row in rows] for key, rows in reply or ()
        }

    async def end(self, partition: str) -> OutboxId:
        """The highest id that the partition's outbox ever gave out.

        Raises RedisUnavailable.
        """
        try:
            info = await self._asking.current().submit(
                pack("XINFO", "STREAM", outbox_key(partition))
            )
        except OutcomeUnknown as error:
            raise RedisUnavailable from error
        except hiredis.ReplyError as error:
            if "no such key" not in str(error):
                raise RedisUnavailable from error
            return BEGINNING
        fields = dict(zip(info[::2], info[1::2], strict=True))
        return OutboxId.parse(fields[b"last-generated-id"])

    async def event(self, partition: str, entry_id: OutboxId) -> bytes | None:
        """The entry's event, if it is still there. Raises RedisUnavailable."""
        rows = await _ask(
            self._asking, pack("XRANGE", outbox_key(partition), str(entry_id), str(entry_id))
        )
        return _entry(rows[0]).event if rows else None

    async def state(self, partition: str) -> OutboxState:
        """Raises RedisUnavailable."""
        outbox = outbox_key(partition)
        fields = (ARCHIVED_TO, TRIMMED_TO, UNARCHIVED_FROM, RETIRED)
        now, depth, first, marks = await _ask_all(
            self._asking,
            pack("TIME"),
            pack("XLEN", outbox),
            pack("XRANGE", outbox, "-", "+", "COUNT", "1"),
            pack("HMGET", meta_key(partition), *fields),
        )
        *ids, retired = marks
        archived, trimmed, unarchived = (
            OutboxId.parse(mark) if mark else BEGINNING for mark in ids
        )
        if first and OutboxId.parse(first[0][0]) <= archived:
            first = await _ask(
                self._asking, pack("XRANGE", outbox, str(archived.next()), "+", "COUNT", "1")
            )
        return OutboxState(
            depth=depth,
            first_unarchived=OutboxId.parse(first[0][0]) if first else None,
            archived_to=archived,
            # The release before recorded no number.
            retired=max(1, int(retired or 0)) if trimmed > archived else 0,
            retired_from=max(unarchived, archived),
            now_ms=int(now[0]) * 1000 + int(now[1]) // 1000,
        )

    async def trim_to(self, partition: str, through: OutboxId) -> None:
        """Removes the entries up to ``through``, all of them archived, and records ``through``.

        A Redis whose memory is full trims, but refuses the record; the next watermark's will do.
        """
        replies = await _submit(
            self._asking,
            pack("XTRIM", outbox_key(partition), "MINID", str(through.next())),
            pack("HSET", meta_key(partition), ARCHIVED_TO, str(through)),
        )
        _require_unless_full(replies)

    async def depths(self) -> dict[str, int]:
        """The number of entries in each outbox. Raises RedisUnavailable."""
        replies = await _ask_all(
            self._asking, *(pack("XLEN", outbox_key(name)) for name in self.partitions)
        )
        return dict(zip(self.partitions, replies, strict=True))

    async def retire(self, partition: str, *, most: int, through: OutboxId) -> int:
        """Removes the ``most`` oldest entries of those up to ``through``, which JetStream holds and
        the archive does not yet; returns how many.

        They are recorded first, so a process that dies in between has counted too many.
        """
        state = await self.state(partition)
        rows = await _ask(
            self._asking,
            pack("XRANGE", outbox_key(partition), "-", str(through), "COUNT", str(most)),
        )
        if not rows:
            return 0
        first, last = (OutboxId.parse(row[0]) for row in (rows[0], rows[-1]))
        replies = await _submit(
            self._asking,
            pack(
                *("HSET", meta_key(partition), TRIMMED_TO, str(last)),
                *(UNARCHIVED_FROM, str(state.retired_from if state.retired else first)),
                *(RETIRED, str(state.retired + len(rows))),
            ),
            pack("XTRIM", outbox_key(partition), "MINID", str(last.next())),
        )
        _require_unless_full(replies)
        return len(rows)


async def record_retired(
    redis: Redis, partition: str, first: OutboxId, *, through: OutboxId, count: int
) -> None:
    """Records that the outbox lost ``count`` events, not archived yet, that JetStream holds."""
    meta = meta_key(partition)
    *ids, number = await redis.hmget(meta, [ARCHIVED_TO, TRIMMED_TO, RETIRED])
    archived, trimmed = (OutboxId.parse(mark or str(BEGINNING)) for mark in ids)
    if trimmed > archived:
        count += int(number or 0)
    else:
        await redis.hset(meta, UNARCHIVED_FROM, str(first))
    await redis.hset(meta, RETIRED, count)
    await redis.hset(meta, TRIMMED_TO, str(through))


def _entry(row: Reply) -> Entry:
    entry_id, fields = row
    return Entry(OutboxId.parse(entry_id), fields[1])


async def _ask(link: RedisLink[RedisConnection], command: bytes) -> Reply:
    try:
        return await link.current().submit(command)
    except (hiredis.ReplyError, OutcomeUnknown) as error:
        raise RedisUnavailable from error


async def _submit(link: RedisLink[RedisConnection], *commands: bytes) -> list[Reply]:
    """All on one connection, in order; error replies are among the replies."""
    try:
        return await link.current().submit_all(*commands)
    except OutcomeUnknown as error:
        raise RedisUnavailable from error


def _require_unless_full(replies: list[Reply]) -> None:
    """A Redis whose memory is full trims, but refuses to record it."""
    for reply in replies:
        if isinstance(reply, hiredis.ReplyError) and not str(reply).startswith("OOM"):
            raise RedisUnavailable from reply


async def _ask_all(link: RedisLink[RedisConnection], *commands: bytes) -> list[Reply]:
    replies = await _submit(link, *commands)
    for reply in replies:
        if isinstance(reply, hiredis.ReplyError):
            raise RedisUnavailable from reply
    return replies
