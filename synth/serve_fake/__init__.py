"""`pica serve-fake`: an OpenAI-compatible server that answers at once, or as badly as it is told to.

    pica serve-fake --latency 0.05 --stragglers 0.02:3 --error-500 0.05
    pica serve-fake --brain fixed --rate 100

It prints `listening on http://127.0.0.1:PORT/v1` when it is ready. Endpoints: /v1/models, /v1/completions,
/v1/chat/completions, /v1/embeddings, /v1/files, /v1/batches, /pooling (rewards), /tokenize and /detokenize or
/apply-template (chat templates), /stats (what it has seen), and POST /reset. In a program or a test:

    async with serve(ServeOptions(latency=0.05)) as url:
        model = open_model(f"openai/any@{url}")
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator

from pica.synth.errors import UsageError
from pica.synth.serve_fake.api import Api
from pica.synth.serve_fake.http import Call, Connection, Handler, Reply
from pica.synth.serve_fake.options import ServeOptions, add_arguments, checked, from_arguments

__all__ = ["Call", "FakeServer", "Reply", "ServeOptions", "add_arguments", "main", "serve"]


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


def main(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM. Returns the exit code, 0. Raises `UsageError` for bad options."""
    options = from_arguments(args)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_until_stopped(options))
    return 0


async def _until_stopped(options: ServeOptions) -> None:
    stopped = asyncio.Event()
    with contextlib.suppress(NotImplementedError):  # Windows has no signal handlers in its event loops
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with FakeServer(options) as server:
        print(f"listening on {server.url}", flush=True)
        await stopped.wait()
