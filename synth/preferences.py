"""What is wrong with, and what is biased in, a set of preference pairs: `diagnose(pairs).warnings()`.

Pairs are read once; of each only hashes and numbers are kept (150 bytes). Two prompts are one when they differ only in
case and spacing; answers are compared exactly. Every finding has its count, its share, the first rows and a mend.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pica.synth.formats import Pair
from pica.synth.intervals import mean_interval, wilson
from pica.synth.models.base import Message
from pica.synth.report import Distribution, Intervals, Section, Table
from pica.synth.style import Style, measure

MANY = 3         # an answer under so many prompts is not written for one of them
COMMON = 0.05    # share of pairs with such an answer from which on it is worth a warning
BIASED = 0.6     # share of pairs (with its whole interval) from which on a feature is worth a warning
SHOWN = 5        # first rows that a finding names

Numbers = NDArray[np.float64]
Hashes = NDArray[np.uint64]
Mask = NDArray[np.bool_]
FEATURES = Style._fields


@dataclass(frozen=True)
class Finding:
    """`count` of `of` pairs have it. `rows`: the first of them, counted from 1. `serious`: worth a warning."""

    name: str
    what: str
    count: int
    of: int
    mend: str
    rows: tuple[int, ...]
    serious: bool

    @property
    def share(self) -> float:
        """Of the pairs that it was looked for in; 0 of none."""
        return self.count / self.of if self.of else 0.0

    def __str__(self) -> str:
        rows = ", ".join(f"{row:,}" for row in self.rows) + (", ..." if self.count > len(self.rows) else "")
        where = f"row{'s' if self.count > 1 else ''} {rows}"
        return f"{self.count:,} of {self.of:,} pairs ({self.share:.1%}): {self.what} ({where}); {self.mend}"


@dataclass(frozen=True)
class Bias:
    """How chosen differs from rejected in one feature of style.

    `more`, `fewer`, `same`: pairs in which chosen has more, fewer, as many. `share` is `more` of those that differ, with
    Wilson's 95% interval. `mean`: of the difference, chosen less rejected, with its 95% interval; for characters and
    words of the difference of log(1 + count), so that 0.1 is about 10% longer. NaN where there is too little to tell.
    """

    feature: str
    more: int
    fewer: int
    same: int
    share: float
    low: float
    high: float
    mean: float
    mean_low: float
    mean_high: float

    @property
    def serious(self) -> bool:
        """Whether the whole interval of the share lies beyond `BIASED`, on either side."""
        return self.more + self.fewer > 0 and (self.low > BIASED or self.high < 1 - BIASED)

    def __str__(self) -> str:
        have = {"characters": "is longer (characters)", "words": "is longer (words)", "code_blocks": "has more code blocks",
                "bold": "has more bold spans", "lists": "has more list items"}.get(self.feature, f"has more {self.feature}")
        return (f"chosen {have} in {self.share:.1%} [{self.low:.1%}, {self.high:.1%}] of the {self.more + self.fewer:,} pairs "
                f"that differ: training may learn that instead of quality; balance it, or use a loss that allows for it")


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found. `splits`: pairs by split. `scored`: pairs with both scores. `margins`: of those, the score of
    chosen less that of rejected. `ordered`: whether chosen was expected to have the higher score."""

    pairs: int
    splits: dict[str, int]
    scored: int
    margins: Distribution
    findings: tuple[Finding, ...]
    biases: tuple[Bias, ...]
    ordered: bool

    def warnings(self) -> list[str]:
        """A line for each finding and bias that is worth it, with its mend."""
        return [*(str(item) for item in self.findings if item.serious), *(str(item) for item in self.biases if item.serious)]

    def sections(self) -> list[Section]:
        """Sections for a report."""
        if not self.pairs:
            return []
        found = [[item.what, item.count, item.of, f"{item.share:.1%}", item.mend if item.count else ""]
                 for item in self.findings]
        sizes = ", ".join(f"{name} {count:,}" for name, count in self.splits.items())
        sections: list[Section] = [Table("Preference pairs", ["what was looked for", "pairs", "of", "share", "mend"], found,
                                         note=f"pairs by split: {sizes}")]
        if self.scored:
            sections.append(self.margins.histogram("Margin of the pairs", note="score of chosen less score of rejected"))
        return [*sections, *self._style()]

    def _style(self) -> list[Section]:
        shares = [(item.feature.replace("_", " "), item.share, item.low, item.high)
                  for item in self.biases if item.more + item.fewer]
        note = "share of the pairs that differ, with 95% intervals; 0.5 is no bias"
        rows = [[item.feature.replace("_", " "), item.more, item.fewer, item.same, _round(item.mean),
                 f"{_round(item.mean_low)} to {_round(item.mean_high)}"] for item in self.biases]
        means = Table("Style of chosen against rejected",
                      ["feature", "chosen has more", "fewer", "as many", "mean difference", "95% interval"], rows,
                      note="characters and words: difference of log(1 + count), so 0.1 is about 10% longer")
        return [*([Intervals("Chosen has more", shares, note=note)] if shares else []), means]

    def to_json(self) -> dict[str, Any]:
        """For manifests: plain values, None for what cannot be told."""
        margins = self.margins
        return {
            "pairs": self.pairs, "splits": self.splits, "scored": self.scored,
            "margin": {"mean": _known(margins.mean), "median": _known(margins.quantile(0.5)),
                       "least": _known(margins.least), "greatest": _known(margins.greatest)},
            "findings": {item.name: {"count": item.count, "of": item.of, "share": item.share, "rows": list(item.rows)}
                         for item in self.findings},
            "style": {item.feature: {name: _known(value) for name, value in asdict(item).items() if name != "feature"}
                      for item in self.biases},
        }


