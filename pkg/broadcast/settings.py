from dataclasses import dataclass

from pkg.runtime.settings.loading import setting
from pkg.runtime.settings.parsers import Address, address, seconds, whole
from pkg.runtime.settings.sections import (
    LogSettings,
    NatsSettings,
    OriginSettings,
    RedisSettings,
    ServingSettings,
)


@dataclass(frozen=True, kw_only=True)
class BroadcastSettings(LogSettings, ServingSettings, OriginSettings, RedisSettings, NatsSettings):
    server_addr: Address = setting(  # noqa: RUF009 - a field of a frozen value
        address, default=Address(port=8081), what="address that viewers connect to"
    )
    max_viewers: int = setting(
        whole(1, 1_000_000), default=19_000, what="maximum concurrent viewers; further ones get 503"
    )
    viewer_buffer_bytes: int = setting(
        whole(4096, 1 << 24),
        default=64 * 1024,
        what="bytes that may be buffered for a viewer before it counts as slow",
    )
    viewer_socket_bytes: int = setting(
        whole(4096, 1 << 24),
        default=256 * 1024,
        what="size of a viewer's send buffer in the kernel, in bytes (SO_SNDBUF)",
    )
    viewer_messages_per_s: int = setting(
        whole(1, 100_000),
        default=20,
        what="maximum messages a second from a viewer, pings included (five seconds' worth at "
        "once); then it is closed with 1008",
    )
    slow_viewer_s: float = setting(
        seconds(0.1, 600),
        default=10.0,
        what="seconds a slow viewer has to drain its buffer before it is closed",
    )
    ping_s: float = setting(
        seconds(0.2, 600),
        default=54.0,
        what="seconds without a message from a viewer before it is pinged",
    )
    conflate_ms: int = setting(
        whole(1, 60_000),
        default=100,
        what="minimum milliseconds between snapshots with mode=latest",
    )
    gap_wait_ms: int = setting(
        whole(1, 60_000),
        default=1000,
        what="milliseconds to wait for a missing event before a snapshot replaces it",
    )
    repair_s: float = setting(
        seconds(0.1, 600), default=5.0, what="seconds between reads of all watched items from Redis"
    )

    @property
    def conflate_s(self) -> float:
        return self.conflate_ms / 1000

    @property
    def gap_wait_s(self) -> float:
        return self.gap_wait_ms / 1000
