"""What the manifest, the report and the card say of a test set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pica.eval.tasks import said
from pica.recipes.prompt_pool.rows import PoolRow
from pica.recipes.wizard_arena.config import WizardArenaConfig
from pica.synth.embed import Embedder
from pica.synth.filters.clusters import Clusters
from pica.synth.report import Bars, Histogram, Section
from pica.synth.report import Table as Grid
from pica.synth.table import Table

MOST = 100          # clusters that are shown
EXAMPLE = 160       # characters of an example


@dataclass(frozen=True)
class ClusterInfo:
    """The clusters of a run. `examples`: the prompt nearest to each centre, its beginning. `short`: clusters with fewer prompts
    than were to be drawn. `cut`: prompts longer than the embedder reads."""

    sizes: Sequence[int]
    examples: Sequence[str]
    short: int
    embedder: str
    cut: int
    settings: dict[str, Any]

    @classmethod
    def of(cls, clusters: Clusters, prompts: Sequence[PoolRow], *, short: int, embedder: Embedder) -> ClusterInfo:
        """What there is to say of these clusters of these prompts."""
        nearest: dict[int, tuple[float, str]] = {}
        for label, distance, row in zip(clusters.label.tolist(), clusters.distance.tolist(), prompts, strict=True):
            nearest[label] = min(nearest.get(label, (distance, row.id)), (distance, row.id))
        rows = {row.id: row for row in prompts}
        examples = [" ".join(said(rows[nearest[label][1]].prompt).split()) for label in range(len(clusters))]
        shown = [text if len(text) <= EXAMPLE else f"{text[:EXAMPLE]} ..." for text in examples]
        return cls(clusters.sizes.tolist(), shown, short, embedder.name, embedder.truncated, clusters.settings)


def cluster_notes(info: ClusterInfo, table: Table) -> dict[str, Any]:
    """Clusters in figures: sizes, how many are short, and how many gave a hard prompt."""
    hard = {label for label, kind in zip(*table.columns("cluster", "category"), strict=True) if kind == "hard"}
    return {**info.settings, "embedder": info.embedder, "largest": max(info.sizes), "smallest": min(info.sizes),
            "short": info.short, "with_hard": len(hard), "cut": info.cut}


def warnings(config: WizardArenaConfig, notes: dict[str, Any]) -> list[str]:
    """What a person must know first."""
    found, clusters, difficulty = [], notes["clusters"], notes["difficulty"]
    if clusters["short"]:
        found.append(f"{clusters['short']:,} of {clusters['clusters']:,} clusters have fewer than the {config.diverse} + "
                     f"{config.candidates} prompts asked for; they gave what they have, diverse ones first")
    if difficulty["unscored"]:
        found.append(f"{difficulty['unscored']:,} of {difficulty['candidates']:,} candidates have no rating and were not taken")
    if difficulty["rated"] < config.hard:
        found.append(f"only {difficulty['rated']:,} candidates have a rating, of which hard={config.hard} were wanted: all were "
                     "taken, however hard they are")
    if clusters["cut"]:
        found.append(f"{clusters['cut']:,} prompts are longer than {clusters['embedder']} reads; their cluster goes by their "
                     "beginning")
    return found


def sections(info: ClusterInfo, table: Table, ratings: Sequence[int]) -> list[Section]:
    """Ratings of all candidates, sizes of clusters, and the clusters with examples."""
    kinds = Counter(zip(*table.columns("cluster", "category"), strict=True))
    rows = [[label, size, kinds[label, "diverse"], kinds[label, "hard"], info.examples[label]]
            for label, size in enumerate(info.sizes[:MOST])]
    shown = f"; the {MOST} largest of {len(info.sizes):,}" if len(info.sizes) > MOST else ""
    count = Counter(ratings)
    found: list[Section] = []
    if ratings:
        found.append(Bars("Difficulty of the candidates", [(str(rating), count[rating]) for rating in range(11)],
                          note="ratings of the judge, 0 to 10; those that were not taken among them"))
    return [*found, Histogram("Sizes of the clusters", [float(size) for size in info.sizes], note="prompts of a cluster"),
            Grid("Clusters", ["cluster", "prompts", "diverse", "hard", "nearest to the centre"], rows,
                 note=f"prompts that were read, and those that were taken{shown}")]


def card(config: WizardArenaConfig, table: Table) -> str:
    """The text of the dataset card."""
    counts = Counter(table.column("category"))
    clusters, difficulty = table.notes["clusters"], table.notes["difficulty"]
    lines = [f"A test set out of {', '.join(f'`{name}`' for name in config.data)}, built as Arena Learning built WizardArena "
             "([arXiv:2407.10627](https://arxiv.org/abs/2407.10627)): k-means over embeddings "
             f"({clusters['embedder']}, {clusters['clusters']:,} clusters).",
             f"{counts['diverse']:,} prompts are `diverse`: {config.diverse} of a cluster, "
             f"{'drawn at random' if config.diverse_by == 'random' else 'nearest to its centre'}."]
    if config.hard:
        lines.append(f"{counts['hard']:,} are `hard`: the hardest of {difficulty['rated']:,} further prompts by the rating of "
                     f"`{difficulty['judge']}`, {difficulty['taken_from']} or more of 10. No prompt is both. Ratings are a "
                     "model's opinion.")
    return "\n\n".join(lines)