def diagnose(pairs: Iterable[Pair], splits: Iterable[str] | None = None, *, ordered: bool = True) -> Diagnosis:
    """Look at all pairs. `splits`: the split of each (default: all `train`). `ordered`: chosen should have the higher score;
    false for pairs whose scores are goals, as reward augmentation makes them."""
    tally = _Tally()
    if splits is None:
        for pair in pairs:
            tally.add(pair, "train")
    else:
        for pair, split in zip(pairs, splits, strict=True):
            tally.add(pair, split)
    return tally.diagnosis(ordered)


class _Tally:
    """Hashes and numbers of the pairs so far."""

    def __init__(self) -> None:
        self.prompt, self.chosen, self.rejected = array("Q"), array("Q"), array("Q")
        self.split, self.names = array("H"), dict[str, int]()
        self.scores = array("d"), array("d")
        self.style = array("q"), array("q")  # of chosen, of rejected; the features of a pair stand together
        self.flags = array("B"), array("B")  # an answer is empty; both answers begin with the prompt

    def add(self, pair: Pair, split: str) -> None:
        self.prompt.append(_hash(pair.prompt, plain=True))
        self.chosen.append(_hash(pair.chosen))
        self.rejected.append(_hash(pair.rejected))
        self.split.append(self.names.setdefault(split, len(self.names)))
        texts = [_said(side) for side in (pair.chosen, pair.rejected)]
        asked = pair.prompt[-1]["content"].strip() if pair.prompt else ""
        self.flags[0].append(not all(text.strip() for text in texts))
        self.flags[1].append(bool(asked) and all(text.lstrip().startswith(asked) for text in texts))
        for counts, text in zip(self.style, texts, strict=True):
            counts.extend(measure(text))
        for scores, score in zip(self.scores, (pair.score_chosen, pair.score_rejected), strict=True):
            scores.append(math.nan if score is None else score)

    def diagnosis(self, ordered: bool) -> Diagnosis:
        margin, scored = self._margins()
        names = list(self.names)
        sizes = Counter(self.split)
        findings = [*self._content(), *self._scores(margin, scored, ordered)]
        return Diagnosis(len(self.prompt), {name: sizes[place] for place, name in enumerate(names)},
                         int(scored.sum()), Distribution(margin[scored].tolist()), tuple(findings),
                         tuple(self._biases()), ordered)

    def _margins(self) -> tuple[Numbers, Mask]:
        high, low = (np.asarray(scores, dtype=np.float64) for scores in self.scores)
        scored = np.isfinite(high) & np.isfinite(low)
        with np.errstate(over="ignore", invalid="ignore"):
            return high - low, scored

    def _content(self) -> list[Finding]:
        prompt, chosen, rejected = (np.asarray(hashes, dtype=np.uint64) for hashes in (self.prompt, self.chosen, self.rejected))
        pair = _key(prompt, chosen, rejected)
        equal, copy = chosen == rejected, _seen(pair)
        flipped = np.isin(_key(prompt, rejected, chosen), pair) & ~equal
        empty, echo = (np.asarray(flags, dtype=np.bool_) for flags in self.flags)
        split = np.asarray(self.split, dtype=np.uint64)
        both = prompt[_first(_key(prompt, split))]  # once for every split that a prompt stands in
        leaked = np.isin(prompt, _more_than(both, 1))
        answers = np.concatenate([chosen, rejected])
        common = _more_than(answers[_first(_key(answers, np.concatenate([prompt, prompt])))], MANY - 1)
        often = np.isin(chosen, common) | np.isin(rejected, common)
        return [
            _finding("equal_answers", "chosen equals rejected", equal, "drop them: there is nothing to learn from"),
            _finding("empty_answers", "chosen or rejected is empty", empty, "drop them, or make the answers again"),
            _finding("copies", "the same pair stands in an earlier row", copy, "keep one of each"),
            _finding("contradictions", "another row prefers the other of the same two answers", flipped,
                     "keep the one with the larger margin, or neither"),
            _finding("leaked_prompts", "the prompt stands in another split too", leaked,
                     "split by prompt, or drop them from train: a test on them measures memory"),
            _finding("repeated_prompts", "the prompt stands in an earlier row, with other answers",
                     _seen(prompt) & ~copy, "fine in one split; weigh prompts equally if some stand far more often",
                     least=math.inf),
            _finding("common_answers", f"an answer that stands under {MANY} prompts or more", often,
                     "look whether it answers them: refusals and set phrases repeat", least=COMMON),
            _finding("echoes", "both answers begin with the prompt", echo,
                     "if the prompt was repeated there, take it off; trainers put it before the answers again"),
        ]

    def _scores(self, margin: Numbers, scored: Mask, ordered: bool) -> list[Finding]:
        count = int(scored.sum())
        if not count:
            return []
        values = np.concatenate([np.asarray(scores)[scored] for scores in self.scores])
        alike = scored if (values == values[0]).all() else np.zeros_like(scored)
        found = [
            _finding("unscored", "a score is missing", ~scored, "score them, or drop them where margins count"),
            _finding("one_score", "all scores are one value", alike, "score again, with another judge or scale", of=count),
            _finding("ties", "both answers have one score", scored & (margin == 0),
                     "drop them, or ask for a least margin: the preference is a coin's", of=count)]
        if ordered:
            found.append(_finding("inversions", "chosen has the lower score", scored & (margin < 0),
                                  "swap or drop them, or check which way the scores run", of=count))
        return found

    def _biases(self) -> list[Bias]:
        chosen, rejected = (np.asarray(counts, dtype=np.int64).reshape(-1, len(FEATURES)) for counts in self.style)
        return [_bias(name, chosen[:, place], rejected[:, place]) for place, name in enumerate(FEATURES)]


