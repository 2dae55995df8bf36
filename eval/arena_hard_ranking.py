"""Arena-Hard's leaderboard: every model's score, by category too, what a reader must know first, and the report's sections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pica.eval.arena_hard_board import Counting, Effect, Row, Scores, scores_of
from pica.eval.arena_hard_labels import NO_TEXT, NONE, NULL, UNKNOWN
from pica.eval.bias import Leanings, leanings
from pica.eval.leaderboard import Entry, Leaderboard
from pica.eval.means import Estimate
from pica.eval.report import judge_sections, neighbours
from pica.eval.style_effects import style_effects
from pica.synth.errors import UsageError
from pica.synth.report import Intervals, Section, Table

MOST_KINDS = 20  # subcategories that are shown
UNITS = {"": "", "tokens": "length is in tokens, as the answers' files say", "characters": "length is in characters"}


@dataclass(frozen=True)
class Ranking:
    """The leaderboard and what it came from. `groups`: scores by category, and by subcategory, in order of their names."""

    board: Leaderboard
    rows: Sequence[Row]
    overall: Scores
    categories: Mapping[str, Scores]
    tags: Mapping[str, Scores]
    leaning: Leanings
    how: Counting

    def sections(self) -> list[Section]:
        """Categories, style effects, neighbours, the judges' leanings."""
        order = [entry.model for entry in self.board.entries]
        found: list[Section] = [_by(title, order, groups, self.board.level) for title, groups in
                                (("By category", self.categories), ("By subcategory", self.tags)) if groups]
        if self.overall.effects:
            found += _style_sections(self.overall.effects, self.board.level, UNITS[self.overall.unit])
        else:
            found += style_effects([dict(row) for row in self.rows], strong=self.how.strong, level=self.board.level,
                                   rounds=self.how.rounds, seed=self.how.seed).sections()
        found += neighbours(self.rows, [entry.model for entry in self.board.entries if entry.n], self.board.level)
        return [*found, *judge_sections(self.leaning), *_judges(self.rows)]


def rank(rows: Sequence[Row], how: Counting, *, expected: Mapping[str, int], warnings: Sequence[str] = ()) -> Ranking:
    """The ranking of battle rows whose answer a is the baseline's. `expected`: rows that there should be, by label. `warnings`:
    what is known to be wrong with the input."""
    overall = scores_of(rows, how)
    lost = list[str]()
    categories = _groups(rows, "category", how, lost)
    tags = _groups(rows, "tag", replace(how, style=None), lost) if len({row["tag"] for row in rows}) <= MOST_KINDS else {}
    leaning = leanings(rows)
    baselines = dict.fromkeys(row["model_a"] for row in rows)
    entries = [_entry(label, rows, overall, categories, number, how) for label, number in expected.items()]
    entries += [_baseline(label, rows, categories, how, alone=len(baselines) == 1)
                for label in baselines if label not in expected]
    told = [*warnings, *_unscored(rows, how, overall), *_mixed(rows, baselines), *lost, *leaning.warnings()]
    board = Leaderboard.ranked(entries, _metric(baselines, how), _method(how, overall), level=how.level, warnings=told)
    return Ranking(board, rows, overall, categories, tags, leaning, how)


def _groups(rows: Sequence[Row], key: str, how: Counting, lost: list[str]) -> dict[str, Scores]:
    """Scores by the value of a column, where it has several."""
    names = sorted({row[key] for row in rows})
    found = {}
    for name in names if len(names) > 1 else ():
        own = [row for row in rows if row[key] == name]
        try:
            found[name or "none"] = scores_of(own, how)
        except UsageError as error:
            lost.append(f"{key} {name!r} has no scores: {error}")
    return found


