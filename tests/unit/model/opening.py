"""What the real recovery asks of Redis and of JetStream, answered by the model's."""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, Self

import nats.errors
from nats.js.api import RawStreamMsg, StreamConfig
from nats.js.errors import NotFoundError
from redis.exceptions import ConnectionError as RedisConnectionError

from pkg.auction.keys import split_item_key
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.auction.subjects import events_subject
from pkg.stores.putting_back import _RESTORE_ITEM
from pkg.stores.system import IN_METADATA, system_of
from tests.unit.model.forgetful_redis import ForgetfulRedis, Partition
from tests.unit.model.jetstream import JetStream, Stored
from tests.unit.model.world import Place, World


class ModelRedisClient:
    """The part of redis-py that recovery uses."""

    def __init__(self, world: World, redis: ForgetfulRedis, caller: str) -> None:
        self._world = world
        self._redis = redis
        self._caller = caller

    async def execute_command(self, *parts: str) -> Any:  # noqa: ANN401 - a reply
        match parts:
            case ("ROLE",):
                return await self._ask("role", lambda: [b"master"])
            case ("INFO", "server"):
                return await self._ask("info", lambda: {"run_id": self._redis.run_id})
            case ("HMGET", key, *fields):
                return await self.hmget(key, fields)
            case ("HSET", key, *fields):
                return await self.hset(
                    key, mapping=dict(zip(fields[::2], fields[1::2], strict=True))
                )
        raise NotImplementedError(parts)

    async def hmget(self, key: str, fields: list[str]) -> list[bytes | None]:
        found: list[bytes | None] = await self._ask(
            f"read {key}", lambda: [self._of(key).meta.get(name) for name in fields]
        )
        return found

    async def hset(
        self,
        key: str,
        field: str = "",
        value: str = "",
        *,
        mapping: Mapping[str, object] | None = None,
    ) -> None:
        fields = mapping or {field: value}
        await self._ask(
            f"write {key}",
            lambda: self._of(key).meta.update(
                {name: str(each).encode() for name, each in fields.items()}
            ),
        )

    async def exists(self, key: str) -> bool:
        return bool(await self._ask("exists", lambda: self._of(key).last > BEGINNING))

    async def xinfo_stream(self, key: str) -> dict[str, bytes]:
        end: OutboxId = await self._ask("xinfo", lambda: self._of(key).last)
        return {"last-generated-id": str(end).encode()}

    async def xrevrange(self, key: str, *, count: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
        found: list[tuple[bytes, dict[bytes, bytes]]] = await self._ask(
            "newest",
            lambda: [
                (str(entry.id).encode(), {b"e": entry.event})
                for entry in self._of(key).entries[-count:]
            ],
        )
        return found

    def register_script(self, text: str) -> "Callable[..., Any]":
        return self._restore_item if text == _RESTORE_ITEM else self._move_outbox

    def pipeline(self, *, transaction: bool) -> "_Pipeline":
        assert not transaction
        return _Pipeline(self)

    async def _restore_item(self, *, keys: list[str], args: list[Any], client: "_Pipeline") -> None:
        partition, item_id = split_item_key(keys[0])
        seq = int(args[0])

        def write() -> int:
            seqs = self._redis.partitions[partition].seqs
            if seq <= seqs.get(item_id, 0):
                return 0
            seqs[item_id] = seq
            return 1

        client.commands.append(write)

    async def _move_outbox(self, *, keys: list[str], args: list[str]) -> None:
        def write() -> None:
            partition = self._of(keys[0])
            partition.last = max(partition.last, OutboxId.parse(args[0]))

        await self._ask(f"move {keys[0]} to {args[0]}", write)

    async def run_all(self, commands: list[Callable[[], int]]) -> list[int]:
        done: list[int] = await self._ask("put back", lambda: [each() for each in commands])
        return done

    def _of(self, key: str) -> Partition:
        return self._redis.partitions[key.partition("}")[0][1:]]

    async def _ask(self, name: str, effect: Callable[[], Any]) -> Any:  # noqa: ANN401 - a reply
        return await self._world.call(
            self._caller, Place.REDIS, name, effect, failure=RedisConnectionError, quick=True
        )


class _Pipeline:
    def __init__(self, client: ModelRedisClient) -> None:
        self._client = client
        self.commands: list[Callable[[], int]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def execute(self) -> list[int]:
        return await self._client.run_all(self.commands)


class ReadingLink:
    """Stands for a NatsLink: a context of JetStream that reads what the stream holds."""

    up_since = 0.0

    def __init__(self, world: World, stream: JetStream, caller: str) -> None:
        self._world = world
        self._stream = stream
        self._caller = caller

    @property
    def connected(self) -> bool:
        return Place.NATS not in self._world.away

    @property
    def jetstream(self) -> "ReadingLink":
        return self

    async def stream_info(self, _: str) -> SimpleNamespace:
        def look() -> SimpleNamespace:
            if not self._stream.exists:
                raise NotFoundError
            first = min((each.sequence for each in self._stream.messages), default=1)
            state = SimpleNamespace(first_seq=first, last_seq=self._stream.sequence)
            system = self._stream.system
            metadata = {IN_METADATA: system} if system else None
            return SimpleNamespace(state=state, config=StreamConfig(metadata=metadata))

        answer: SimpleNamespace = await self._ask("stream info", look)
        return answer

    async def update_stream(self, config: StreamConfig) -> None:
        def write() -> None:
            self._stream.system = system_of(config)

        await self._ask("name the stream", write)

    async def get_last_msg(self, _: str, subject: str) -> RawStreamMsg:
        return await self._message("last message", lambda: self._of(subject)[-1:])

    async def get_msg(
        self,
        _: str,
        sequence: int,
        subject: str,
        *,
        next: bool,  # noqa: A002 - as nats-py's
    ) -> RawStreamMsg:
        assert next
        return await self._message(
            f"message from {sequence}",
            lambda: [each for each in self._of(subject) if each.sequence >= sequence][:1],
        )

    def _of(self, subject: str) -> list[Stored]:
        return [each for each in self._stream.messages if events_subject(each.partition) == subject]

    async def _message(self, name: str, find: Callable[[], list[Stored]]) -> RawStreamMsg:
        def look() -> RawStreamMsg:
            for stored in find():
                return RawStreamMsg(
                    subject=events_subject(stored.partition), seq=stored.sequence, data=stored.data
                )
            raise NotFoundError

        answer: RawStreamMsg = await self._ask(name, look)
        return answer

    async def _ask(self, name: str, effect: Callable[[], Any]) -> Any:  # noqa: ANN401 - the answer
        return await self._world.call(
            self._caller,
            Place.NATS,
            name,
            effect,
            failure=nats.errors.ConnectionClosedError,
            quick=True,
        )
