"""The data to relabel: its pairs, prompts and scores, and what is wrong with it before anything is asked or written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pica.recipes.reward_augmented.config import Candidates, RewardAugmentedConfig
from pica.recipes.reward_augmented.relabel import OVERALL, ScoredPair, overall
from pica.synth.errors import Reject, UsageError
from pica.synth.filters.decontaminate import EvalIndex
from pica.synth.formats import BadRow, Completion, candidates, detect, number, pair, prompt_of
from pica.synth.models.base import Message, assistant, user
from pica.synth.models.goal import Scale, bears_goal
from pica.synth.run import derive_seed
from pica.synth.source import Source, open_source

Row = Mapping[str, Any]
ULTRAFEEDBACK_RATINGS: Scale = (1.0, 5.0)
SHOWN = 5  # bad rows that an error names


class Reader:
    """The rows of the data, those of the test split behind the others. Raises `UsageError` for data that cannot be read."""

    def __init__(self, config: RewardAugmentedConfig) -> None:
        splits = [config.split, *([config.test_split] if config.test_split else [])]
        self.config = config
        self.sources: list[Source] = [open_source(config.data, split=split, revision=config.revision) for split in splits]
        among = () if config.on_policy.k else ("preference", "ultrafeedback")
        self.format = detect(self.sources[0].columns, among)
        self._at = 0
        self._rows: Iterator[dict[str, Any]] = iter(())

    def __len__(self) -> int:
        return sum(len(source) for source in self.sources)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for source in self.sources:
            yield from source

    def row(self, index: int) -> dict[str, Any]:
        """The row at `index`; quick where rows are asked for in order."""
        if index < self._at or index == 0:
            self._rows, self._at = iter(self), 0
        found = next(islice(self._rows, index - self._at, None))
        self._at = index + 1
        return dict(found)

    def place(self, index: int) -> tuple[str, int]:
        """(split of the data, place in it from 1) of the row at `index`."""
        first = len(self.sources[0])
        return (self.sources[0].split, index + 1) if index < first else (self.sources[1].split, index - first + 1)

    @property
    def scored(self) -> bool:
        """Whether the data has scores: overall, or of every attribute that is wanted."""
        columns, wanted = self.sources[0].columns, self.config.attributes
        names = [f"{name}_{side}" for name in wanted for side in ("chosen", "rejected")]
        scores = {"score_chosen", "score_rejected"} <= set(columns)
        return self.format == "ultrafeedback" or (set(names) <= set(columns) and (scores or bool(wanted)))

    def prompt(self, row: Row) -> list[Message]:
        """The conversation up to the answers. Raises `BadRow`, and `Reject` for a source that is not wanted."""
        self._check_source(row)
        return [user(candidates(row).instruction)] if self.format == "ultrafeedback" else prompt_of(row)

    def pair(self, row: Row, seed: int) -> ScoredPair:
        """The pair of a row with the scores that the data has. `seed` decides where an answer is drawn.

        Raises `BadRow` for a row that is none, and `Reject` for one that the settings leave out.
        """
        self._check_source(row)
        if self.format == "ultrafeedback":
            return _best_against(row, self.config.candidates, seed)
        found, sides = pair(row), ("chosen", "rejected")
        by_side = [{name: value for name in self.config.attributes
                    if (value := number(row.get(f"{name}_{side}"), f"{name}_{side}")) is not None} for side in sides]
        values = [score if score is not None or not (self.scored and attributes) else overall(attributes)
                  for score, attributes in zip((found.score_chosen, found.score_rejected), by_side, strict=True)]
        return ScoredPair(found.prompt, found.chosen, found.rejected, values[0], values[1], by_side[0], by_side[1])

    def _check_source(self, row: Row) -> None:
        if row.get("source") in self.config.drop_sources:
            raise Reject("source not wanted", str(row["source"]))


def _best_against(row: Row, config: Candidates, seed: int) -> ScoredPair:
    """The answer with the best overall score against another, as UltraFeedback's users take pairs from it."""
    found = candidates(row)
    usable = [(one.overall_score, one) for one in found.completions
              if one.overall_score is not None and not (config.complete and one.unrated)]
    if len(usable) < 2:
        raise Reject("fewer than two rated answers", f"{len(usable)} of {len(found.completions)}")
    best = max(usable, key=lambda item: item[0])
    others = [item for item in usable if item is not best]
    other = (min(others, key=lambda item: item[0]) if config.rejected == "worst"
             else others[derive_seed(seed, "rejected") % len(others)])
    if config.consistent and (best[1].mean_rating or 0.0) < (other[1].mean_rating or 0.0):
        raise Reject("single ratings disagree", f"means {best[1].mean_rating} and {other[1].mean_rating}")
    return ScoredPair([user(found.instruction)], [assistant(best[1].response)], [assistant(other[1].response)],
                      best[0], other[0], _ratings(best[1]), _ratings(other[1]))


def _ratings(completion: Completion) -> dict[str, float]:
    return {aspect: rating for aspect, rating in completion.ratings.items() if rating is not None}


@dataclass(frozen=True)
class Survey:
    """What one pass over the data found. `bad`, `overlaps`: (reason, detail) and evidence by row. `ranges`: least and
    greatest score by attribute, of the scores of the data. `test`: rows that become the split `test`."""

    bad: dict[int, tuple[str, str]]
    overlaps: dict[int, str]
    ranges: dict[str, Scale]
    test: frozenset[int]


