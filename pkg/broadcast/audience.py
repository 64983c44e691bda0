"""Who watches what. An item's first viewer opens its channel, its last one closes it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pkg.auction.item import partition_of
from pkg.broadcast import frames
from pkg.broadcast.channel import Channel, Shared
from pkg.broadcast.feeds import Feeds


class AudienceFullError(Exception):
    """There are MAX_VIEWERS already. The viewer was not connected."""


class ItemUnreadableError(Exception):
    """The item cannot be read from Redis. The viewer was not connected."""


class Audience:
    def __init__(
        self,
        channels: dict[str, Channel],
        shared: Shared,
        feeds: Feeds,
        *,
        partitions: int,
        max_viewers: int,
    ) -> None:
        self._channels = channels
        self._shared = shared
        self._feeds = feeds
        self._partitions = partitions
        self._max_viewers = max_viewers
        self._counts = shared.counts
        self._users = 0

    def subscribers(self, item_id: str) -> int:
        channel = self._channels.get(item_id)
        return len(channel.viewers) if channel else 0

    @asynccontextmanager
    async def channel(self, item_id: str) -> AsyncIterator[Channel]:
        """The item's channel, open and read, for as long as the block lasts.

        Raises:
            AudienceFullError: there is no room for one more.
            ItemUnreadableError: Redis is down, and the item was not read before.
        """
        if self._users >= self._max_viewers:
            self._counts.viewers_refused_full += 1
            raise AudienceFullError
        channel = self._channels.get(item_id)
        if channel is None:
            channel = Channel(item_id, partition_of(item_id, self._partitions), self._shared)
            self._channels[item_id] = channel
            self._feeds.of(channel.partition).channels[item_id] = channel
        self._users += 1
        channel.users += 1
        try:
            await self._open(channel)
            yield channel
        finally:
            self._users -= 1
            channel.users -= 1
            if channel.users == 0:
                self._drop(channel)

    async def _open(self, channel: Channel) -> None:
        """Subscribes before it reads, so that no event falls in between."""
        if not channel.opened.done():
            feed = self._feeds.of(channel.partition)
            if await feed.attach():
                # Until now, those who were here already may have missed events.
                for other in feed.channels.values():
                    if other is not channel:
                        self._shared.reads.ask(other)
            self._shared.reads.ask(channel)
            # Shielded: a viewer that gives up must not cancel the others' answer.
            await asyncio.shield(channel.opened)
        if not channel.opened.result():
            self._counts.viewers_refused_redis += 1
            # The next viewer tries again.
            self._drop(channel)
            raise ItemUnreadableError

    def _drop(self, channel: Channel) -> None:
        if self._channels.get(channel.item_id) is channel:
            del self._channels[channel.item_id]
            self._feeds.of(channel.partition).channels.pop(channel.item_id, None)
            channel.close()

    def close(self) -> None:
        """Closes all viewers with 1001, going away."""
        for channel in tuple(self._channels.values()):
            for viewer in tuple(channel.viewers):
                viewer.close(frames.GOING_AWAY)