def _entry(label: str, rows: Sequence[Row], overall: Scores, categories: Mapping[str, Scores], expected: int,
           how: Counting) -> Entry:
    own = [row for row in rows if row["model_b"] == label]
    played, estimate = overall.played, overall.scores.get(label)
    more = {"level": how.level, "is_baseline": False, "prompts": estimate.prompts if estimate else 0,
            "coverage": round(len(own) / expected, 4), "dropped": played.dropped[label],
            **_record(own), **_lengths(own, "b"), **_by_category(label, categories)}
    if how.style is not None and label in overall.plain:
        more["score_without_style_control"] = _percent(overall.plain[label].value)
    return Entry(label, *_ends(estimate), estimate.n if estimate else 0, played.unscored[label], expected - len(own), more)


def _baseline(label: str, rows: Sequence[Row], categories: Mapping[str, Scores], how: Counting, *, alone: bool) -> Entry:
    """The baseline's own line: half of the win by definition; without a score where it is one of several."""
    own = [row for row in rows if row["model_a"] == label]
    here = {row["category"] or "none" for row in own}
    half = {f"{part}_{name}": 50.0 if name in here else None for name in categories for part in ("score", "lower", "upper")}
    ends = 50.0 if alone else None
    more = {"level": how.level, "is_baseline": True, "prompts": len({row["task"] for row in own}), "coverage": 1.0, "dropped": 0,
            **_lengths(own, "a"), **half}
    return Entry(label, ends, ends, ends, 0, more=more)


def _record(own: Sequence[Row]) -> dict[str, int]:
    outcomes = Counter(row["outcome"] for row in own)
    return {"wins": outcomes["b"], "ties": outcomes["tie"], "losses": outcomes["a"]}


def _lengths(own: Sequence[Row], side: str) -> dict[str, float | None]:
    """Mean tokens, where the answers' files say them, and characters of a model's answers."""
    by_task = {row["task"]: row for row in own}
    tokens = [row[f"tokens_{side}"] for row in by_task.values() if row[f"tokens_{side}"] is not None]
    lengths = [row[f"length_{side}"] for row in by_task.values() if row["answers_known"]]
    return {"avg_tokens": _mean(tokens), "mean_length": _mean(lengths)}


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 1) if values else None


def _by_category(label: str, categories: Mapping[str, Scores]) -> dict[str, float | None]:
    found = {}
    for name, scores in categories.items():
        for part, value in zip(("score", "lower", "upper"), _ends(scores.scores.get(label)), strict=True):
            found[f"{part}_{name}"] = value
    return found


def _ends(estimate: Estimate | None) -> tuple[float | None, float | None, float | None]:
    """Score and both ends, in percent."""
    if estimate is None:
        return None, None, None
    return _percent(estimate.value), _percent(estimate.lower), _percent(estimate.upper)


def _percent(share: float) -> float | None:
    return None if share != share else 100 * share  # noqa: PLR0124 - NaN: too few prompts for an interval


def _metric(baselines: Mapping[str, None], how: Counting) -> str:
    against = " or ".join(baselines) if len(baselines) < 4 else "the baseline of its category"
    return f"share of the win against {against}, in percent{', style taken out' if how.style else ''}"


def _method(how: Counting, overall: Scores) -> str:
    base = {"pica": "Games won, ties as half; intervals draw prompts with all their games anew.",
            "v0.1": "Bradley-Terry over all games; intervals draw games anew as if they were independent, which makes them too "
                    "narrow (Arena-Hard v0.1).",
            "v2": "Mean over draws of a model's games, a judgment left out whole where a game has no verdict; intervals draw "
                  "games anew as if they were independent, which makes them too narrow (Arena-Hard v2)."}[how.convention]
    told = [base, f"{how.level:.0%} intervals of {how.rounds:,} draws; `much better` counts {how.strong} times."]
    if how.style is not None:
        told.append(f"Style control ({how.style.convention}): {', '.join(how.style.features)}; {UNITS[overall.unit]}.")
        if overall.unstyled:
            told.append(f"{overall.unstyled:,} rows without known answers are left out.")
    return " ".join(told)


