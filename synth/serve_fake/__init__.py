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
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pica.synth.serve_fake.options import ServeOptions, add_arguments, from_arguments

if TYPE_CHECKING:
    from pica.synth.serve_fake.http import Call, Reply
    from pica.synth.serve_fake.server import FakeServer, serve

__all__ = ["Call", "FakeServer", "Reply", "ServeOptions", "add_arguments", "main", "serve"]

_MODULES = {"Call": "http", "FakeServer": "server", "Reply": "http", "serve": "server"}


def __getattr__(name: str) -> Any:
    """Load the server when it is asked for: `pica serve-fake --help` needs none of it."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def main(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM. Returns the exit code, 0. Raises `UsageError` for bad options."""
    from pica.synth.serve_fake.server import serve_until_stopped

    serve_until_stopped(from_arguments(args))
    return 0
