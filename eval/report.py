"""The report of an evaluation: the leaderboard with its intervals first, then what so many tasks can show, categories, who beats
whom, what style does, what the judges lean to, and every battle with both answers and all verdicts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import isfinite
from typing import Any

from pica.eval.bias import Leanings, Share
from pica.eval.compare import holm, task_scores, visible
from pica.eval.leaderboard import Leaderboard
from pica.eval.means import Estimate, mean
from pica.eval.paired import Paired, compare
from pica.synth.errors import UsageError
from pica.synth.report import Column, Intervals, Matrix, Pane, Section, Side
from pica.synth.report import Table as Figures

MOST_MODELS = 40      # in a matrix
MOST_NEIGHBOURS = 40  # that are compared
FEW_MODELS = 6        # whose names fit above a matrix, and tenths of percents into it
LONG_NAME = 14        # characters of the longest name that fits there
BATTLES = Pane((Side("answer_a", "A", name="model_a"), Side("answer_b", "B", name="model_b")), title="Battle", outcome="outcome",
               games="games")
BATTLE_COLUMNS = (
    Column("outcome", "category", "who won, all orders together", order=("a", "tie", "b", "unscored")),
    Column("agreement", "category", "whether the orders agree", order=("same", "differ", "single", "none")),
    Column("model_a", "category", "who wrote answer a"), Column("model_b", "category", "who wrote answer b"),
    Column("category", "category", "category of the task"), Column("task", "text", "id of the task"),
    Column("share_a", "number", "a's share of the win"),
    Column("flags", "category", "what was broken up or noticed in the answers", shown=False),
    Column("length_a", "number", "characters of answer a", shown=False),
    Column("length_b", "number", "characters of answer b", shown=False))


def warnings_of(manifest: dict[str, Any]) -> list[str]:
    """What a reader must know first: the evaluation's own warnings, then what could not be judged."""
    rows, warnings = manifest["rows"], list(manifest["notes"].get("warnings", []))
    if rows["rejected"]:
        missing = ", ".join(f"{reason}: {number:,}" for reason, number in rows["rejected"].items())
        warnings.append(f"{sum(rows['rejected'].values()):,} of {rows['in']:,} judgments could not be made ({missing})")
    return warnings


def first_line(board: Leaderboard, warnings: Sequence[str]) -> str:
    """The line that a person reads first: a warning where there is one, else who leads."""
    best = next((entry for entry in board.entries if entry.score is not None), None)
    return warnings[0] if warnings else f"{best.model} leads {len(board.entries)} models" if best else "Nobody has a score"


def battle_sections(rows: Sequence[Mapping[str, Any]], models: Sequence[str], leaning: Leanings) -> list[Section]:
    """Categories, who beats whom, and what the judges lean to."""
    found: list[Section] = []
    by_category, by_rival = _shares(rows)
    categories = sorted({row["category"] for row in rows if row["category"]})
    if len(categories) > 1:
        cells = {(model, category): _cell(_mean(by_category.get((model, category), ()))) for model in models
                 for category in categories}
        found.append(_table(models, categories, cells))
    shown = models[:MOST_MODELS]
    if len(shown) > 2:
        digits = 1 if len(shown) <= FEW_MODELS else None
        values = [[_percent(by_rival.get((one, other), ()), digits) for other in shown] for one in shown]
        found.append(_matrix(shown, len(models), values))
    return [*found, *judge_sections(leaning)]


def _table(models: Sequence[str], categories: Sequence[str], cells: Mapping[tuple[str, str], str]) -> Section:
    """Categories down or across, whichever are more down."""
    note = "share of the win, in percent, with its 95 % interval over tasks; a tie is half a win"
    if len(categories) > len(models):
        lines = [[category, *(cells[model, category] for model in models)] for category in categories]
        return Figures("By category", ["category", *models], lines, note=note)
    lines = [[model, *(cells[model, category] for category in categories)] for model in models]
    return Figures("By category", ["model", *categories], lines, note=note)


def _matrix(shown: Sequence[str], models: int, values: Sequence[Sequence[float | None]]) -> Section:
    """Who beats whom; long names stand once, under a number."""
    note = "share of the win of the row's model against the column's, in percent; best model first"
    note += f"; the first {len(shown)} of {models} models" if len(shown) < models else ""
    if len(shown) <= FEW_MODELS and max(map(len, shown)) <= LONG_NAME:
        return Matrix("Who beats whom", shown, values, note=note)
    numbers = [str(place) for place in range(1, len(shown) + 1)]
    labels = [f"{place} {model}" for place, model in enumerate(shown, 1)]
    return Matrix("Who beats whom", labels, values, columns=numbers, note=f"{note}; columns by the numbers of the rows")


