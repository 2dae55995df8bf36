"""Calls and ledgers for tests: call number i is the same wherever it is made."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import textwrap
from hashlib import blake2b
from pathlib import Path

from pica.synth.ledger import Entry, Ledger, call_content
from pica.synth.models.base import Answer, Request, Sampling, system, user

WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("l", "nd", "r", "st", "t", "ck", "mp")]


def text(seed: int, words: int) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def request(i: int, words: int = 8) -> Request:
    return Request(task="chat", messages=(system("You answer briefly."), user(f"{i}: {text(i, words)}?")),
                   sampling=Sampling(temperature=0.7, max_tokens=200), seed=i)


def answer(i: int, words: int = 30) -> Answer:
    return Answer(text=text(-i - 1, words), prompt_tokens=10 + i, completion_tokens=words, model="served-m")


def entry(i: int, words: int = 30, *, given: Answer | None = None, model: str = "fake/m") -> Entry:
    content = call_content(model, request(i), 0)
    return Entry(blake2b(content, digest_size=16).digest(), content, given or answer(i, words), model, 0.5, 0.25)


def fill(path: Path, calls: range, words: int = 30, *, owner: str = "", model: str = "fake/m") -> Path:
    """A closed ledger at `path` with these calls, in transactions of 50."""

    async def put() -> None:
        for start in range(calls.start, calls.stop, 50):
            await ledger.put([entry(i, words, model=model) for i in range(start, min(start + 50, calls.stop))])

    ledger = Ledger(path, owner=owner, durability="normal")
    try:
        asyncio.run(put())
    finally:
        ledger.close()
    return path


def run_script(body: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own, with the names of this module at hand."""
    lead = f"import sys; sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}\nfrom ledger_samples import *\n"
    return subprocess.run([sys.executable, "-c", lead + textwrap.dedent(body), *map(str, arguments)],
                          capture_output=True, text=True, timeout=600, check=False)
