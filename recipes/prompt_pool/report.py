"""What the manifest, the report and the card say of a pool."""

from __future__ import annotations

from collections import Counter
from statistics import median
from typing import Any

from pica.recipes.prompt_pool.config import PromptPoolConfig
from pica.synth.filters.decontaminate import COMMON
from pica.synth.report import Matrix, Section
from pica.synth.report import Table as Grid
from pica.synth.table import Table

MOST = 20  # categories, sources or parts that are shown


def part_notes(table: Table) -> dict[str, dict[str, Any]]:
    """Size, lengths, categories and sources of every part."""
    words: dict[str, list[int]] = {}
    categories: dict[str, Counter[str]] = {}
    sources: dict[str, Counter[str]] = {}
    for split, row in table.splits():
        words.setdefault(split, []).append(row["words"])
        categories.setdefault(split, Counter())[row["category"] or "none"] += 1
        sources.setdefault(split, Counter())[row["source"]] += 1
    return {split: {"rows": len(lengths), "median_words": median(lengths), "least_words": min(lengths),
                    "most_words": max(lengths), "categories": dict(categories[split].most_common(MOST)),
                    "sources": dict(sources[split].most_common(MOST))} for split, lengths in words.items()}


def part_sections(table: Table) -> list[Section]:
    """Sizes and lengths of the parts; shares of categories and sources by part, where there are several."""
    parts: dict[str, dict[str, Any]] = table.notes["parts"]
    header = ["part", "prompts", "median words", "least", "most"]
    rows = [[name, part["rows"], part["median_words"], part["least_words"], part["most_words"]] for name, part in parts.items()]
    shown = f"the first {MOST} of {len(parts):,}" if len(parts) > MOST else ""
    sections: list[Section] = [Grid("Parts", header, rows, note="words of the user's turns")]
    for key, title in (("categories", "Categories by part"), ("sources", "Sources by part")):
        totals: Counter[str] = Counter()
        for part in parts.values():
            totals.update(part[key])
        names = [name for name, _ in totals.most_common(MOST)]
        if len(names) > 1:
            few = list(parts.items())[:MOST]
            values = [[round(part[key].get(name, 0) / part["rows"], 3) for name in names] for _, part in few]
            sections.append(Matrix(title, [name for name, _ in few], values, names,
                                   note=f"share of the part's prompts{f'; {shown}' if shown else ''}"))
    return sections


def warnings(config: PromptPoolConfig, table: Table) -> list[str]:
    """What a person must know first."""
    if not config.decontaminate:
        return ["no evaluation was named, so prompts of one may be among these; name them: decontaminate=[pica,FILE]"]
    if cut := table.notes.get("evaluations", {}).get("cut"):
        return [f"{cut:,} prompts are longer than {config.embedder} reads; their distance to the evaluations goes by their "
                "beginning (their words were compared in full)"]
    return []


def card(config: PromptPoolConfig, table: Table) -> str:
    """The text of the dataset card."""
    parts = ", ".join(f"`{name}` {part['rows']:,}" for name, part in table.notes["parts"].items())
    lines = [f"Prompts of {', '.join(f'`{name}`' for name in config.data)}, without copies and in a seeded order, after the "
             "preparation of Arena Learning ([arXiv:2407.10627](https://arxiv.org/abs/2407.10627)). No model was asked.",
             f"Splits: {parts}."]
    if found := table.notes.get("evaluations"):
        near = (f" or within a squared distance of {found['distance']:g} of their embeddings ({found['embedder']})"
                if found["embedder"] else "")
        lines.append(f"No prompt shares {found['ngram']} words in a row with a prompt of {', '.join(found['prompts'])}{near}"
                     f"{f', save words that stand in more than {COMMON} prompts' if found.get('common') else ''}.")
    if config.held_out:
        near = f" or within a squared distance of {config.held_distance:g} ({config.held_embedder})"
        lines.append(f"No prompt of a part holds one of `held_out`, by {config.ngram} words in a row that stand in no more than "
                     f"{COMMON} prompts{near if config.held_embedder != 'none' else ''}.")
    return "\n\n".join(lines)
