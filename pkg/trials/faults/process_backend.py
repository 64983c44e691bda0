"""The bench on processes: one set of stores for the whole run, new services for each row."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from pkg.trials.crowd.ledger import Ledger
from pkg.trials.crowd.pace import BASE, SHORTENED
from pkg.trials.crowd.viewers import Viewers
from pkg.trials.faults.proxy import Proxy
from pkg.trials.faults.row import Row
from pkg.trials.faults.second import Second
from pkg.trials.faults.services import Services
from pkg.trials.faults.stores import Stores, stores
from pkg.trials.faults.trial import Trial


class ProcessBackend:
    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    @contextlib.asynccontextmanager
    async def trial(self, row: Row, *, short: bool, logs: Path | None) -> AsyncIterator[Trial]:
        """When the block ends, only the stores keep running."""
        await self._stores.renew()
        settings = {**BASE, **row.settings}
        if short:
            settings |= SHORTENED | dict(row.short_settings)
        async with contextlib.AsyncExitStack() as stack:
            proxies: dict[str, Proxy] = {}
            if row.proxied:
                for store in self._stores.all:
                    proxies[store.name] = await stack.enter_async_context(Proxy(store.port))
            ports = {name: proxy.port for name, proxy in proxies.items()}
            if logs is None:
                temporary = tempfile.TemporaryDirectory(prefix="bidkit-faults-")
                folder = Path(stack.enter_context(temporary))
            else:
                folder = logs / row.name
                await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
            services = Services(
                {**settings, **self._stores.environment(ports)}, self._stores.nats_user, folder
            )
            stack.callback(services.abandon)
            environment = {**settings, **self._stores.environment()}
            second = Second(self._stores, services, environment=environment)
            stack.callback(second.abandon)
            await services.start(archivers=row.archivers, clock_off_s=row.clock_off_s)
            yield Trial(
                stores=self._stores,
                services=services,
                ledger=Ledger(),
                viewers=Viewers(services.broadcast_port),
                short=short,
                proxies=proxies,
                environment=environment,
                second=second,
            )


@contextlib.asynccontextmanager
async def process_backend() -> AsyncIterator[ProcessBackend]:
    async with stores() as running:
        yield ProcessBackend(running)
