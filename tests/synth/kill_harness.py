"""Kills a run at random moments, lets it go on, and compares what it ends with to a run that was let alone.

    python tests/synth/kill_harness.py --kills 200 --seed 1

Every run is a forked child of this process, so that a trial costs milliseconds instead of an interpreter's start. Prints
one JSON line: for each campaign its kills, the calls it asked, how many of them it asked again, and whether it ended in
the same bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pica.recipes.magpie.config import MagpieConfig
from pica.recipes.magpie.recipe import Magpie
from pica.synth.config import RunConfig, parse_config
from pica.synth.ledger import call_key
from pica.synth.models.base import Sampling, user
from pica.synth.models.fake import FakeModel
from pica.synth.plan import Plan
from pica.synth.recipe import Recipe, make
from pica.synth.rows import SFTRow
from pica.synth.run import Draft

IN_FLIGHT = 8


class OneCall(Recipe[RunConfig]):
    """Rows of a single call."""

    name = "one-call"
    config_class = RunConfig
    row_class = SFTRow  # type: ignore[assignment]

    def plan(self) -> Plan:
        return Plan(self.config.n, [])

    async def make_row(self, draft: Draft) -> SFTRow:
        asked = user(f"Name a thing that begins with letter {draft.index % 26}")
        answer = await draft.chat("answer", self.config.teacher, [asked], Sampling(max_tokens=64))
        return SFTRow(id=draft.id, recipe=self.name, model="fake", seed=draft.seed, calls=draft.calls,
                      messages=[asked, {"role": "assistant", "content": answer.text}])


def recipes(latency: float) -> list[Callable[[], Recipe[Any]]]:
    """Single-step rows, rows of many steps, and preference pairs over a table stage."""
    common = {"teacher": f"fake/magpie?latency={latency}", "concurrency": IN_FLIGHT, "durability": "normal"}
    many = {**common, "n": 24, "filters": {"safe": False}, "duplicates": {"embedder": "hash"}}
    return [
        lambda: OneCall(parse_config(RunConfig, {**common, "n": 120})),
        lambda: Magpie(parse_config(MagpieConfig, many)),
        lambda: Magpie(parse_config(MagpieConfig, {**many, "n": 12, "preferences": {"k": 3},
                                                   "tags": ["reward", "quality"]})),
    ]


def run_once(build: Callable[[], Recipe[Any]], folder: Path, asked: Path) -> None:
    """Make the dataset; every call that a model starts to answer leaves 16 bytes in `asked` that stand for it."""
    counter = os.open(asked, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    plain = FakeModel.generate

    async def counted(self: FakeModel, request: Any) -> Any:
        os.write(counter, call_key("", request))
        return await plain(self, request)

    FakeModel.generate = counted  # type: ignore[method-assign]
    asyncio.run(make(build(), folder))


def fork(build: Callable[[], Recipe[Any]], folder: Path, asked: Path) -> int:
    """A child that runs once and ends with 0, or 1 on any error."""
    child = os.fork()
    if child == 0:
        try:
            run_once(build, folder, asked)
            os._exit(0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
    return child


def digest(folder: Path) -> str:
    """A hash of the dataset's bytes."""
    files = sorted([*folder.glob("data/*.parquet"), *folder.glob("rejected/*.parquet")])
    return hashlib.sha256(b"".join(file.name.encode() + file.read_bytes() for file in files)).hexdigest()


def campaign(build: Callable[[], Recipe[Any]], folder: Path, kills: int, rng: random.Random, longest: float,
             ) -> dict[str, Any]:
    """Run and kill until `kills` are done, then let it end."""
    asked, done = folder.with_suffix(".asked"), 0
    while True:
        child = fork(build, folder, asked)
        if done < kills:
            time.sleep(rng.uniform(0, longest))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            if os.WEXITSTATUS(status):
                raise SystemExit(f"a resumed run failed after {done} kills")
            calls = [asked.read_bytes()[place:place + 16] for place in range(0, asked.stat().st_size, 16)]
            return {"kills": done, "asked": len(calls), "again": len(calls) - len(set(calls))}
        done += 1


def main() -> None:
    """Spread the kills over the recipes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.01)
    options = parser.parse_args()
    rng, results = random.Random(options.seed), []
    work = Path(tempfile.mkdtemp(prefix="pica-kill-"))
    try:
        for number, build in enumerate(recipes(options.latency)):
            whole, started = work / f"whole-{number}", time.monotonic()
            os.waitpid(fork(build, whole, work / f"whole-{number}.asked"), 0)
            longest = (time.monotonic() - started) * 0.7
            left, round_ = options.kills // 3 + (number < options.kills % 3), 0
            while left > 0:
                folder = work / f"killed-{number}-{round_}"
                result = campaign(build, folder, min(left, 6), rng, longest)
                left, round_ = left - result["kills"], round_ + 1
                if not result["kills"]:
                    longest *= 0.7  # the machine was busier with the first run than it is now
                results.append({**result, "recipe": number, "same": digest(folder) == digest(whole)})
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
