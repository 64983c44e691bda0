"""Builds the worker from its settings and runs it."""

import asyncio
from datetime import datetime

import asyncpg

from pkg.archival.announcer import Announcer
from pkg.archival.asked_items import AskedItems
from pkg.archival.backlog import watch_backlog
from pkg.archival.belonging import Belonging
from pkg.archival.consumer import consumer_config, ensure_consumer
from pkg.archival.deliveries import Deliveries
from pkg.archival.intake import Reader
from pkg.archival.metrics import ArchiveMetrics
from pkg.archival.schema import SchemaTooNewError, migrate
from pkg.archival.settings import ArchivalSettings
from pkg.archival.stops import Stops
from pkg.archival.store import Connection, Store
from pkg.archival.worker import Worker
from pkg.runtime import logs
from pkg.runtime.background import ended
from pkg.runtime.emf import emf
from pkg.runtime.metrics import registry_of
from pkg.runtime.nats_link import NatsLink, nats_link
from pkg.runtime.readiness import Readiness
from pkg.runtime.service_process import EXIT_BAD_SETTINGS, EXIT_FAILED, EXIT_OK
from pkg.runtime.serving import admin
from pkg.stores.stream import ensure_stream, stream_config

SERVICE = "archival-worker"
FOR_WORK = 0.6  # share of the shutdown time-out; the rest is for giving back messages and closing

log = logs.get("app")


async def run_worker(
    settings: ArchivalSettings, stop: asyncio.Event, *, reader: Reader | None = None
) -> int:
    """Runs until stopped; returns the exit code. A test gives the next release's ``reader``."""
    refusal, code = None, EXIT_OK
    try:
        async with nats_link(settings, name=SERVICE) as link:
            await _work(settings, stop, link, reader or Reader())
    except* SchemaTooNewError as errors:
        refusal, code = str(errors.exceptions[0]), EXIT_FAILED
    except* asyncpg.ClientConfigurationError as errors:
        refusal, code = f"POSTGRES_URL: {errors.exceptions[0]}", EXIT_BAD_SETTINGS
    if refusal is not None:
        log.critical("refused to start", why=refusal)
        return code
    return EXIT_OK


async def _work(
    settings: ArchivalSettings, stop: asyncio.Event, link: NatsLink, reader: Reader
) -> None:
    async def prepare(connection: Connection) -> None:
        await migrate(connection)
        await announcer.load(connection)

    async def stream_system() -> str | None:
        return await ensure_stream(link.jetstream, stream_config(settings))

    async def ensure() -> datetime:
        await belonging.check()
        return await ensure_consumer(link.jetstream, consumer_config())

    store = Store(
        settings.postgres_target,
        tls=settings.postgres_tls,
        statement_timeout_s=settings.statement_timeout_s,
        prepare=prepare,
        stop=stop,
    )

    async def leave_as_is(_: Connection) -> None:
        """The worker's own connection migrates."""

    looking_up = Store(
        settings.postgres_target,
        tls=settings.postgres_tls,
        statement_timeout_s=settings.statement_timeout_s,
        prepare=leave_as_is,
        stop=stop,
    )
    belonging = Belonging(store, stream_system)
    asked = AskedItems(link, looking_up, may_answer=lambda: belonging.checked)
    link.on_connect(belonging.forget)
    announcer = Announcer(link, may_announce=lambda: belonging.checked)
    deliveries = Deliveries(link, ensure, batch=settings.archive_batch_messages)
    stops = Stops()
    metrics = ArchiveMetrics(
        store=store,
        deliveries=deliveries,
        announcer=announcer,
        stops=stops,
        belonging=belonging,
        asked=lambda: (asked.asked, asked.failed),
    )
    worker = Worker(
        deliveries,
        store,
        announcer,
        metrics,
        stops,
        reader=reader,
        stop=stop,
        belonging=belonging,
        batch_events=settings.archive_batch_events,
        batch_messages=settings.archive_batch_messages,
        linger_s=settings.archive_linger_ms / 1000,
    )
    readiness = Readiness(SERVICE)
    readiness.watch("postgres", store.probe)
    readiness.watch("nats", link.probe)
    readiness.watch("consumer", deliveries.probe)
    readiness.watch("system", belonging.probe)
    # A stopped partition does not make a worker unready: it archives the others.
    readiness.watch("partitions", stops.probe, required=False)
    registry = registry_of(metrics)
    async with emf(settings, registry, service=SERVICE), admin(settings, readiness, registry):
        try:
            # If one fails, the others are cancelled and the process exits with 1.
            async with asyncio.TaskGroup() as group:
                working = group.create_task(worker.run(), name="worker")
                background = [
                    group.create_task(deliveries.keep_in_progress(), name="in-progress"),
                    group.create_task(announcer.run(), name="announcer"),
                    group.create_task(watch_backlog(link, metrics), name="backlog"),
                    group.create_task(asked.hear(), name="asked-items"),
                    group.create_task(asked.answer(), name="answers"),
                ]
                readiness.watch("worker", lambda: "ended" if working.done() else None)
                try:
                    await stop.wait()
                    readiness.draining = True
                    log.info("draining")
                    deliveries.end_waiting()
                    await asyncio.wait({working}, timeout=settings.shutdown_timeout_s * FOR_WORK)
                finally:  # the group itself cancels once
                    for task in (working, *background):
                        await ended(task)
        finally:
            await deliveries.close()
            await store.close()
            await looking_up.close()
    log.info("drained")
