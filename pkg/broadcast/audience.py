"""Who watches what: channels are opened for the first viewer of an item, closed after the last."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pkg.auction.item import partition_of
from pkg.broadcast import frames
from pkg.broadcast.channel import Channel, Shared
from pkg.broadcast.feeds import Feeds


class AudienceFullError(Exception):
    """There are MAX_VIEWERS already. Nobody was let in."""


class ItemUnreadableError(Exception):
    """Redis is away, so nobody knows how the item stands. Nobody was let in."""


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
            ItemUnreadableError: Redis is away, and the item was not read before.
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
        """Subscribe first, then read: what happens in between is both read and received."""
        if not channel.opened.done():
            feed = self._feeds.of(channel.partition)
            if await feed.attach():
                # What came before was missed by those who were here already.
                for other in feed.channels.values():
                    if other is not channel:
                        self._shared.reads.ask(other)
            self._shared.reads.ask(channel)
            # Shielded: one who gives up must not take the others' answer with it.
            await asyncio.shield(channel.opened)
        if not channel.opened.result():
            self._counts.viewers_refused_redis += 1
            # Whoever comes next tries anew.
            self._drop(channel)
            raise ItemUnreadableError

    def _drop(self, channel: Channel) -> None:
        if self._channels.get(channel.item_id) is channel:
            del self._channels[channel.item_id]
            self._feeds.of(channel.partition).channels.pop(channel.item_id, None)
            channel.close()

    def close(self) -> None:
        """Tells all viewers that this process goes away."""
        for channel in tuple(self._channels.values()):
            for viewer in tuple(channel.viewers):
                viewer.close(frames.GOING_AWAY)
