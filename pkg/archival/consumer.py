"""The archive's consumer: defined here only, and created by any worker that finds it missing."""

from datetime import datetime

from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy
from nats.js.errors import NotFoundError

from pkg.auction.subjects import ARCHIVE_CONSUMER, STREAM
from pkg.runtime import logs

MAX_ACK_PENDING = 50_000
"""Most of these would be messages that wait for a newer worker: see ``stops``. At this limit NATS
delivers nothing more; a worker by itself holds one pull."""
ACK_WAIT_S = 5.0
"""Time after which the messages of a worker that died are redelivered. Does not limit a
transaction: a living worker says in time that its messages are in progress."""
UNLIMITED = -1

log = logs.get("consumer")


def consumer_config() -> ConsumerConfig:
    return ConsumerConfig(
        durable_name=ARCHIVE_CONSUMER,
        description="bids on their way to PostgreSQL",
        deliver_policy=DeliverPolicy.ALL,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ACK_WAIT_S,
        max_deliver=UNLIMITED,
        max_ack_pending=MAX_ACK_PENDING,
    )


async def ensure_consumer(jetstream: JetStreamContext, config: ConsumerConfig) -> datetime:
    """Creates the consumer or updates it if it differs; returns its time of creation.

    Raises:
        nats.errors.Error: NATS is away, or has no stream.
    """
    found: ConsumerInfo | None
    try:
        found = await jetstream.consumer_info(STREAM, ARCHIVE_CONSUMER)
    except NotFoundError:
        found = None
    if found is None or any(
        getattr(found.config, name) != getattr(config, name)
        for name in ("ack_wait", "max_deliver", "max_ack_pending")
    ):
        made = found is None
        found = await jetstream.add_consumer(STREAM, config)
        log.info("consumer made" if made else "consumer updated", consumer=ARCHIVE_CONSUMER)
    return found.created
