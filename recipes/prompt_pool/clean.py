"""What is dropped from a pool, in this order: repeated prompts, languages, lengths, equal beginnings, copies, evaluation
prompts; and of the parts, what holds a held-out prompt."""

from __future__ import annotations

from collections.abc import Sequence

from pica.eval.tasks import said
from pica.recipes.prompt_pool.config import PromptPoolConfig
from pica.recipes.prompt_pool.contamination import Evaluations, HeldOut
from pica.recipes.prompt_pool.reading import richness
from pica.synth.filters.copies import CopyFilter
from pica.synth.filters.decontaminate import words_of
from pica.synth.filters.exact import exact_groups
from pica.synth.filters.groups import keep_one
from pica.synth.progress import Progress
from pica.synth.table import Table

TEXT, RICHNESS = "text", "richness"  # columns that only the filters use


class Cleaner:
    """The filters of a config. Files, packages and weights are found here. Raises `UsageError` for what is missing."""

    def __init__(self, config: PromptPoolConfig) -> None:
        self.config = config
        self.copies = CopyFilter(config.duplicates)
        self.evaluations, self.held_out = Evaluations(config), HeldOut(config)
        if config.languages:
            from pica.synth.filters.language import check_codes

            check_codes(config.languages)

    def clean(self, table: Table, progress: Progress) -> None:
        """Drop what the settings say, each row with its reason."""
        config = self.config
        names: list[str] = table.column("id")
        table.keep(["-" not in name for name in names], "the same prompt", [f"as {name.partition('-')[0]}" for name in names])
        texts, rich = [], []
        for row in table.rows():
            texts.append(said(row["prompt"]))
            rich.append(richness(row))
        table.set(TEXT, texts)
        table.set(RICHNESS, rich)
        if config.languages:
            progress.say(f"telling the languages of {len(table):,} prompts")
            _languages(table, config.languages)
        _lengths(table, config)
        if config.prefix and len(table):
            _prefixes(table, config.prefix)
        progress.say(f"looking for copies among {len(table):,} prompts")
        self.copies.drop(table, progress, column=TEXT, reward=RICHNESS)
        among: list[str] = table.column(TEXT)
        self.evaluations.drop(table, progress, column=TEXT)
        self.held_out.drop(table, among, progress, column=TEXT)


def _languages(table: Table, wanted: Sequence[str]) -> None:
    from pica.synth.filters.language import detect

    codes = [found.language for found in detect(table.column(TEXT))]
    table.set("language", codes)
    table.keep([code in wanted for code in codes], "language not wanted", [f"language {code}" for code in codes])


def _lengths(table: Table, config: PromptPoolConfig) -> None:
    if not config.min_length and not config.max_length:
        return
    lengths: list[int] = table.column(config.length_unit)
    told = [f"{length:,} {config.length_unit}" for length in lengths]
    long = [bool(config.max_length) and length > config.max_length for length in lengths]
    short = [length < config.min_length for length in lengths]
    table.keep([not one for one in short], f"shorter than {config.min_length:,} {config.length_unit}", told)
    kept = [place for place, one in enumerate(short) if not one]
    table.keep([not long[place] for place in kept], f"longer than {config.max_length:,} {config.length_unit}",
               [told[place] for place in kept])


def _prefixes(table: Table, words: int) -> None:
    """Of prompts with the same first words, the one that says most stays, then by content."""
    texts, names = table.column(TEXT), table.column("id")
    groups = exact_groups(" ".join(words_of(text)[:words]) or text for text in texts)
    keep = keep_one(groups, table.column(RICHNESS), ids=names)
    first = {int(label): name for label, name, kept in zip(groups.label, names, keep, strict=True) if kept}
    table.keep(keep.tolist(), f"the same first {words} words", [f"as {first[int(label)]}" for label in groups.label])
