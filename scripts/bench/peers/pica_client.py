"""Pica making a whole dataset folder, with durability on: one chat call a row.

    .venv/bin/python scripts/bench/peers/pica_client.py --url http://127.0.0.1:8000/v1 \
        --rows 10000 --in-flight 256 --work /tmp/pica
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from _bench import MAX_TOKENS, MODEL, arguments, measure, prompt

from pica.synth.config import RunConfig, parse_config
from pica.synth.models.base import Sampling, assistant, user
from pica.synth.plan import Plan
from pica.synth.recipe import Recipe, make
from pica.synth.rows import Provenance, SFTRow
from pica.synth.run import Draft

SAMPLING = Sampling(max_tokens=MAX_TOKENS)


class Ask(Recipe[RunConfig]):
    """One chat call a row."""

    name = "ask"
    config_class = RunConfig

    @property
    def row_class(self) -> type[Provenance]:
        """Conversations."""
        return SFTRow

    def plan(self) -> Plan:
        """Nothing to plan."""
        return Plan(self.config.n, [])

    async def make_row(self, draft: Draft) -> SFTRow:
        """Ask for the answer to this row's prompt."""
        asked = user(prompt(draft.index))
        answer = await draft.chat("answer", self.config.teacher, [asked], SAMPLING)
        return SFTRow(id=draft.id, recipe=self.name, model=MODEL, seed=draft.seed, calls=draft.calls,
                      messages=[asked, assistant(answer.text)])


async def run(args: argparse.Namespace) -> int:
    """Make the folder, or go on with one."""
    settings = {"n": args.rows, "teacher": f"openai/{MODEL}@{args.url}", "concurrency": args.in_flight}
    config = parse_config(RunConfig, settings)
    outcome = await make(Ask(config), Path(args.work) / "dataset")
    rows: int = outcome.manifest["rows"]["out"]
    return rows


if __name__ == "__main__":
    parsed = arguments(__doc__ or "")
    measure("pica", parsed, lambda: asyncio.run(run(parsed)))
