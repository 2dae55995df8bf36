"""A prompt pool: prompts of any data, cleaned, told apart from evaluation prompts, and dealt into parts.

    pica run prompt-pool data=[A,B] parts=9 decontaminate=[pica,FILE] --out P

Source: Luo and others, Arena Learning (2024, arXiv 2407.10627), the preparation of its prompts. What the paper leaves open and
what is chosen here is in this folder's README.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from pica.recipes.prompt_pool.clean import RICHNESS, TEXT, Cleaner
from pica.recipes.prompt_pool.config import PromptPoolConfig
from pica.recipes.prompt_pool.contamination import HELD
from pica.recipes.prompt_pool.deal import deal
from pica.recipes.prompt_pool.over_prompts import OverPrompts
from pica.recipes.prompt_pool.reading import Named, Read, described, open_data, read
from pica.recipes.prompt_pool.report import card, part_notes, part_sections, warnings
from pica.recipes.prompt_pool.rows import PoolRow
from pica.synth.errors import Reject, UsageError
from pica.synth.plan import Plan
from pica.synth.progress import Progress
from pica.synth.report import Report, Section
from pica.synth.rows import Column
from pica.synth.run import Draft, Run
from pica.synth.table import Table


class PromptPool(OverPrompts[PromptPoolConfig]):
    """Prompts in, parts out."""

    name = "prompt-pool"
    config_class = PromptPoolConfig

    def __init__(self, config: PromptPoolConfig) -> None:
        super().__init__(config)
        self.found: Read
        self.cleaner: Cleaner

    @cached_property
    def sources(self) -> list[Named]:
        """The data."""
        return open_data(self.config.data, self.config.split)

    @property
    def row_class(self) -> type[PoolRow]:
        """Prompts."""
        return PoolRow

    async def prepare(self, run: Run) -> None:
        """Find files, packages and weights; read all prompts. Raises `UsageError`."""
        self.cleaner = Cleaner(self.config)
        run.say(f"reading {self.wanted:,} prompts")
        self.found = read(self.sources, seed=self.config.seed, n=self.config.n, turns=self.config.turns)
        if not self.found.rows:
            raise self._too_few(0, dict(self.found.reasons()))

    async def make_row(self, draft: Draft) -> PoolRow:
        """The prompt at a place in the order in which they are dealt; rows that hold none come last."""
        if draft.index < len(self.found.rows):
            return msgspec.json.decode(self.found.rows[draft.index], type=PoolRow)
        bad = self.found.unreadable[draft.index - len(self.found.rows)]
        draft.keep(source=bad.source, source_row=bad.row)
        raise Reject(bad.reason, bad.detail)

    def finish(self, table: Table, progress: Progress) -> None:
        """Drop, then deal. Raises `UsageError` where too few prompts are left."""
        config = self.config
        self.cleaner.clean(table, progress)
        if len(table) < config.least:
            raise self._too_few(len(table), dict(table.reasons().most_common()))
        splits = deal(len(table), held_out=config.held_out, parts=config.part_count, part_size=config.part_size)
        table.split(splits)
        table.notes["data"] = described(self.sources)
        table.notes["parts"] = part_notes(table)
        if told := warnings(config, table):
            table.notes["warnings"] = [*table.notes.get("warnings", []), *told]

    def _too_few(self, left: int, reasons: dict[str, int]) -> UsageError:
        config = self.config
        dropped = ", ".join(f"{reason} ({count:,})" for reason, count in reasons.items()) or "nothing"
        need = f"held_out={config.held_out} and " if config.held_out else ""
        need += f"parts={config.part_count}" if config.part_count else f"part_size={config.part_size}"
        mend = "Give more prompts, loosen what drops them, or ask for fewer"
        if HELD in reasons:
            mend += (f". Of the prompts that share {config.ngram} words in a row with a held-out one, keep one each, or take out "
                     "what they share")
        return UsageError(f"{left:,} of {len(self.found):,} prompts are left, and {need} need {config.least:,} at least; "
                          f"dropped: {dropped}. {mend}")

    def plan(self) -> Plan:
        """No calls."""
        return Plan(self.wanted, [])

    def sections(self, table: Table) -> list[Section]:
        """The parts."""
        return part_sections(table)

    def report(self, folder: Path, table: Table, manifest: dict[str, Any], wanted: list[Column]) -> Report:
        """The overview, without the columns of the filters."""
        report = super().report(folder, table, manifest, wanted)
        return replace(report, rows=({name: value for name, value in row.items() if name not in {TEXT, RICHNESS}}
                                     for row in report.rows))

    def card(self, table: Table) -> str:
        """What the prompts are, and what was dropped."""
        return card(self.config, table)


RECIPE = PromptPool
