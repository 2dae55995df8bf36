"""`pica eval compare A B`: what changed from one evaluation to another, model by model, with a paired test over tasks.

A model's score on a task is its share of the win against the rivals that both evaluations have, or the score it was given.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from pica.eval.paired import Paired
from pica.eval.paired import compare as paired
from pica.eval.power import detectable
from pica.synth.errors import FolderError, UsageError
from pica.synth.folder import differences
from pica.synth.source import open_source

Row = Mapping[str, Any]
TEXTS = frozenset({"prompt", "answer_a", "answer_b", "answer", "games", "calls"})  # long columns that no comparison needs


@dataclass(frozen=True)
class Change:
    """How one model did in the second evaluation against the first. `p_adjusted`: by Holm's method over all models compared.
    `visible`: the smallest difference that so many tasks find with probability .8, NaN with one task."""

    model: str
    paired: Paired
    p_adjusted: float
    visible: float

    def to_json(self) -> dict[str, Any]:
        """For programs; numbers that do not exist are None."""
        flat = {"model": self.model, **asdict(self.paired), "p_adjusted": self.p_adjusted, "visible": self.visible}
        return {key: None if isinstance(value, float) and not isfinite(value) else value for key, value in flat.items()}


@dataclass(frozen=True)
class Comparison:
    """Two evaluations beside each other. `settings`: how their configs differ. `only_first`, `only_second`: models of one alone.
    `apart`: models that no task was scored for in both. `outcomes`: battles of both by (outcome in the first, in the second)."""

    first: str
    second: str
    settings: Sequence[str]
    changes: Sequence[Change]
    only_first: Sequence[str]
    only_second: Sequence[str]
    apart: Sequence[str]
    outcomes: Mapping[tuple[str, str], int]

    def text(self) -> str:
        """For a terminal."""
        lines = [f"{self.first} -> {self.second}"]
        lines += [f"  setting {difference}" for difference in self.settings] or ["  the same settings"]
        for what, names in ((f"only in {self.first}", self.only_first), (f"only in {self.second}", self.only_second),
                            ("scored on no task that both have", self.apart)):
            lines += [f"  {what}: {', '.join(names)}"] if names else []
        width = max([len(change.model) for change in self.changes] + [5])
        lines.append(f"{'model':<{width}}  {'change':>8}  {'interval':>18}  {'p (Holm)':>8}  {'tasks':>5}  visible from")
        for change in self.changes:
            one = change.paired
            ends = f"{one.lower:+.3f} to {one.upper:+.3f}" if isfinite(one.lower) else "-"
            visible = f"{change.visible:.3f}" if isfinite(change.visible) else "-"
            lines.append(f"{change.model:<{width}}  {one.difference:>+8.3f}  {ends:>18}  {change.p_adjusted:>8.3f}  "
                         f"{one.prompts:>5,}  {visible}")
        moved = {pair: count for pair, count in self.outcomes.items() if pair[0] != pair[1]}
        if self.outcomes:
            told = "; ".join(f"{a} -> {b}: {count:,}" for (a, b), count in sorted(moved.items(), key=lambda item: -item[1]))
            lines.append(f"outcomes: {sum(moved.values()):,} of {sum(self.outcomes.values()):,} shared battles changed"
                         f"{f' ({told})' if told else ''}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {"first": self.first, "second": self.second, "settings": list(self.settings),
                "changes": [change.to_json() for change in self.changes],
                "only_first": list(self.only_first), "only_second": list(self.only_second), "apart": list(self.apart),
                "outcomes": [{"first": a, "second": b, "battles": count} for (a, b), count in sorted(self.outcomes.items())]}


def compare(first: Path, second: Path, *, seed: int = 0) -> Comparison:
    """Compare two evaluation folders. Raises `UsageError` where they are of different benchmarks or share nothing."""
    (facts_a, rows_a), (facts_b, rows_b) = _read(first), _read(second)
    if facts_a["recipe"] != facts_b["recipe"]:
        raise UsageError(f"{first} is of {facts_a['recipe']} and {second} of {facts_b['recipe']}; compare evaluations of one "
                         "benchmark")
    rivals = set(_models(rows_a)) & set(_models(rows_b))
    scores_a, scores_b = task_scores(rows_a, rivals), task_scores(rows_b, rivals)
    common = [model for model in scores_a if model in scores_b]
    if not common:
        raise UsageError(f"{first} and {second} have no model in common: {', '.join(_models(rows_a))}; "
                         f"{', '.join(_models(rows_b))}")
    shared = [model for model in common if _scored(scores_a[model]) & _scored(scores_b[model])]
    if not shared:
        raise UsageError(f"{first} and {second}: no model was scored on a task that both have; compare evaluations on the same "
                         "tasks, whose judge gives verdicts that can be read")
    tests = [paired(scores_a[model], scores_b[model], seed=seed) for model in shared]
    adjusted = holm([test.p_value for test in tests])
    changes = [Change(model, test, p, visible(test)) for model, test, p in zip(shared, tests, adjusted, strict=True)]
    outcomes = {row["id"]: row["outcome"] for row in rows_a if "outcome" in row}
    moved = Counter((outcomes[row["id"]], row["outcome"]) for row in rows_b if row["id"] in outcomes)
    return Comparison(str(first), str(second), list(differences(facts_a["config"], facts_b["config"])), changes,
                      [model for model in _models(rows_a) if model not in _models(rows_b)],
                      [model for model in _models(rows_b) if model not in _models(rows_a)],
                      [model for model in common if model not in shared], moved)


def task_scores(rows: Iterable[Row], rivals: set[str]) -> dict[str, dict[str, float | None]]:
    """Every model's score by task: the mean of its shares against `rivals` (of battles), or of its scores."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.get("contestant") is not None:  # rows of an audit beside it leave the columns of battles empty
            found[row["contestant"]][row["task"]] += [] if row["score"] is None else [row["score"]]
            continue
        for model, rival, share in ((row["model_a"], row["model_b"], row["share_a"]),
                                    (row["model_b"], row["model_a"], None if row["share_a"] is None else 1 - row["share_a"])):
            if rival in rivals:
                found[model][row["task"]] += [] if share is None else [share]
    return {model: {task: sum(values) / len(values) if values else None for task, values in tasks.items()}
            for model, tasks in sorted(found.items())}


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (1979): what keeps the chance of any false alarm at the level of one test."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def _models(rows: Iterable[Row]) -> list[str]:
    return sorted({row[key] for row in rows for key in ("model_a", "model_b", "contestant") if row.get(key) is not None})


def _scored(scores: Mapping[str, float | None]) -> set[str]:
    """The tasks that have a score."""
    return {task for task, score in scores.items() if score is not None}


def visible(test: Paired) -> float:
    """The smallest true difference that so many tasks find with probability .8; NaN with one task."""
    return detectable(test.spread, test.prompts).difference if test.prompts > 1 else float("nan")


def _read(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Manifest and rows of a finished evaluation."""
    if not (folder / "leaderboard.json").is_file():
        raise UsageError(f"{folder} is no finished evaluation: it has no leaderboard.json; give one that `pica eval` made")
    source = open_source(str(folder))
    if source.manifest is None:
        raise FolderError(f"{folder} is not complete (no manifest.json); give the command that made it again")
    return source.manifest, [{key: value for key, value in row.items() if key not in TEXTS} for row in source]
