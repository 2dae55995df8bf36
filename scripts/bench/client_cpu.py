"""What a call costs the client: CPU microseconds of `OpenAIModel` beside a bare aiohttp loop, in one run.

    python scripts/bench/client_cpu.py --calls 20000 --in-flight 256

The server (`pica serve-fake --brain fixed`) runs in a process of its own. `bare` posts a ready body and reads the
answer; `bare+json` also writes and parses JSON; `pica` is `OpenAIModel.generate`. `client` is CPU of this process only;
`server` is what the server itself spends on a call.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import orjson

from pica.synth.models.base import ModelConfig, Request, Sampling, user
from pica.synth.models.openai import OpenAIModel

Call = Callable[[int], Awaitable[object]]
QUESTION = "How do I deal with a leaking tap in a small kitchen? " * 4


async def timed(call: Call, calls: int, in_flight: int) -> tuple[float, float]:
    """(calls a second, CPU microseconds a call) of `calls` calls with `in_flight` workers."""
    left = iter(range(calls))

    async def worker() -> None:
        for i in left:
            await call(i)

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return calls / (time.perf_counter() - wall), (time.process_time() - cpu) / calls * 1e6


async def measure(url: str, pid: int, args: argparse.Namespace) -> None:
    """Run the three clients in turn, `--rounds` times."""
    model = OpenAIModel(f"any@{url}", ModelConfig(name=f"openai/any@{url}"))
    body = {"model": "any", "messages": [user(QUESTION)], "temperature": 1.0, "top_p": 1.0, "max_tokens": 1024, "n": 1}
    ready = orjson.dumps(body)
    target = url + "/chat/completions"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar(),
                                     headers={"Content-Type": "application/json"}) as session:

        async def bare(i: int) -> None:
            async with session.post(target, data=ready) as reply:
                await reply.read()

        async def with_json(i: int) -> None:
            async with session.post(target, data=orjson.dumps({**body, "seed": i})) as reply:
                orjson.loads(await reply.read())

        async def pica(i: int) -> None:
            await model.generate(Request(task="chat", messages=(user(QUESTION),), seed=i, sampling=Sampling()))

        for name, call in (("bare", bare), ("bare+json", with_json), ("pica", pica)) * args.rounds:
            before = server_cpu(pid)
            rate, cpu = await timed(call, args.calls, args.in_flight)
            spent = f"  server {(server_cpu(pid) - before) / args.calls * 1e6:5.0f} us" if before else ""
            print(f"{name:10} {rate:8.0f} calls/s  client {cpu:5.0f} us{spent}", flush=True)
    await model.close()


def server_cpu(pid: int) -> float:
    """CPU seconds of another process, where the system shows them in /proc; else 0."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return 0.0
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    command = [sys.executable, "-m", "pica.synth.serve_fake", "--brain", "fixed", "--text", "x" * 400]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        found = re.search(r"http\S+", server.stdout.readline())
        assert found is not None, "the fake server did not start"
        try:
            asyncio.run(measure(found.group(), server.pid, args))
        finally:
            server.terminate()
    return 0


if __name__ == "__main__":
    sys.exit(main())
