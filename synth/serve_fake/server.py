"""The fake server in an event loop: for a program or a test, or until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator

from pica.synth.errors import UsageError
from pica.synth.serve_fake.api import Api
from pica.synth.serve_fake.http import Connection, Handler
from pica.synth.serve_fake.options import ServeOptions, checked


class FakeServer:
    """A fake server in the running event loop: `async with FakeServer(options) as server: server.url`.

    `api.stats` counts what was seen; `url` ends in `/v1`. Leaving the block cuts all connections. `handler` answers
    instead of the API, for a server that says exactly one thing.
    """

    def __init__(self, options: ServeOptions | None = None, handler: Handler | None = None) -> None:
        self.options = checked(options or ServeOptions())
        self.api = Api(self.options)
        self._handler = handler or self.api.handle
        self.url = ""
        self._connections: set[Connection] = set()

    async def __aenter__(self) -> FakeServer:
        loop = asyncio.get_running_loop()
        options = self.options
        try:
            self._server = await loop.create_server(lambda: Connection(self._handler, self._connections),
                                                    options.host, options.port, backlog=4096)
        except OSError as error:
            raise UsageError(f"cannot listen on {options.host}:{options.port} ({error.strerror}); "
                             "--port 0 picks a free port") from None
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://{options.host}:{port}/v1"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for connection in list(self._connections):
            connection.abort()
        await asyncio.sleep(0)
        await self._server.wait_closed()


@contextlib.asynccontextmanager
async def serve(options: ServeOptions | None = None) -> AsyncIterator[str]:
    """The base URL of a fake server that lives as long as the block."""
    async with FakeServer(options) as server:
        yield server.url


def serve_until_stopped(options: ServeOptions) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_until_stopped(options))


async def _until_stopped(options: ServeOptions) -> None:
    stopped = asyncio.Event()
    with contextlib.suppress(NotImplementedError):  # Windows has no signal handlers in its event loops
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with FakeServer(options) as server:
        print(f"listening on {server.url}", flush=True)
        await stopped.wait()
