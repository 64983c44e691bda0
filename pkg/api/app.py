"""Assembles the gateway and the relay, starts them and stops them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from pkg.api.bidding.bid_link import BidSession, bid_link
from pkg.api.bidding.gateway import Gateway
from pkg.api.bidding.ledger import Items, Ledger, LuaLedger
from pkg.api.bidding.optimistic import OptimisticLedger, RoundLink
from pkg.api.bidding.prices import PriceCounts
from pkg.api.bidding.refusals import Refusals
from pkg.api.bidding.returning import Returning
from pkg.api.bidding.witness import Witness
from pkg.api.metrics import GatewayMetrics
from pkg.api.redis.connection import RedisConnection
from pkg.api.redis.link import RedisLink
from pkg.api.relay.event_stream import JetStreamEvents
from pkg.api.relay.idle_items import IdleCounts, IdleItems
from pkg.api.relay.item_walk import WALK_EVERY_S, ItemCounts, ItemWalk
from pkg.api.relay.lease import Lease
from pkg.api.relay.metrics import RelayMetrics
from pkg.api.relay.outbox import Outbox, relay_link
from pkg.api.relay.recovery import Recovery
from pkg.api.relay.recovery_counts import RecoveryCounts
from pkg.api.relay.relay import BLOCK_MS, Relay
from pkg.api.settings import ApiSettings, RelaySettings
from pkg.auction.bid import Strategy
from pkg.auction.events import UndecodableError, decode_archive_state, decode_watermark
from pkg.auction.item import partition_names
from pkg.auction.subjects import NO_PARTITION, archived_subject
from pkg.runtime import descriptors, logs
from pkg.runtime.background import Background, restarting
from pkg.runtime.emf import emf
from pkg.runtime.metrics import registry_of
from pkg.runtime.nats_link import NatsLink, nats_link
from pkg.runtime.origins import Origins
from pkg.runtime.readiness import Readiness
from pkg.runtime.service_process import EXIT_FAILED, EXIT_OK
from pkg.runtime.serving import Listener, admin, bind, serve_until
from pkg.stores.archived_items import ArchivedItems, asking
from pkg.stores.departures import Departures
from pkg.stores.redis_client import redis_client
from pkg.stores.stream import stream_config

GATEWAY = "api-gateway"
RELAY = "relay"

log = logs.get("app")


@dataclass(frozen=True)
class Ledgers:
    """Both strategies, and the links they run on: none for rounds if these cannot be chosen."""

    lua: LuaLedger
    optimistic: OptimisticLedger
    items: Items
    bids: RedisLink[BidSession]
    rounds: list[RedisLink[BidSession]]
    prices: PriceCounts
    refusals: Refusals

    @property
    def links(self) -> list[RedisLink[BidSession]]:
        return [self.bids, *self.rounds]

    def of(self, strategy: Strategy) -> Ledger:
        return self.lua if strategy is Strategy.LUA else self.optimistic


def ledgers(settings: ApiSettings) -> Ledgers:
    """Made but not connected: whoever calls this runs the links."""
    prices, refusals = PriceCounts(), Refusals()

    def link(name: str, *, quiet: bool = False) -> RedisLink[BidSession]:
        return bid_link(
            settings.redis_target,
            name=name,
            timeout_s=settings.redis_timeout_s,
            queue_max=settings.redis_queue_max,
            partitions=settings.partitions,
            outbox_max_entries=settings.outbox_max_entries,
            items_max=settings.items_max,
            price_cache_items=settings.price_cache_items,
            price_counts=prices,
            min_replicas=settings.redis_min_replicas,
            quiet=quiet,
        )

    bids = link("bids")
    choosable = Strategy.OPTIMISTIC in settings.strategies
    connections = settings.optimistic_connections if choosable else 0
    rounds = [link(f"rounds-{number}", quiet=True) for number in range(connections)]
    return Ledgers(
        lua=LuaLedger(
            bids,
            partitions=settings.partitions,
            outbox_max_entries=settings.outbox_max_entries,
            items_max=settings.items_max,
            refusals=refusals,
        ),
        optimistic=OptimisticLedger(
            [RoundLink(each, queue_max=settings.optimistic_queue_max) for each in rounds],
            partitions=settings.partitions,
            outbox_max_entries=settings.outbox_max_entries,
            items_max=settings.items_max,
            tries=settings.optimistic_tries,
            refusals=refusals,
        ),
        items=Items(bids, partitions=settings.partitions),
        bids=bids,
        rounds=rounds,
        prices=prices,
        refusals=refusals,
    )


def relay_links(
    settings: RelaySettings,
) -> tuple[RedisLink[RedisConnection], RedisLink[RedisConnection]]:
    """One for blocking reads, one for everything else."""

    def link(name: str, timeout_s: float) -> RedisLink[RedisConnection]:
        return relay_link(
            settings.redis_target,
            name=name,
            timeout_s=timeout_s,
            holds=partition_names(settings.partitions),
            partitions=settings.partitions,
        )

    timeout_s = settings.redis_timeout_s
    return link("relay-read", timeout_s + BLOCK_MS / 1000), link("relay", timeout_s)


@asynccontextmanager
async def relaying(
    settings: RelaySettings,
    background: Background,
    nats: NatsLink,
    archive: ArchivedItems,
    readiness: Readiness,
) -> AsyncIterator[RelayMetrics]:
    """Runs the relay inside the context. It works only while this process holds the lease."""
    reading, asking = relay_links(settings)
    names = partition_names(settings.partitions)  # one server holds them all
    outbox = Outbox(reading, asking, partitions=names)
    if readiness.service == RELAY:
        readiness.watch("redis", asking.probe)
    async with redis_client(
        settings.redis_target, timeout_s=settings.redis_timeout_s, name="relay-lease"
    ) as redis:
        lease = Lease(redis)
        stream = JetStreamEvents(nats, stream_config(settings), keep_s=settings.stream_keep_s)
        recovery = RecoveryCounts()
        readiness.watch(
            "recovery",
            recovery.probe,
            required=False,
        )
        items, idle = ItemCounts(), IdleCounts()
        metrics = RelayMetrics(
            holds_lease=lambda: lease.held, recovery=recovery, items=items, idle=idle
        )
        walk = ItemWalk(
            redis,
            lease,
            partitions=settings.partitions,
            counts=items,
            idle=IdleItems(
                redis,
                Departures(redis, partitions=settings.partitions),
                archive,
                partitions=settings.partitions,
                idle_s=settings.item_idle_s,
                counts=idle,
            )
            if settings.item_idle_s
            else None,
            every_s=min(WALK_EVERY_S, max(1.0, settings.item_idle_s / 10))
            if settings.item_idle_s
            else WALK_EVERY_S,
        )
        relay = Relay(
            outbox,
            stream,
            lease,
            linger_max_ms=settings.relay_linger_max_ms,
            outbox_max_entries=settings.outbox_max_entries,
            resend_after_s=settings.resend_after_s,
            recovery=Recovery(
                redis,
                nats,
                stream,
                names=names,
                partitions=settings.partitions,
                wait_s=settings.recovery_wait_s,
                hearing_s=settings.archive_hearing_s,
                counts=recovery,
            ),
            metrics=metrics,
        )
        nats.on_connect(relay.resync)

        async def failed(in_a_row: int) -> None:
            metrics.restarts += 1
            relay.resync()
            if in_a_row > 1:
                await lease.stand_aside()  # another process may fare better

        async with Background(background.stop) as own:
            own.start(reading.run(), name="relay-read-link")
            own.start(asking.run(), name="relay-link")
            own.start(lease.keep(), name="relay-lease")
            own.start(metrics.watch(outbox), name="outbox-watch")
            own.start(walk.watch(), name="items-watch")
            own.start(walk.run(), name="item-walk")
            own.start(_hear_archive(nats, relay), name="archive-watermarks")
            own.start(restarting(relay.run, name="relay", failed=failed), name="relay")
            background.adopt(own)
            yield metrics


async def _hear_archive(nats: NatsLink, relay: Relay) -> None:
    """Passes announced watermarks to the relay. nats-py resubscribes by itself after an outage."""

    async def announced(message: Msg) -> None:
        with suppress(UndecodableError):  # anything else on the subject moves no watermark
            if message.subject == archived_subject(NO_PARTITION):
                relay.archive_says(decode_archive_state(message.data))
            else:
                relay.archive_has(*decode_watermark(message.data))

    while True:
        await nats.wait_connected()
        with suppress(NatsError):
            await nats.client.subscribe(archived_subject("*"), cb=announced)
            await asyncio.Event().wait()


async def serve(settings: ApiSettings, stop: asyncio.Event) -> int:
    """Runs the gateway, and the relay unless RELAY_ENABLED is false."""
    descriptors.warn_if_short(settings.max_connections, setting="MAX_CONNECTIONS")
    readiness = Readiness(GATEWAY)
    made = ledgers(settings)
    metrics = GatewayMetrics(
        prices=made.prices,
        rounds=made.optimistic.counts,
        in_flight=lambda: made.bids.waiting + made.optimistic.waiting,
        connects=lambda: made.bids.connects,
        redis_refusals=made.refusals.by_word,
    )
    listening = bind(settings.server_addr)
    async with AsyncExitStack() as stack:
        background = await stack.enter_async_context(Background(stop))
        for link in made.links:
            background.start(link.run(), name="bids-link" if link is made.bids else "rounds-link")
        readiness.watch(
            "redis", lambda: next(filter(None, (link.probe() for link in made.links)), None)
        )
        readiness.watch("bids", made.refusals.probe, required=False)
        background.start(made.refusals.run(lambda: metrics.accepted), name="bids-refusals")
        readiness.watch("background", background.probe)
        witness = Witness(
            await stack.enter_async_context(
                redis_client(
                    settings.redis_target, timeout_s=settings.redis_timeout_s, name="witness"
                )
            ),
            partitions=settings.partitions,
            most=settings.witnessed_bids,
        )
        metrics.witness = lambda: (witness.forgotten, witness.dropped)
        telling = await stack.enter_async_context(Background(stop))
        telling.start(witness.run(), name="witness")
        background.adopt(telling)
        registry = registry_of(metrics)
        nats = await stack.enter_async_context(nats_link(settings, name=GATEWAY))
        readiness.watch("nats", nats.probe, required=False)
        archive = await stack.enter_async_context(asking(nats))
        returning = Returning(
            made.bids,
            archive,
            partitions=settings.partitions,
            items_max=settings.items_max,
            refusals=made.refusals,
        )
        metrics.returning = lambda: (returning.returned, archive.failed)
        if settings.relay_enabled:
            relay_metrics = await stack.enter_async_context(
                relaying(settings, background, nats, archive, readiness)
            )
            registry = registry_of(metrics, relay_metrics)
        gateway = Gateway(
            ledgers={strategy: made.of(strategy) for strategy in settings.strategies},
            strategy=Strategy(settings.bid_strategy),
            strategy_override=settings.bid_strategy_override,
            items=made.items,
            metrics=metrics,
            readiness=readiness,
            registry=registry,
            connections_max=settings.max_connections,
            origins=Origins(settings.allowed_origins),
            witness=witness,
            returning=returning,
        )
        await stack.enter_async_context(emf(settings, registry, service=GATEWAY))
        await stack.enter_async_context(admin(settings, readiness, registry))
        await serve_until(stop, Listener(listening, gateway.server(), readiness), settings)
    return EXIT_FAILED if background.died else EXIT_OK


async def relay_alone(settings: RelaySettings, stop: asyncio.Event) -> int:
    """``python -m pkg.api relay``: the relay alone, with an admin listener on ADMIN_ADDR."""
    readiness = Readiness(RELAY)
    async with AsyncExitStack() as stack:
        background = await stack.enter_async_context(Background(stop))
        nats = await stack.enter_async_context(nats_link(settings, name=RELAY))
        archive = await stack.enter_async_context(asking(nats))
        metrics = await stack.enter_async_context(
            relaying(settings, background, nats, archive, readiness)
        )
        readiness.watch("nats", nats.probe)
        readiness.watch("background", background.probe)
        registry = registry_of(metrics)
        await stack.enter_async_context(emf(settings, registry, service=RELAY))
        await stack.enter_async_context(admin(settings, readiness, registry))
        await stop.wait()
        readiness.draining = True
    return EXIT_FAILED if background.died else EXIT_OK
