"""Where the target loses: by category, tag, length of its answer and of the prompt, and rival; and how many rows each k gives."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import NormalDist
from typing import Any

from pica.recipes.arena_learning.fought import mean
from pica.recipes.arena_learning.rows import HELD, KS
from pica.recipes.arena_learning.rules import Rules
from pica.recipes.arena_learning.select import passes
from pica.synth.intervals import wilson
from pica.synth.report import Distribution, Intervals, Lines, Section, Table

Row = Mapping[str, Any]
Found = tuple[bool, bool, float]  # a prompt or a battle: lost by more than k, lost at all, its gap

ANSWER_BINS, PROMPT_BINS = (200, 500, 1000, 2000, 4000), (100, 300, 1000, 3000)  # characters, the first of each further bin
DRAWN = 30  # groups that a chart shows
BY = {"category": "category", "tag": "tag or skill", "answer": "length of the target's answer (characters)",
      "prompt": "length of the prompt (characters)", "rival": "rival"}


@dataclass(frozen=True)
class Group:
    """How the target does on some prompts; or, of a rival, in some battles. Shares are of those with a gap, `n`; their ends are
    Wilson's. `beyond`: lost by more than k. `lost`: lost at all. `mean_gap`: of the means by prompt."""

    name: str
    n: int
    beyond: int
    beyond_low: float
    beyond_high: float
    lost: int
    lost_low: float
    lost_high: float
    mean_gap: float | None

    @classmethod
    def of(cls, name: str, found: Sequence[Found], z: float) -> Group:
        """The group of these prompts or battles."""
        n, beyond, lost = len(found), sum(one[0] for one in found), sum(one[1] for one in found)
        return cls(name, n, beyond, *wilson(beyond, n, z), lost, *wilson(lost, n, z), mean(one[2] for one in found))


@dataclass
class Losses:
    """What `add` has seen so far, a row at a time; only the first row of each prompt counts. `rivals`: how many there are."""

    rules: Rules
    k: float
    level: float
    rivals: int
    counts: Counter[str] = field(default_factory=Counter)
    at: list[int] = field(default_factory=lambda: [0] * len(KS))
    gaps: Distribution = field(default_factory=Distribution)
    greatest: float | None = None
    unfit: Counter[str] = field(default_factory=Counter)
    _by: dict[tuple[str, Any], list[Found]] = field(default_factory=lambda: defaultdict(list))

    def add(self, row: Row) -> None:
        """Count a row."""
        self.counts["selected"] += not row["kept_out"]
        if not row["first"]:
            return
        self.counts["prompts"] += 1
        if row["kept_out"] == HELD:
            self.counts["held"] += 1
            return
        gaps = row["gaps"]
        self.counts.update(battles=len(gaps), lost=row["lost"], lost_at_all=row["lost_at_all"],
                           incomplete=len(gaps) < self.rivals, without_gap=sum(one["gap"] is None for one in gaps),
                           unscored=sum(one["unscored"] for one in gaps))
        self.at = [one + more for one, more in zip(self.at, row["at"], strict=True)]
        self.unfit.update(row["unfit"])
        if row["mean_gap"] is not None:
            self._prompt(row)

    def _prompt(self, row: Row) -> None:
        found = row["lost"], row["lost_at_all"], row["mean_gap"]
        named = [("all", "all prompts"), ("answer", _bin(row["target_length"], ANSWER_BINS)),
                 ("prompt", _bin(row["prompt_length"], PROMPT_BINS)), *(("tag", tag) for tag in dict.fromkeys(row["tags"]))]
        for key in [*named, *([("category", row["category"])] if row["category"] else [])]:
            self._by[key].append(found)
        for one in row["gaps"]:
            if (gap := one["gap"]) is not None:
                self._by["rival", one["rival"]].append((passes(gap, self.rules, self.k), gap > 0, gap))
                self.gaps.add(gap)
                self.greatest = gap if self.greatest is None else max(gap, self.greatest)

    def groups(self, kind: str) -> list[Group]:
        """The groups of a kind (a key of `BY`, or `all`): bins by length, others by the share lost."""
        z = NormalDist().inv_cdf(0.5 + self.level / 2)
        names = {"answer": ANSWER_BINS, "prompt": PROMPT_BINS}.get(kind)
        found = {name: some for (one, name), some in self._by.items() if one == kind}
        if names:
            return [Group.of(_bin_name(place, names), found[place], z) for place in sorted(found)]
        groups = [Group.of(str(name), some, z) for name, some in found.items()]
        return sorted(groups, key=lambda one: (-one.beyond / one.n, -(one.mean_gap or 0.0), one.name))

    def to_json(self) -> dict[str, Any]:
        """For the manifest."""
        return {kind: [asdict(group) for group in self.groups(kind)] for kind in ("all", *BY)}

    def sections(self) -> list[Section]:
        """For the report."""
        more = f"more than {self.k:g}" if self.rules.at_k == "skip" else f"{self.k:g} or more"
        found = list(_sections("all", "all prompts", self.groups("all"), more, self.level))
        for kind, what in BY.items():
            if len(groups := self.groups(kind)) > 1:
                found += _sections(kind, what, groups, more, self.level)
        note = "the rival's score less the target's, by battle; negative: the target did better"
        if self.gaps.n:
            found.append(self.gaps.histogram("Gaps of all battles", note=note))
        rows = [[k, count] for k, count in zip(KS, self.at, strict=True)]
        curve = {"rows": [(float(k), float(count), None, None) for k, count in zip(KS, self.at, strict=True)]}
        return [*found, Lines("Rows selected at each k", curve, x="k", y="rows", note="with all other rules as they are"),
                Table("Rows selected at each k", ["k", "rows"], rows)]


def _sections(kind: str, what: str, groups: Sequence[Group], more: str, level: float) -> Iterable[Section]:
    """A chart and a table of groups; nothing but the table of a single one."""
    unit = "battles" if kind == "rival" else "prompts"
    note = f"share of {unit} lost by {more}, with {level:.0%} intervals"
    if not groups:
        return
    items = [(one.name, 100 * one.beyond / one.n, 100 * one.beyond_low, 100 * one.beyond_high) for one in groups[:DRAWN]]
    if len(groups) > 1:
        shown = f"; the first {DRAWN} of {len(groups)}" if len(groups) > DRAWN else ""
        yield Intervals(f"Where the target loses: by {what}", items, unit="%", note=f"{note}{shown}")
    rows = [[one.name, one.n, _share(one.beyond, one.n, one.beyond_low, one.beyond_high),
             _share(one.lost, one.n, one.lost_low, one.lost_high), f"{one.mean_gap or 0:+.2f}"] for one in groups]
    title = "Where the target loses" if kind == "all" else f"Losses by {what}"
    yield Table(title, ["" if kind == "all" else what, unit, f"lost by {more}", "lost at all", "mean gap"], rows, note=note)


def _share(count: int, n: int, low: float, high: float) -> str:
    return f"{count / n:.1%} ({low:.1%} to {high:.1%})"


def _bin(length: int, edges: Sequence[int]) -> int:
    return sum(length >= edge for edge in edges)


def _bin_name(place: int, edges: Sequence[int]) -> str:
    low = edges[place - 1] if place else 0
    return f"{low:,} to {edges[place] - 1:,}" if place < len(edges) else f"{low:,} or more"
