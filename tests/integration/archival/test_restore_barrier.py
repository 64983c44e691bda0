"""Where restore's barrier lets the relay resume."""

from contextlib import aclosing

import pytest

from pkg.archival.restore.rebuilding import begin_epoch
from pkg.auction.events import encode_batch
from pkg.auction.item import partition_names
from pkg.auction.keys import meta_key, outbox_key
from pkg.auction.outbox import BEGINNING, OutboxId
from pkg.auction.subjects import events_subject
from pkg.devkit.nats_users import RESTORE
from pkg.runtime.nats_link import nats_link
from pkg.runtime.settings.sections import NatsSettings
from pkg.stores.barrier import read_tail
from pkg.stores.redis_client import redis_client
from pkg.stores.redis_meta import EPOCH
from tests.integration.archival.auction import PARTITIONS, publish
from tests.integration.providers import Stores

P = partition_names(PARTITIONS)[0]
OURS, THEIRS = 10, 20
STREAM_END, IN_ARCHIVE = OutboxId(200, 0), OutboxId(300, 0)


@pytest.mark.parametrize(
    ("stream_is_of", "holds_entries", "resumes_after"),
    [
        (THEIRS, True, BEGINNING),
        (THEIRS, False, IN_ARCHIVE),
        (OURS, True, IN_ARCHIVE),
    ],
)
async def test_entries_before_the_end_of_another_history_are_still_relayed(
    stores: Stores, stream_is_of: int, resumes_after: OutboxId, *, holds_entries: bool
) -> None:
    event = b'{"event_id":"theirs"}'
    batch = encode_batch(P, prev=BEGINNING, last=STREAM_END, events=[event], epoch=stream_is_of)
    await publish(stores.nats_url, (events_subject(P), batch))
    redis = redis_client(stores.redis_url, timeout_s=2, name="test")
    async with (
        aclosing(redis),
        nats_link(NatsSettings(**stores.nats_of(RESTORE)), name="test") as link,
    ):
        await link.wait_connected()
        await redis.hset(meta_key(P), EPOCH, OURS)
        if holds_entries:
            await redis.xadd(outbox_key(P), {"e": "ours"}, id="100-0")

        assert await begin_epoch(redis, link.jetstream, P, highest=IN_ARCHIVE) == IN_ARCHIVE

        tail = await read_tail(link.jetstream, P)
        assert tail.last == resumes_after
        assert tail.epoch > stream_is_of
