"""Builds the broadcaster from its parts, and closes them."""

import asyncio
import socket
from contextlib import AsyncExitStack
from functools import partial

from aiohttp import web

from pkg.broadcast import routes
from pkg.broadcast.archived_reads import ArchivedReads
from pkg.broadcast.audience import Audience
from pkg.broadcast.channel import Channel, Shared
from pkg.broadcast.fan_outs import FanOuts
from pkg.broadcast.feeds import Feeds
from pkg.broadcast.laggards import Laggards
from pkg.broadcast.metrics import Counts
from pkg.broadcast.repairs import Repairs
from pkg.broadcast.sequencer import Patience
from pkg.broadcast.settings import BroadcastSettings
from pkg.runtime import descriptors
from pkg.runtime import readiness as pages
from pkg.runtime.background import Background
from pkg.runtime.emf import emf
from pkg.runtime.http_server import serving_app
from pkg.runtime.metrics import registry_of
from pkg.runtime.nats_link import nats_link
from pkg.runtime.origins import Origins
from pkg.runtime.readiness import Readiness
from pkg.runtime.service_process import EXIT_FAILED, EXIT_OK
from pkg.runtime.serving import Listener, admin, bind, serve_until
from pkg.stores.archived_items import asking
from pkg.stores.departures import FINDS_DEPARTED
from pkg.stores.redis_client import redis_client
from pkg.stores.stream import ensure_stream, stream_config

BROADCAST = "broadcast-service"
RECEIVE_BYTES = 8 * 1024  # room for a request's head, or the largest message a viewer may send


async def serve(settings: BroadcastSettings, stop: asyncio.Event) -> int:
    descriptors.warn_if_short(settings.max_viewers, setting="MAX_VIEWERS")
    readiness = Readiness(BROADCAST)
    counts = Counts()
    channels: dict[str, Channel] = {}
    counts.watched_items = channels.__len__
    registry = registry_of(counts)
    listening = bind(settings.server_addr)
    # Connections inherit both. The default lets a viewer that does not read hold megabytes, and one
    # that floods us hand over thousands of messages at once.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, settings.viewer_socket_bytes)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(
            redis_client(
                settings.redis_target,
                timeout_s=settings.redis_timeout_s,
                name=BROADCAST + FINDS_DEPARTED,
            )
        )
        link = await stack.enter_async_context(nats_link(settings, name=BROADCAST))
        archived = ArchivedReads(await stack.enter_async_context(asking(link)))
        counts.lookups_failed = lambda: archived.failed
        repairs = Repairs(
            redis,
            partitions=settings.partitions,
            repair_s=settings.repair_s,
            watched=channels.values,
            archived=archived,
            counts=counts,
        )
        fan_outs = FanOuts()
        laggards = Laggards(slow_viewer_s=settings.slow_viewer_s, counts=counts)
        feeds = Feeds(
            link,
            repairs,
            counts,
            make_stream=partial(ensure_stream, link.jetstream, stream_config(settings)),
        )
        audience = Audience(
            channels,
            Shared(
                reads=repairs,
                fan_outs=fan_outs,
                laggards=laggards,
                counts=counts,
                patience=Patience(gap_wait_s=settings.gap_wait_s, confirm_s=settings.repair_s / 2),
                conflate_s=settings.conflate_s,
            ),
            feeds,
            partitions=settings.partitions,
            max_viewers=settings.max_viewers,
        )
        background = await stack.enter_async_context(Background(stop))
        background.start(fan_outs.run(), name="fan_outs")
        background.start(laggards.run(), name="laggards")
        background.start(repairs.run(), name="repairs")
        background.start(archived.run(), name="archived-reads")
        background.start(feeds.run(), name="feeds")
        background.start(feeds.keep_attached(), name="subscriptions")
        readiness.watch("redis", repairs.probe)
        readiness.watch("nats", link.probe)
        readiness.watch("background", background.probe)
        await stack.enter_async_context(emf(settings, registry, service=BROADCAST))
        await stack.enter_async_context(admin(settings, readiness, registry))
        app = web.Application(middlewares=[routes.errors_as_json])
        app[routes.AUDIENCE] = audience
        app[routes.READINESS] = readiness
        app[routes.SETTINGS] = settings
        app[routes.COUNTS] = counts
        app[routes.ORIGINS] = Origins(settings.allowed_origins)
        app.add_routes([*routes.ROUTES, *pages.routes(readiness, registry)])
        app.on_response_prepare.append(routes.close_while_draining)
        server = await stack.enter_async_context(serving_app(app))
        await serve_until(
            stop, Listener(listening, server, readiness), settings, before_drain=audience.close
        )
    return EXIT_FAILED if background.died else EXIT_OK
