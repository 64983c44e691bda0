"""Puts the gateway and the relay together, and takes them apart again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from pkg.api.bidding.gateway import Gateway
from pkg.api.bidding.ledger import Items, LuaLedger
from pkg.api.bidding.optimistic import OptimisticLedger, RoundLink
from pkg.api.bidding.prices import PriceCounts
from pkg.api.bidding.witness import Witness
from pkg.api.metrics import GatewayMetrics
from pkg.api.redis.links import bid_link, relay_link
from pkg.api.relay.event_stream import JetStreamEvents
from pkg.api.relay.lease import Lease
from pkg.api.relay.metrics import RelayMetrics
from pkg.api.relay.outbox import Outbox
from pkg.api.relay.recovery import Recovery, RecoveryCounts
from pkg.api.relay.relay import BLOCK_MS, Relay
from pkg.api.settings import ApiSettings, RelaySettings
from pkg.auction.bid import Strategy
from pkg.auction.events import UndecodableError, decode_watermark
from pkg.auction.subjects import archived_subject
from pkg.runtime import logs
from pkg.runtime.background import Background
from pkg.runtime.emf import emf
from pkg.runtime.metrics import registry_of
from pkg.runtime.nats_link import NatsLink, nats_link
from pkg.runtime.process import EXIT_FAILED, EXIT_OK
from pkg.runtime.readiness import Readiness
from pkg.runtime.serving import Listener, admin, bind, serve_until
from pkg.stores.redis_meta import redis_client
from pkg.stores.stream import stream_config

GATEWAY = "api-gateway"
RELAY = "relay"

log = logs.get("app")


@asynccontextmanager
async def relaying(
    settings: RelaySettings, background: Background, nats: NatsLink, readiness: Readiness
) -> AsyncIterator[RelayMetrics]:
    """Relays while inside, when this process has the lease."""
    reading = relay_link(settings, "relay-read", patience_s=BLOCK_MS / 1000)
    asking = relay_link(settings, "relay")
    outbox = Outbox(reading, asking, partitions=settings.partitions)
    if readiness.service == RELAY:
        readiness.watch("redis", asking.probe)
    async with redis_client(
        settings.redis_target, timeout_s=settings.redis_timeout_s, name="relay-lease"
    ) as redis:
        lease = Lease(redis)
        stream = JetStreamEvents(nats, stream_config(settings))
        recovery = RecoveryCounts()
        readiness.watch(
            "recovery",
            lambda: "waits for restore" if recovery.waiting_for_restore else None,
            required=False,
        )
        metrics = RelayMetrics(holds_lease=lambda: lease.held, recovery=recovery)
        relay = Relay(
            outbox,
            stream,
            lease,
            linger_max_ms=settings.relay_linger_max_ms,
            retention_s=settings.outbox_retention_s,
            resend_after_s=settings.resend_after_s,
            recovery=Recovery(
                redis,
                nats,
                stream,
                partitions=settings.partitions,
                wait_s=settings.recovery_wait_s,
                hearing_s=settings.archive_hearing_s,
                counts=recovery,
            ),
            metrics=metrics,
        )
        nats.on_connect(relay.lose_step)
        async with Background(background.stop) as own:
            own.start(reading.run(), name="relay-read-link")
            own.start(asking.run(), name="relay-link")
            own.start(lease.keep(), name="relay-lease")
            own.start(metrics.watch(outbox), name="outbox-watch")
            own.start(_hear_archive(nats, relay), name="archive-watermarks")
            own.start(relay.run(), name="relay")
            background.adopt(own)
            yield metrics


async def _hear_archive(nats: NatsLink, relay: Relay) -> None:
    """Passes the archive's announcements on. The client resubscribes by itself after an outage."""

    async def announced(message: Msg) -> None:
        # What is no announcement moves no watermark.
        with suppress(UndecodableError):
            relay.archive_has(*decode_watermark(message.data))

    while True:
        await nats.wait_connected()
        with suppress(NatsError):
            await nats.client.subscribe(archived_subject("*"), cb=announced)
            await asyncio.Event().wait()


async def serve(settings: ApiSettings, stop: asyncio.Event) -> int:
    """The gateway, with the relay in it unless that is switched off."""
    readiness = Readiness(GATEWAY)
    prices = PriceCounts()
    hot = bid_link(settings, "bids", prices)
    rounds = [
        RoundLink(
            bid_link(settings, f"rounds-{number}", prices, one_of_many=True),
            queue_max=settings.optimistic_queue_max,
        )
        for number in range(settings.optimistic_connections)
    ]
    optimistic = OptimisticLedger(
        rounds,
        partitions=settings.partitions,
        outbox_max_entries=settings.outbox_max_entries,
        tries=settings.optimistic_tries,
    )
    metrics = GatewayMetrics(
        prices=prices,
        rounds=optimistic.counts,
        in_flight=lambda: hot.waiting + optimistic.waiting,
        connects=lambda: hot.connects,
    )
    listening = bind(settings.server_addr)
    async with AsyncExitStack() as stack:
        background = await stack.enter_async_context(Background(stop))
        background.start(hot.run(), name="bids-link")
        for each in rounds:
            background.start(each.link.run(), name="rounds-link")
        links = [hot, *(each.link for each in rounds)]
        readiness.watch("redis", lambda: next(filter(None, (link.probe() for link in links)), None))
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
        metrics.witness = lambda: (witness.forgotten, witness.untold)
        telling = await stack.enter_async_context(Background(stop))
        telling.start(witness.run(), name="witness")
        background.adopt(telling)
        registry = registry_of(metrics)
        if settings.relay_enabled:
            nats = await stack.enter_async_context(nats_link(settings, name=GATEWAY))
            readiness.watch("nats", nats.probe, required=False)
            relay_metrics = await stack.enter_async_context(
                relaying(settings, background, nats, readiness)
            )
            registry = registry_of(metrics, relay_metrics)
        gateway = Gateway(
            ledgers={
                Strategy.LUA: LuaLedger(
                    hot,
                    partitions=settings.partitions,
                    outbox_max_entries=settings.outbox_max_entries,
                ),
                Strategy.OPTIMISTIC: optimistic,
            },
            strategy=Strategy(settings.bid_strategy),
            strategy_override=settings.bid_strategy_override,
            items=Items(hot, partitions=settings.partitions),
            metrics=metrics,
            readiness=readiness,
            registry=registry,
            connections_max=settings.max_connections,
            witness=witness,
        )
        await stack.enter_async_context(emf(settings, registry, service=GATEWAY))
        await stack.enter_async_context(admin(settings, readiness, registry))
        await serve_until(stop, Listener(listening, gateway.server(), readiness), settings)
    return EXIT_FAILED if background.died else EXIT_OK


async def relay_alone(settings: RelaySettings, stop: asyncio.Event) -> int:
    """``python -m pkg.api relay``: only the relay, with an admin listener where ADMIN_ADDR says."""
    readiness = Readiness(RELAY)
    async with AsyncExitStack() as stack:
        background = await stack.enter_async_context(Background(stop))
        nats = await stack.enter_async_context(nats_link(settings, name=RELAY))
        metrics = await stack.enter_async_context(relaying(settings, background, nats, readiness))
        readiness.watch("nats", nats.probe)
        readiness.watch("background", background.probe)
        registry = registry_of(metrics)
        await stack.enter_async_context(emf(settings, registry, service=RELAY))
        await stack.enter_async_context(admin(settings, readiness, registry))
        await stop.wait()
        readiness.draining = True
    return EXIT_FAILED if background.died else EXIT_OK
