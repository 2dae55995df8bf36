"""A leaderboard: one entry a model, with its interval and what was not scored; as JSON, CSV and text."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pica.synth.report import Intervals, Table

UNBOUNDED = "unbounded"


@dataclass(frozen=True)
class Entry:
    """One model's place. `score` with the ends of its interval, infinite where nothing bounds them; `n`: scored games or answers;
    `unscored`: those without a verdict; `missing`: judgments that could not be made. `more`: what a benchmark adds, flat; under
    `UNBOUNDED` why a score has no bound, None where it has."""

    model: str
    score: float | None
    lower: float | None
    upper: float | None
    n: int
    unscored: int = 0
    missing: int = 0
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Leaderboard:
    """Entries, best first. `metric`: what `score` is, with its unit. `method`: how score and interval came about, in a sentence.
    `warnings`: what a reader must know first."""

    entries: Sequence[Entry]
    metric: str
    method: str
    level: float = 0.95
    warnings: Sequence[str] = ()

    @classmethod
    def ranked(cls, entries: Sequence[Entry], metric: str, method: str, *, level: float = 0.95,
               warnings: Sequence[str] = ()) -> Leaderboard:
        """The entries by score, best first, equals by name, those without a score last. Infinite ones stay as they are given."""
        def place(entry: Entry) -> tuple[bool, float, str]:
            none = entry.score is None or math.isnan(entry.score)
            endless = entry.score is not None and math.isinf(entry.score)
            return none, 0.0 if none else -(entry.score or 0.0), "" if endless else entry.model

        order = sorted(entries, key=place)
        return cls(order, metric, method, level, tuple(warnings))

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]], metric: str, method: str, level: float,
           warnings: Sequence[str]) -> Leaderboard:
        """The leaderboard that `leaderboard.json` holds."""
        known = [name for name in Entry.__dataclass_fields__ if name != "more"]
        entries = [Entry(**{name: row[name] for name in known},
                         more={name: value for name, value in row.items() if name not in known}) for row in rows]
        return cls(entries, metric, method, level, tuple(warnings))

    def to_list(self) -> list[dict[str, Any]]:
        """One flat mapping a model; numbers that do not exist, or are infinite, are None."""
        flat = []
        for entry in self.entries:
            values = asdict(entry)
            flat.append({key: _number(value) for key, value in {**values, **values.pop("more")}.items() if key != "more"})
        return flat

    def to_json(self) -> str:
        """The list as JSON: what `leaderboard.json` holds."""
        return json.dumps(self.to_list(), indent=2, ensure_ascii=False) + "\n"

    def to_csv(self) -> str:
        """The list as CSV with a header."""
        rows = self.to_list()
        names = list(dict.fromkeys(key for row in rows for key in row))
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return buffer.getvalue()

    def text(self) -> str:
        """The leaderboard for a terminal; warnings come first."""
        width = max([len(entry.model) for entry in self.entries] + [5])
        lines = [f"warning: {warning}" for warning in self.warnings]
        lines.append(f"{'model':<{width}}  {'score':>9}  {f'{self.level:.0%} interval':>20}  {'n':>7}  unscored")
        for entry in self.entries:
            ends = f"{_shown(entry.lower)} to {_shown(entry.upper)}" if entry.n else "-"
            score = UNBOUNDED if entry.more.get(UNBOUNDED) else _shown(entry.score)
            lines.append(f"{entry.model:<{width}}  {score:>9}  {ends:>20}  {entry.n:>7,}  {entry.unscored:,}")
        return "\n".join([*lines, f"score: {self.metric}"])

    def sections(self) -> list[Intervals | Table]:
        """The leaderboard for a report: a plot with intervals, and a table with everything."""
        scored = [(entry.model, entry.score, entry.lower, entry.upper) for entry in self.entries
                  if entry.score is not None and math.isfinite(entry.score)]
        known = {model for model, *_ in scored}
        apart = [f"{entry.model} ({entry.more.get(UNBOUNDED) or 'no score'})" for entry in self.entries
                 if entry.model not in known]
        note = f" Not in the plot: {', '.join(apart)}." if apart else ""
        rows = self.to_list()
        names = list(dict.fromkeys(key for row in rows for key in row))
        return [Intervals("Leaderboard", scored, note=f"{self.metric}. {self.method}{note}"),
                Table("All figures", names, [[row.get(name) for name in names] for row in rows])]


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _shown(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.1f}"
