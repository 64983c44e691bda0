"""The dead letters, and putting one of them through again."""

import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import asyncpg
import msgspec

from pkg.archival.commit import UnstorableError, commit
from pkg.archival.epochs import Origin
from pkg.archival.intake import Portion, Reader, Reason
from pkg.archival.schema import migrations, refuse_newer
from pkg.archival.sql import statement
from pkg.archival.store import CONNECT_TIMEOUT_S, Connection
from pkg.auction.events import UndecodableError
from pkg.auction.subjects import events_subject

MOST_NAMED = 100
"""Maximum number of letters whose reason to stay is kept; all are counted."""
_OF_ONE_EVENT = (
    *(Reason.BAD_EVENT, Reason.REFUSED),
    *(Reason.SEQ_CONFLICT, Reason.BID_ID_CONFLICT),
)

_IDS = statement("redrive_ids")
_LETTER = statement("redrive_letter")
_REMOVE = statement("redrive_remove")


@dataclass(frozen=True, slots=True)
class Letter:
    id: int
    reason: str


@dataclass(frozen=True, slots=True)
class Staying:
    """A letter that cannot be archived, and why not."""

    letter: Letter
    why: str


@dataclass(slots=True)
class Tally:
    """What redriving did or, in a dry run, would do."""

    letters: Counter[str] = field(default_factory=Counter)
    """Those put through, by reason."""
    removed: Counter[str] = field(default_factory=Counter)
    """Those that are archived now, by reason."""
    bids: int = 0
    """Newly archived; the other events of removed letters were archived before."""
    new_letters: int = 0
    """Single events of a message that is readable now, but that could not be archived."""
    staying: list[Staying] = field(default_factory=list)

    @property
    def stay(self) -> int:
        return self.letters.total() - self.removed.total()


class Letters:
    """Works on one connection. Safe to run beside workers and other redrives."""

    def __init__(self, connection: Connection, reader: Reader) -> None:
        self._connection = connection
        self._reader = reader

    @classmethod
    async def connect(
        cls, url: str, *, reader: Reader, tls: ssl.SSLContext | None = None
    ) -> "Letters":
        """Raises asyncpg.PostgresError, OSError, TimeoutError: PostgreSQL is away."""
        connection = await asyncpg.connect(
            url,
            ssl=tls,
            timeout=CONNECT_TIMEOUT_S,
            server_settings={"application_name": "redrive", "timezone": "UTC"},
        )
        return cls(connection, reader)

    async def aclose(self) -> None:
        await self._connection.close(timeout=2)

    async def check_schema(self) -> None:
        """Raises asyncpg.UndefinedTableError if there is no schema, SchemaTooNewError if newer."""
        applied = await self._connection.fetchval("SELECT max(version) FROM schema_version")
        refuse_newer(applied or 0, max(migrations()))

    async def every(self, *, reason: str | None) -> list[Letter]:
        rows = await self._connection.fetch(_IDS, reason)
        return [Letter(row["id"], row["reason"]) for row in rows]

    async def put_through(
        self, letters: Sequence[Letter], *, keep: bool, progress: Callable[[str], None]
    ) -> Tally:
        """Archives each in a transaction of its own that also removes it. A dry run does the same
        and rolls it back, unless told to ``keep`` it.

        Raises:
            asyncpg.PostgresError, asyncpg.InterfaceError, OSError: the letters put through before
                stay so; the others are as they were.
        """
        tally = Tally()
        for number, letter in enumerate(letters, 1):
            transaction = self._connection.transaction()
            await transaction.start()
            try:
                archived = await self._put_through(letter, tally)
            except BaseException:  # also when cancelled: nobody else would end the transaction
                await transaction.rollback()
                raise
            await (transaction.commit() if archived and keep else transaction.rollback())
            progress(f"{number} of {len(letters)} dead letters {'done' if keep else 'tried'}")
        return tally

    async def _put_through(self, letter: Letter, tally: Tally) -> bool:
        """Returns whether all of it is archived, or a dead letter of its own."""
        row = await self._connection.fetchrow(_LETTER, letter.id)
        if row is None:
            return False
        tally.letters[letter.reason] += 1
        try:
            portion = _portion(letter.reason, row["partition"], row["payload"], self._reader)
        except UndecodableError as error:
            return self._stays(letter, str(error), tally)
        try:
            committed = await commit(self._connection, portion)
        except UnstorableError as error:
            return self._stays(letter, str(error), tally)
        if letter.reason in _OF_ONE_EVENT and not committed.archived + committed.duplicates:
            return self._stays(letter, "the archive refuses it as before", tally)
        await self._connection.execute(_REMOVE, letter.id)
        tally.removed[letter.reason] += 1
        tally.bids += committed.archived
        tally.new_letters += committed.dead_letters.total()
        return True

    @staticmethod
    def _stays(letter: Letter, why: str, tally: Tally) -> bool:
        if len(tally.staying) < MOST_NAMED:
            tally.staying.append(Staying(letter, why))
        return False


def _portion(reason: str, partition: str | None, payload: bytes, reader: Reader) -> Portion:
    """Raises UndecodableError if nothing of it can be archived, by this program at least."""
    portion = Portion(reader)
    if reason == Reason.SUPERSEDED_EPOCH:
        raise UndecodableError("another history of Redis accepted it")
    if reason in _OF_ONE_EVENT:
        portion.events.append(reader.event(msgspec.Raw(payload), Origin(partition or "", 0, 0)))
        return portion
    portion.add(events_subject(partition or ""), payload)
    for again in portion.dead_letters:
        if again.payload == payload:
            raise UndecodableError(again.error)
    # Its place in the stream is not recorded, so it must not count as the start of its epoch.
    portion.batches = [
        (origin._replace(epoch=0), stretch) for origin, stretch in portion.batches if stretch
    ]
    return portion