def survey(reader: Reader, *, wanted: tuple[str, ...], declared: Mapping[str, Scale], index: EvalIndex | None,
           seed_of: Callable[[int], int]) -> Survey:
    """Read every row once. `wanted`: the scores that the data must have, by attribute; `declared`: their scales, where the
    data does not decide. Raises `UsageError` for data that cannot be used: with the numbers of its rows, counted from 1."""
    pass_ = _Pass(reader, wanted, declared, index, seed_of)
    for number_, row in enumerate(reader):
        pass_.add(number_, row)
    return pass_.result()


class _Pass:
    """The pass over the data: what it has found so far."""

    def __init__(self, reader: Reader, wanted: tuple[str, ...], declared: Mapping[str, Scale], index: EvalIndex | None,
                 seed_of: Callable[[int], int]) -> None:
        self.reader, self.wanted, self.declared, self.index, self.seed_of = reader, wanted, declared, index, seed_of
        self.rows = 0
        self.bad: dict[int, tuple[str, str]] = {}
        self.overlaps: dict[int, str] = {}
        self.ends: dict[str, tuple[float, float]] = {}
        self.kinds: dict[str, int] = {}
        self.prompts: dict[int, list[int]] = {}

    def add(self, at: int, row: dict[str, Any]) -> None:
        """Look at a row."""
        config = self.reader.config
        self.rows += 1
        try:
            prompt = self.reader.prompt(row) if config.on_policy.k else self._pair(at, row)
            if bears_goal(prompt):
                raise BadRow("prompt bears a goal already", "it is reward-augmented; give the data that it was made from")
        except BadRow as error:
            self.bad[at] = error.reason, error.detail
            return
        except Reject:  # counted when the row is made
            return
        text = "\n\n".join(message["content"] for message in prompt if message["role"] == "user")
        overlap = self.index.overlaps([text])[0] if self.index is not None else None
        if overlap is not None:
            self.overlaps[at] = overlap.explain()
        elif config.test_rows and self.reader.place(at)[0] == config.split:
            self.prompts.setdefault(derive_seed("test", config.seed, " ".join(text.split())), []).append(at)

    def _pair(self, at: int, row: dict[str, Any]) -> list[Message]:
        pair = self.reader.pair(row, self.seed_of(at))
        if self.reader.format == "preference":
            self.kinds.setdefault("texts" if isinstance(row["chosen"], str) else "messages", at + 1)
        for name in self.wanted:
            for side, score in zip(("chosen", "rejected"), _both(pair, name), strict=True):
                self._score(name, side, score)
        return pair.prompt

    def _score(self, name: str, side: str, score: float | None) -> None:
        label = f"{name or 'score'}_{side}"
        if score is None:
            raise BadRow("no score", f"{label} is missing")
        low, high = self.declared.get(name, (score, score))
        if not low <= score <= high:
            raise BadRow("score outside of its scale", f"{label} is {score:g}, declared {low:g} to {high:g}")
        least, greatest = self.ends.get(name, (score, score))
        self.ends[name] = min(least, score), max(greatest, score)

    def result(self) -> Survey:
        """What was found. Raises `UsageError`."""
        config = self.reader.config
        if len(self.kinds) > 1:
            where = " and ".join(f"{kind} (row {row:,})" for kind, row in self.kinds.items())
            raise UsageError(f"{config.data} mixes formats: answers are {where}; write all of them in one")
        if self.bad and (config.invalid == "error" or len(self.bad) == self.rows):
            raise UsageError(self._complaint())
        for name, (least, greatest) in self.ends.items():
            if least == greatest:
                raise UsageError(f"every {name or 'score'} in {config.data} is {least:g}: goals need at least two different "
                                 "scores; name who scores them again (reward=hf/ID, judge=openai/NAME)")
        return Survey(self.bad, self.overlaps, dict(self.ends), frozenset(self._test()))

    def _complaint(self) -> str:
        data, total = self.reader.config.data, len(self.bad)
        several = len(self.reader.sources) > 1
        shown = "; ".join(f"row {place:,}{f' of {split}' if several else ''}: {reason}{f' ({detail})' if detail else ''}"
                          for at, (reason, detail) in islice(self.bad.items(), SHOWN)
                          for split, place in [self.reader.place(at)])
        scale = ", declare their scale with source_scale=[least, greatest]" if any(
            reason == "score outside of its scale" for reason, _ in self.bad.values()) else ""
        return (f"{total:,} of {self.rows:,} rows of {data} cannot be used: {shown}{'; ...' if total > SHOWN else ''}. Mend "
                f"them{scale}{', or drop them with invalid=reject' if total < self.rows else ''}")

    def _test(self) -> list[int]:
        """The rows of the test split: whole prompts in the order of their hash, as long as they fit."""
        chosen: list[int] = []
        for _, rows in sorted(self.prompts.items()):
            if len(chosen) + len(rows) <= self.reader.config.test_rows:
                chosen += rows
        return chosen


def _both(pair: ScoredPair, name: str) -> tuple[float | None, float | None]:
    if name == OVERALL:
        return pair.score_chosen, pair.score_rejected
    return pair.attributes_chosen.get(name), pair.attributes_rejected.get(name)
