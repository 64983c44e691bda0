"""What completions add to: requests before MiniStack's ASGI app, and work beside it."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable

from localstack.emulator.asgi import App, Message, Receive, Send

Work = Callable[[], Awaitable[None]]

log = logging.getLogger("emulator")


class Emulator:
    def __init__(self, app: App, *, port: int) -> None:
        self._app = app
        self._work: list[Work] = []
        self._ready = asyncio.Event()
        self._ended = asyncio.Event()
        self.port = port
        self.endpoint = f"http://127.0.0.1:{port}"
        """Where it answers, as seen from its own process."""

    @property
    def ending(self) -> bool:
        """MiniStack stops its containers: start no more."""
        return self._ended.is_set()

    def wrap(self, middleware: Callable[[App], App]) -> None:
        """The middleware sees every request before what was there already."""
        self._app = middleware(self._app)

    def run(self, work: Work) -> None:
        """Starts with the emulator and must last as long: the emulator ends when it ends."""
        self._work.append(work)

    async def serve(self) -> None:
        """Until SIGTERM or SIGINT. MiniStack removes its containers before this returns."""
        # Only the image has it; tests import the completions without.
        import hypercorn.asyncio
        from hypercorn.config import Config

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ended.set)
        config = Config()
        config.bind = [f"0.0.0.0:{self.port}"]
        config.keep_alive_timeout = 75
        config.loglevel = "INFO"
        beside = [asyncio.create_task(self._beside(each)) for each in self._work]
        await hypercorn.asyncio.serve(
            self._handle, config, shutdown_trigger=self._ended.wait, mode="asgi"
        )
        for task in beside:
            task.cancel()
        results = await asyncio.gather(*beside, return_exceptions=True)
        failures = [each for each in results if isinstance(each, Exception)]
        if failures:
            raise ExceptionGroup("the emulator ended because its completions failed", failures)

    async def _handle(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":

            async def started(message: Message) -> None:
                await send(message)
                if message["type"] == "lifespan.startup.complete":
                    self._ready.set()

            await self._app(scope, receive, started)
        else:
            await self._app(scope, receive, send)

    async def _beside(self, work: Work) -> None:
        await self._ready.wait()
        try:
            await work()
        finally:
            self._ended.set()