def _bias(feature: str, chosen: NDArray[np.int64], rejected: NDArray[np.int64]) -> Bias:
    more, fewer = int((chosen > rejected).sum()), int((chosen < rejected).sum())
    low, high = wilson(more, more + fewer)
    length = feature in {"characters", "words"}
    difference = np.log1p(chosen) - np.log1p(rejected) if length else (chosen - rejected).astype(np.float64)
    share = more / (more + fewer) if more + fewer else math.nan
    return Bias(feature, more, fewer, len(chosen) - more - fewer, share, low, high, *mean_interval(difference))


def _finding(name: str, what: str, mask: Mask, mend: str, *, of: int | None = None, least: float = 0.0) -> Finding:
    """A finding of the pairs in `mask`; serious from any pair on, or from share `least` on."""
    count, total = int(mask.sum()), len(mask) if of is None else of
    rows = tuple(int(row) + 1 for row in np.flatnonzero(mask)[:SHOWN])
    return Finding(name, what, count, total, mend, rows, count > 0 and count / total >= least)


def _hash(turns: Sequence[Message], *, plain: bool = False) -> int:
    """64 bits of the messages; `plain`: of their words, whatever the case and spacing."""
    digest = blake2b(digest_size=8)
    for turn in turns:
        text = " ".join(turn["content"].casefold().split()) if plain else turn["content"]
        for part in (turn["role"], text):
            data = part.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "little") + data)
    return int.from_bytes(digest.digest(), "little")


def _said(turns: Sequence[Message]) -> str:
    """What the assistant says."""
    return "\n\n".join(turn["content"] for turn in turns if turn["role"] == "assistant")


def _key(*columns: Hashes) -> Hashes:
    """One hash of several columns, row by row; unsigned arithmetic wraps."""
    out = np.zeros_like(columns[0])
    for column in columns:
        out = (out ^ column) * np.uint64(0x9E3779B97F4A7C15)
        out ^= out >> np.uint64(29)
    return out


def _first(keys: Hashes) -> NDArray[np.intp]:
    """The places where each value stands first."""
    return np.unique(keys, return_index=True)[1]


def _seen(keys: Hashes) -> Mask:
    """Which values stand earlier already."""
    mask = np.ones(len(keys), dtype=np.bool_)
    mask[_first(keys)] = False
    return mask


def _more_than(keys: Hashes, often: int) -> Hashes:
    """The values that stand more than `often` times."""
    values, counts = np.unique(keys, return_counts=True)
    return values[counts > often]


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _round(value: float) -> str:
    return f"{value:+.3g}" if math.isfinite(value) else "unknown"