def judge_sections(leaning: Leanings, more: Sequence[Share] = ()) -> list[Section]:
    """What the judges lean to."""
    shares = [share for share in (*leaning.shares(), *more) if share.n]
    items = [(share.name, 100 * (share.value or 0), 100 * share.ends[0], 100 * share.ends[1]) for share in shares]
    table = [[share.name, share.count, share.n, _share(share)] for share in shares]
    return [Intervals("What the judge leans to", items, unit="%",
                      note="a judge without a lean gives the first place half of the games"),
            Figures("The judge in figures", ["what", "count", "of", "share"], table)] if shares else []


def neighbours(rows: Sequence[Mapping[str, Any]], models: Sequence[str], level: float = 0.95) -> list[Section]:
    """Every model against the next one below, task by task, and the smallest difference that so many tasks can show. `models`:
    best first."""
    rated = [row for row in rows if "share_a" in row or "contestant" in row]
    scores = task_scores(rated, {row[side] for row in rated if "share_a" in row for side in ("model_a", "model_b")})
    pairs = [pair for pair in pairwise(model for model in models if model in scores)][:MOST_NEIGHBOURS]
    tests = [_test(scores[lower], scores[upper], level) for upper, lower in pairs]
    adjusted = iter(holm([test.p_value for test in tests if test]))
    lines = [_line(*pair, test, next(adjusted) if test else None) for pair, test in zip(pairs, tests, strict=True)]
    header = ["model", "next below", "difference", "interval", "p (Holm)", "tasks", "visible from"]
    what = "share of the win" if any("share_a" in row for row in rated) else "score"
    note = (f"difference of the mean {what} on shared tasks, with its {level:.0%} interval; p by sign flips, for all pairs "
            "together (Holm). Visible from: the smallest true difference that so many tasks find with a chance of 80 %; a "
            "smaller one may go unseen")
    return [Figures("Neighbours compared", header, lines, note=note)] if lines else []


def _test(lower: Mapping[str, float | None], upper: Mapping[str, float | None], level: float) -> Paired | None:
    """The one above minus the one below; None where no task has a score of both."""
    try:
        return compare(lower, upper, level=level)
    except UsageError:
        return None


def _line(upper: str, lower: str, test: Paired | None, adjusted: float | None) -> list[object]:
    if test is None or adjusted is None:
        return [upper, lower, "-", "-", "-", 0, "-"]
    ends = f"{test.lower:+.3f} to {test.upper:+.3f}" if isfinite(test.lower) else "-"
    least = visible(test)
    return [upper, lower, f"{test.difference:+.3f}", ends, f"{adjusted:.3f}", test.prompts,
            f"{least:.3f}" if isfinite(least) else "-"]


Shares = list[tuple[str, float | None]]  # (task, share of the win)


def _shares(rows: Sequence[Mapping[str, Any]]) -> tuple[dict[tuple[str, str], Shares], dict[tuple[str, str], Shares]]:
    """Every model's shares of the win: by (model, category) and by (model, rival)."""
    by_category: dict[tuple[str, str], Shares] = defaultdict(list)
    by_rival: dict[tuple[str, str], Shares] = defaultdict(list)
    for row in rows:
        share = row["share_a"]
        for model, rival, own in ((row["model_a"], row["model_b"], share),
                                  (row["model_b"], row["model_a"], None if share is None else 1 - share)):
            by_category[model, row["category"]].append((row["task"], own))
            by_rival[model, rival].append((row["task"], own))
    return by_category, by_rival


def _mean(shares: Sequence[tuple[str, float | None]]) -> Estimate:
    return mean([share for _, share in shares], prompt=[task for task, _ in shares], bounds=(0, 1), rounds=400)


def _percent(shares: Sequence[tuple[str, float | None]], digits: int | None) -> float | None:
    known = [share for _, share in shares if share is not None]
    return round(100 * sum(known) / len(known), digits) if known else None


def _cell(estimate: Estimate) -> str:
    if not estimate.n:
        return "-"
    if estimate.prompts < 2:
        return f"{100 * estimate.value:.0f} (1 task)"
    return f"{100 * estimate.value:.0f} ({100 * estimate.lower:.0f} to {100 * estimate.upper:.0f})"


def _share(share: Share) -> str:
    lower, upper = share.ends
    return f"{share.value or 0:.1%} ({lower:.1%} to {upper:.1%})"
