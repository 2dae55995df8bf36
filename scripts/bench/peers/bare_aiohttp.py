"""The bare transport: a pool of aiohttp workers that keeps nothing. What a durable client is compared with.

    .venv/bin/python scripts/bench/peers/bare_aiohttp.py --url http://127.0.0.1:8000/v1 \
        --rows 10000 --in-flight 256 --work /tmp/bare
"""

from __future__ import annotations

import argparse
import asyncio

import aiohttp
import orjson
from _bench import MAX_TOKENS, MODEL, arguments, measure, prompt


async def run(args: argparse.Namespace) -> int:
    """One worker a call in flight; each takes the next row until there is none."""
    rows = iter(range(args.rows))
    answers: list[str] = []
    url, headers = f"{args.url}/chat/completions", {"Content-Type": "application/json"}

    async def worker(session: aiohttp.ClientSession) -> None:
        for row in rows:
            body = orjson.dumps({"model": MODEL, "max_tokens": MAX_TOKENS,
                                 "messages": [{"role": "user", "content": prompt(row)}]})
            async with session.post(url, data=body, headers=headers) as response:
                response.raise_for_status()
                answers.append(orjson.loads(await response.read())["choices"][0]["message"]["content"])

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(worker(session) for _ in range(args.in_flight)))
    return len(answers)


if __name__ == "__main__":
    parsed = arguments(__doc__ or "")
    measure("bare aiohttp", parsed, lambda: asyncio.run(run(parsed)))
