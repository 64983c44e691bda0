"""Polls NATS for the number of messages that the archive has yet to get."""

import asyncio

import nats.errors

from pkg.archival.metrics import ArchiveMetrics
from pkg.auction.subjects import ARCHIVE_CONSUMER, STREAM
from pkg.runtime.nats_link import NatsLink

EVERY_S = 2.0


async def watch_backlog(link: NatsLink, metrics: ArchiveMetrics) -> None:
    """Runs until cancelled. Without an answer from NATS the backlog is unknown."""
    while True:
        pending: int | None = None
        if link.connected:
            try:
                pending = (await link.jetstream.consumer_info(STREAM, ARCHIVE_CONSUMER)).num_pending
            except (nats.errors.Error, TimeoutError):
                pending = None
        metrics.backlog(pending)
        await asyncio.sleep(EVERY_S)
