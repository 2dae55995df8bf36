"""How quick and how small the ledger is: awaited durable puts, gets, bytes a call, with and without a flush a commit.

    python scripts/bench/ledger.py [--calls 20000] [--in-flight 256] [--dir FOLDER]

Texts are sentences of random words from a skewed vocabulary of 20,000, a system prompt that all requests share, and
answers of 20 to 300 words, so that they compress about as real instructions and answers do. Beside the ledger stand the
cost of a bare flush of the disk, and of the same texts as lines of JSON in an append-only file flushed once a call.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import tempfile
import time
from hashlib import blake2b
from pathlib import Path

import msgspec

from pica.synth.ledger import Entry, Ledger, call_content
from pica.synth.ledger.file import Durability
from pica.synth.ledger.stats import stats
from pica.synth.models.base import Answer, Request, Sampling, system, user

SYSTEM = ("You are a careful assistant. Answer the user's question in plain words, say what you are unsure of, and "
          "give an example where one helps.")


def vocabulary(chance: random.Random) -> tuple[list[str], list[float]]:
    words = ["".join(chance.choices("etaoinshrdlucmfwypvbgkqjxz", weights=range(26, 0, -1), k=chance.randint(2, 10)))
             for _ in range(20_000)]
    return words, [1 / (rank + 3) for rank in range(len(words))]


def make_entries(count: int) -> list[Entry]:
    chance = random.Random(0)
    words, weights = vocabulary(chance)
    pool = chance.choices(words, weights, k=count * 200)
    entries, sampling = [], Sampling(temperature=0.7, max_tokens=512)
    for i in range(count):
        start, asked, said = chance.randrange(len(pool) - 400), chance.randint(5, 40), chance.randint(20, 300)
        question, text = pool[start:start + asked], pool[start + asked:start + asked + said]
        messages = (system(SYSTEM), user(" ".join(question) + "?"))
        request = Request(task="chat", messages=messages, sampling=sampling, seed=i)
        content = call_content("openai/some-model@http://127.0.0.1:8000/v1", request, 0)
        answer = Answer(text=" ".join(text) + ".", prompt_tokens=asked + 40, completion_tokens=said, model="some-model")
        entries.append(Entry(blake2b(content, digest_size=16).digest(), content, answer, "openai/some-model", 0.0, 0.5))
    return entries


async def put_all(ledger: Ledger, entries: list[Entry], in_flight: int) -> float:
    waiting = iter(entries)

    async def worker() -> None:
        for entry in waiting:
            await ledger.put([entry])

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return time.perf_counter() - started


def get_all(ledger: Ledger, entries: list[Entry]) -> float:
    started = time.perf_counter()
    for entry in entries:
        answer = ledger.get(entry.key)
        assert answer is not None
    return time.perf_counter() - started


def measure(path: Path, entries: list[Entry], durability: Durability, in_flight: int) -> None:
    ledger = Ledger(path, durability=durability)
    put = asyncio.run(put_all(ledger, entries, in_flight))
    get = get_all(ledger, entries)
    absent = [entry._replace(key=entry.key[::-1]) for entry in entries]
    started = time.perf_counter()
    assert not any(ledger.get(entry.key) for entry in absent)
    miss = time.perf_counter() - started
    ledger.close()
    found = stats(path)
    raw = sum(model.raw for model in found.models)
    print(f"{durability:>6}: {len(entries) / put:9,.0f} awaited puts/s  {len(entries) / get:9,.0f} gets/s  "
          f"{len(entries) / miss:9,.0f} misses/s  {found.size / len(entries):6,.0f} bytes a call on disk "
          f"(raw {raw / len(entries):,.0f}: {raw / found.size:.1f} times; texts alone {found.ratio:.1f} times)")


def measure_lines(path: Path, entries: list[Entry]) -> None:
    """The plainest durable store: a line of JSON and a flush a call; and what a flush costs."""
    few = entries[:2000]
    started = time.perf_counter()
    with path.open("wb") as lines:
        for entry in few:
            lines.write(entry.content + msgspec.json.encode(entry.answer) + b"\n")
            lines.flush()
            os.fsync(lines.fileno())
    seconds = time.perf_counter() - started
    print(f" lines: {len(few) / seconds:9,.0f} puts/s one after the other ({1000 * seconds / len(few):.2f} ms each, "
          f"flushed)  {path.stat().st_size / len(few):6,.0f} bytes a call on disk")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--in-flight", type=int, default=256, help="calls awaited at the same time")
    parser.add_argument("--dir", type=Path, help="folder on the disk to measure; default: the system's temporary one")
    args = parser.parse_args()
    entries = make_entries(args.calls)
    with tempfile.TemporaryDirectory(dir=args.dir) as folder:
        print(f"{args.calls:,} calls, {args.in_flight} in flight, in {folder}")
        measure(Path(folder) / "full.sqlite", entries, "full", args.in_flight)
        measure(Path(folder) / "normal.sqlite", entries, "normal", args.in_flight)
        measure_lines(Path(folder) / "lines.jsonl", entries)


if __name__ == "__main__":
    main()
