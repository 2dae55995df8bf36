"""A judge beside people: how far they agree beyond chance, and win rates that are corrected by what people said.

People's verdicts come from a file with `task, model_a, model_b, outcome` (a, b or tie), in any order of the two models. The
battles that they labelled must be a random sample of all battles; then the corrected figures are right however wrong the judge
is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from pica.eval.corrections import corrected, prevalence
from pica.eval.means import mean
from pica.eval.reliability import kappa
from pica.synth.errors import UsageError
from pica.synth.source import open_source

Row = Mapping[str, Any]
Labels = Mapping[tuple[str, str, str], str]  # (task, model_a, model_b), both ways round -> a, b or tie

OUTCOMES = ("a", "tie", "b")
MIRROR = {"a": "b", "b": "a", "tie": "tie"}
SHARE = {"a": 1.0, "tie": 0.5, "b": 0.0}


@dataclass(frozen=True)
class Corrections:
    """A model's share of the win over its battles, and how often it wins outright: by the judge alone, by people on the
    labelled battles, and by the judge corrected (`corrected`: prediction-powered; `wins_corrected`: Rogan-Gladen). `note`: why a
    figure is missing."""

    model: str
    battles: int
    labelled: int
    judge: float
    lower: float | None
    upper: float | None
    people: float | None = None
    corrected: float | None = None
    corrected_lower: float | None = None
    corrected_upper: float | None = None
    wins_judge: float | None = None
    wins_corrected: float | None = None
    wins_lower: float | None = None
    wins_upper: float | None = None
    note: str = ""


@dataclass(frozen=True)
class People:
    """Judge and people on the same battles. `n`: with both verdicts; `unscored`: labelled ones without the judge's; `unmatched`:
    labels of battles that were not fought. `counts`: (judge, people) of those with both."""

    n: int
    unscored: int
    unmatched: int
    agreement: float | None
    kappa: float | None
    counts: Mapping[tuple[str, str], int]
    models: Sequence[Corrections]

    def to_json(self) -> dict[str, Any]:
        """For `audit.json`."""
        return {"n": self.n, "unscored": self.unscored, "unmatched": self.unmatched, "agreement": self.agreement,
                "kappa": self.kappa, "counts": [{"judge": judge, "people": people, "battles": count}
                                                for (judge, people), count in sorted(self.counts.items())],
                "models": [asdict(model) for model in self.models]}


def read_labels(name: str) -> dict[tuple[str, str, str], str]:
    """People's verdicts, each under both orders of its models. Raises `UsageError` naming the row."""
    found: dict[tuple[str, str, str], str] = {}
    for number, row in enumerate(open_source(name), 1):
        missing = [key for key in ("task", "model_a", "model_b", "outcome") if not isinstance(row.get(key), str)]
        if missing:
            raise UsageError(f"{name}, row {number}: {', '.join(missing)} must be text; a label has task, model_a, model_b, "
                             "outcome")
        task, one, other, outcome = row["task"], row["model_a"], row["model_b"], row["outcome"]
        if outcome not in OUTCOMES:
            raise UsageError(f"{name}, row {number}: outcome {outcome!r}; allowed: {', '.join(OUTCOMES)}")
        if (task, one, other) in found:
            raise UsageError(f"{name}, row {number}: a second label for {one} and {other} on task {task}; keep one")
        found[task, one, other], found[task, other, one] = outcome, MIRROR[outcome]
    return found


def beside_people(rows: Sequence[Row], labels: Labels, *, level: float = 0.95) -> People:
    """The judge's outcomes of battles between models beside people's."""
    keys = [(row["task"], row["model_a"], row["model_b"]) for row in rows]
    unmatched = len(labels) // 2 - sum(key in labels for key in keys)
    if rows and unmatched == len(labels) // 2:
        raise UsageError(f"no label is of a battle that is fought here, such as {' against '.join(keys[0][1:])} on task "
                         f"{keys[0][0]}; give labels of these models and tasks")
    both = [(row["outcome"], labels[key]) for row, key in zip(rows, keys, strict=True)
            if key in labels and row["outcome"] != "unscored"]
    beyond = kappa([judge for judge, _ in both], [people for _, people in both]) if both else float("nan")
    models = dict.fromkeys(row[side] for row in rows for side in ("model_a", "model_b"))
    return People(len(both), sum(key in labels for key in keys) - len(both), unmatched,
                  sum(judge == people for judge, people in both) / len(both) if both else None,
                  beyond if isfinite(beyond) else None, Counter(both),
                  [correct(model, rows, labels, level=level) for model in models])


def correct(model: str, rows: Sequence[Row], labels: Labels, *, level: float = 0.95) -> Corrections:
    """One model's figures over its battles with a verdict of the judge."""
    judge, people, tasks = [], [], []
    for row in rows:
        if model not in (row["model_a"], row["model_b"]) or row["outcome"] == "unscored":
            continue
        mirrored = row["model_b"] == model
        told = labels.get((row["task"], row["model_a"], row["model_b"]))
        judge.append(SHARE[MIRROR[row["outcome"]] if mirrored else row["outcome"]])
        people.append(None if told is None else SHARE[MIRROR[told] if mirrored else told])
        tasks.append(row["task"])
    plain = mean(judge, prompt=tasks, bounds=(0, 1), level=level)
    ends = {"lower": plain.lower, "upper": plain.upper} if isfinite(plain.lower) else {"lower": None, "upper": None}
    known = [place for place, share in enumerate(people) if share is not None]
    base: dict[str, Any] = {"model": model, "battles": len(judge), "labelled": len(known), "judge": plain.value, **ends}
    guess, truth = [judge[place] for place in known], [share for share in people if share is not None]
    try:
        return Corrections(**base, **_powered(judge, known, guess, truth, level), **_outright(judge, guess, truth, level))
    except UsageError as error:
        return Corrections(**base, note=str(error))


def _powered(judge: Sequence[float], known: Sequence[int], guess: Sequence[float], truth: Sequence[float],
             level: float) -> dict[str, Any]:
    seen = set(known)
    rest = [share for place, share in enumerate(judge) if place not in seen]
    found = corrected(rest, guess, truth, level=level)
    return {"people": found.human_only, "corrected": found.value, "corrected_lower": found.lower, "corrected_upper": found.upper}


def _outright(judge: Sequence[float], guess: Sequence[float], truth: Sequence[float], level: float) -> dict[str, Any]:
    said, heard, told = ([int(share == 1) for share in shares] for shares in (judge, guess, truth))
    try:
        found = prevalence(said, heard, told, level=level)
    except UsageError as error:
        return {"wins_judge": sum(said) / len(said), "note": str(error)}
    return {"wins_judge": found.observed, "wins_corrected": found.value, "wins_lower": found.lower, "wins_upper": found.upper}