def _unscored(rows: Sequence[Row], how: Counting, overall: Scores) -> list[str]:
    """What has no verdict, and why, in a line."""
    problems = Counter(game["problem"] for row in rows for game in row["games"] if game["verdict"] is None)
    unknown = Counter({problem.removeprefix(f"{UNKNOWN} "): number for problem, number in problems.items()
                       if problem.startswith(UNKNOWN)})
    told = [f"{problems[why]:,} {what}" for why, what in ((NULL, "null"), (NONE, "without a label"), (NO_TEXT, "without text"))
            if problems[why]]
    if unknown:
        shown = ", ".join(repr(label) for label, _ in unknown.most_common(5))
        told.append(f"{unknown.total():,} with labels that are no verdict ({shown}{', ...' if len(unknown) > 5 else ''})")
    dropped = overall.played.dropped.total()
    rest = f"; score=v2 also leaves out the {dropped:,} other games of their judgments" if dropped else ""
    if not told:
        return []
    return [f"{sum(problems.values()):,} games are unscored and count for nobody: {', '.join(told)}{rest}"]


def _mixed(rows: Sequence[Row], baselines: Mapping[str, None]) -> list[str]:
    """What makes scores hard to compare: other judges, other questions, other baselines."""
    judges: dict[str, set[str]] = {}
    tasks: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        judges.setdefault(row["model_b"], set()).update(game["judge"] for game in row["games"])
        tasks.setdefault((row["model_a"], row["model_b"]), set()).add(row["task"])
    found = []
    if len(panels := {frozenset(names) for names in judges.values()}) > 1:
        told = "; ".join(" and ".join(sorted(names)) for names in sorted(panels, key=sorted)[:4])
        found.append(f"not all models have the same judges ({told}); scores by different judges do not compare")
    every: dict[str, set[str]] = {}
    for (baseline, _), own in tasks.items():
        every.setdefault(baseline, set()).update(own)
    short = {label: len(own) for (baseline, label), own in tasks.items() if own != every[baseline]}
    if short:
        told = ", ".join(f"{label} on {number:,}" for label, number in list(short.items())[:4])
        found.append(f"models were judged on different questions ({told}{', ...' if len(short) > 4 else ''}, of "
                     f"{sum(map(len, every.values())):,}); the report compares neighbours on those that they share")
    if len(baselines) > 1:
        found.append("categories have different baselines; the score over all mixes them, so read it by category")
    return found


def _by(title: str, order: Sequence[str], groups: Mapping[str, Scores], level: float) -> Table:
    lines = [[label, *(_cell(scores.scores.get(label)) for scores in groups.values())] for label in order]
    return Table(title, ["model", *groups], lines, note=f"score in percent, with its {level:.0%} interval")


def _cell(estimate: Estimate | None) -> str:
    score, lower, upper = _ends(estimate)
    if score is None:
        return "-"
    return f"{score:.1f}" if lower is None or upper is None else f"{score:.1f} ({lower:.1f} to {upper:.1f})"


def _style_sections(effects: Sequence[Effect], level: float, unit: str) -> list[Section]:
    items = [(effect.feature, effect.value, effect.lower, effect.upper) for effect in effects]
    note = (f"log odds of winning for one standard deviation more of a feature, with its {level:.0%} interval; above 0, the "
            f"judge favours more of it; {unit}")
    lines = [[name, *(round(number, 4) for number in numbers)] for name, *numbers in items]
    return [Intervals("Style effects", items, note=note),
            Table("Style effects in figures", ["feature", "effect", "lower", "upper"], lines)]


def _judges(rows: Sequence[Row]) -> list[Section]:
    """Each judge by itself, where there are several."""
    names = list(dict.fromkeys(game["judge"] for row in rows for game in row["games"]))
    lines: list[list[Any]] = []
    for judge in names if len(names) > 1 else ():
        found = leanings([{**row, "games": [game for game in row["games"] if game["judge"] == judge]} for row in rows
                          if any(game["judge"] == judge for game in row["games"])])
        lines.append([judge, found.unscored.n, found.unscored.count, _share(found.first_place.value), _share(found.longer.value),
                      _share(found.flipped.value)])
    header = ["judge", "games", "unscored", "first place wins", "longer answer wins", "winner changes with the order"]
    return [Table("Each judge", header, lines)] if lines else []


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
