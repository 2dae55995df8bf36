"""WizardArena's test set out of many prompts: diverse ones of every cluster, and the hardest by a judge's rating.

    pica run wizard-arena data=POOL clusters=500 diverse=2 candidates=20 hard=1000 judge=J --out W

Source: Luo and others, Arena Learning (2024, arXiv 2407.10627), the offline test set WizardArena. What the paper leaves open and
what is chosen here is in this folder's README.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import msgspec

from pica.eval.tasks import said
from pica.recipes.prompt_pool.over_prompts import OverPrompts
from pica.recipes.prompt_pool.reading import Named, described, open_data, read
from pica.recipes.prompt_pool.rows import PoolRow
from pica.recipes.wizard_arena.clusters import draw
from pica.recipes.wizard_arena.config import WizardArenaConfig
from pica.recipes.wizard_arena.difficulty import SCALE, Rater
from pica.recipes.wizard_arena.report import ClusterInfo, card, cluster_notes, sections, warnings
from pica.recipes.wizard_arena.rows import WizardRow
from pica.synth.embed import Embedder, open_embedder
from pica.synth.errors import Reject, UsageError
from pica.synth.filters.clusters import Clusters, cluster
from pica.synth.formats import messages
from pica.synth.models.base import ModelConfig
from pica.synth.plan import Plan
from pica.synth.progress import Progress
from pica.synth.report import Section
from pica.synth.run import Draft, Run, derive_seed
from pica.synth.table import Table

NOT_DRAWN, NOT_HARD = "not drawn from its cluster", "not among the hardest"


class WizardArena(OverPrompts[WizardArenaConfig]):
    """Prompts in, a test set out."""

    name = "wizard-arena"
    config_class = WizardArenaConfig

    def __init__(self, config: WizardArenaConfig) -> None:
        super().__init__(config)
        self.rater = Rater(config) if config.judge is not None and config.hard else None
        self.prompts: list[PoolRow] = []
        self.clusters: Clusters
        self.info: ClusterInfo

    @cached_property
    def sources(self) -> list[Named]:
        """The data, a split at a time."""
        return [found for name in self.config.data for split in self.config.splits_of(name) for found in open_data([name], split)]

    @property
    def row_class(self) -> type[WizardRow]:
        """Prompts."""
        return WizardRow

    @property
    def models(self) -> list[ModelConfig]:
        """The judge."""
        return [self.rater.model] if self.rater else []

    async def prepare(self, run: Run) -> None:
        """Read, embed and cluster the prompts, and draw. Raises `UsageError`."""
        config = self.config
        embedder = open_embedder(config.embedder)
        run.say(f"reading {self.wanted:,} prompts")
        found = read(self.sources, seed=config.seed, n=config.n, turns=config.turns)
        rows = [msgspec.json.decode(row, type=PoolRow) for row in found.rows]
        own = [row for row in rows if "-" not in row.id]
        self.bad = [("the same prompt", f"as {row.id.partition('-')[0]}", row.source, row.source_row) for row in rows
                    if "-" in row.id] + [(one.reason, one.detail, one.source, one.row) for one in found.unreadable]
        if len(own) < config.clusters:
            raise UsageError(f"clusters={config.clusters} and only {len(own):,} different prompts in {len(found):,} rows; lower "
                             "clusters, or give more prompts")
        self._draw(run, own, embedder)

    def _draw(self, run: Run, own: list[PoolRow], embedder: Embedder) -> None:
        """Cluster these prompts; put the candidates first, then the diverse ones, then those that were not drawn."""
        config = self.config
        run.say(f"embedding {len(own):,} prompts with {embedder.name}")
        vectors = embedder.embed([said(row.prompt) for row in own])
        run.say(f"k-means with {config.clusters:,} clusters")
        found = cluster(vectors, config.clusters, seed=config.seed, starts=config.starts)
        drawn = draw(found, diverse=config.diverse, candidates=config.candidates, nearest=config.diverse_by == "nearest")
        taken = {*drawn.candidates, *drawn.diverse}
        order = [*drawn.candidates, *drawn.diverse, *(place for place in range(len(own)) if place not in taken)]
        self.judged, self.drawn = len(drawn.candidates), len(taken)
        self.prompts = [own[place] for place in order]
        self.clusters = replace(found, label=found.label[order], distance=found.distance[order])
        self.info = ClusterInfo.of(self.clusters, self.prompts, short=drawn.short, embedder=embedder)

    async def make_row(self, draft: Draft) -> WizardRow:
        """A prompt with its rating, if it is a candidate. Raises `Reject` where it was not drawn, or has no rating."""
        if draft.index >= len(self.prompts):
            reason, detail, source, number = self.bad[draft.index - len(self.prompts)]
            draft.keep(source=source, source_row=number)
            raise Reject(reason, detail)
        row = self.prompts[draft.index]
        shared: dict[str, Any] = {
            "id": row.id, "prompt": row.prompt, "tags": [tag for tag in dict.fromkeys([row.category, *row.tags]) if tag],
            "reference": row.reference, "checklist": row.checklist, "source": row.source, "source_row": row.source_row,
            "words": row.words, "characters": row.characters, "embedder": self.info.embedder,
            "cluster": int(self.clusters.label[draft.index]), "distance": round(float(self.clusters.distance[draft.index]), 6)}
        draft.keep(**shared)
        if draft.index >= self.drawn:
            raise Reject(NOT_DRAWN)
        rating: dict[str, Any] = {"category": "diverse"}
        if draft.index < self.judged:
            assert self.rater is not None
            difficulty, reason = await self.rater.rate(draft, messages(row.prompt, "prompt"))
            rating = {"category": "hard", "difficulty": difficulty, "difficulty_reason": reason, "judge": self.rater.name}
        return WizardRow(recipe=self.name, model="", seed=draft.seed, calls=draft.calls, **shared, **rating)

    def finish(self, table: Table, progress: Progress) -> None:
        """Take the hardest candidates: by rating, equals by a seeded hash of the prompt."""
        config, notes = self.config, table.notes
        kinds, ratings, names = table.columns("category", "difficulty", "id")
        self.ratings = [rating for rating in ratings if rating is not None]
        rated = sorted((place for place, kind in enumerate(kinds) if kind == "hard"),
                       key=lambda place: (-ratings[place], derive_seed("hard", config.seed, names[place])))
        hardest = set(rated[:config.hard])
        if config.hard and not hardest:
            raise UsageError(f"none of the {self.judged:,} candidates has a rating that can be read; raise judge_tokens or tries "
                             "or take another judge")
        table.keep([kind == "diverse" or place in hardest for place, kind in enumerate(kinds)], NOT_HARD,
                   [f"difficulty {rating}" for rating in ratings])
        notes["data"] = described(self.sources)
        notes["clusters"] = cluster_notes(self.info, table)
        notes["difficulty"] = {"candidates": self.judged, "rated": len(self.ratings), "unscored": self.judged - len(self.ratings),
                               "scale": list(SCALE), "taken_from": min((ratings[place] for place in hardest), default=None),
                               **(self.rater.describe() if self.rater else {})}
        notes["warnings"] = warnings(config, notes)

    def plan(self) -> Plan:
        """A rating for every candidate; token counts are typical lengths."""
        candidates = min(self.config.clusters * self.config.candidates, self.wanted)
        return Plan(candidates, self.rater.plan() if self.rater else [])

    def sections(self, table: Table) -> list[Section]:
        """Clusters with examples, and ratings."""
        return sections(self.info, table, self.ratings)

    def card(self, table: Table) -> str:
        """What the test set is."""
        return card(self.config, table)


RECIPE = WizardArena
