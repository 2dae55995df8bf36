"""The page of a campaign: ratings over iterations, data, gates, decisions, what the answers look like, cost, and every step.

    write_campaign_report(campaign, folder)     # FOLDER/report.html, of a campaign that runs, stopped or is complete
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pica.recipes.flywheel.config import START
from pica.recipes.flywheel.limits import percent
from pica.recipes.flywheel.records import Campaign, Iteration, Rating, Spent, StepRecord
from pica.synth.progress import duration
from pica.synth.report import Column, Intervals, Lines, Link, Point, Report, ReportInfo, Section, Table, write_report

PAGE = "report.html"
VARIETY = ("distinct_1", "distinct_2", "distinct_3", "self_similarity", "repeated", "topic_entropy")  # between 0 and 1
REFUSED = "\N{BALLOT X} refused"
SPENT = ("calls", "tokens", "dollars", "training steps", "seconds")
_NAMES = ("model_calls", "tokens", "dollars", "training_steps", "seconds")  # of the same as columns: `calls` would be ledger keys
_COLUMNS = (
    Column("iteration", "category", "the turn of the wheel", shown=False),
    Column("step", "category", "what was done", shown=False),
    Column("kind", "category", "battle, select, train or evaluate", shown=False),
    Column("state", "category", "whether it was done", order=("done", "skipped", "stopped")),
    Column("rows", "number", "battles fought, rows selected, rows trained on"),
    Column("model_calls", "number", "answers of models", "calls"), Column("tokens", "number", "of those calls"),
    Column("dollars", "number", "price of those calls"), Column("training_steps", "number", "optimizer steps"),
    Column("seconds", "number", "time of work"), Column("report", "link", "the step's own report"),
    Column("reason", "text", "why it was skipped or stopped", shown=False))


def write_campaign_report(campaign: Campaign, folder: Path) -> ReportInfo:
    """Write the page of the campaign in `folder` to its report.html, whole or not at all."""
    return write_report(campaign_report(campaign, folder), folder / PAGE)


def campaign_report(campaign: Campaign, folder: Path) -> Report:
    """The page of the campaign in `folder`. It links the reports of steps that stand there."""
    turns = [one for one in campaign.iterations if one.number > 0]
    sections = [*_ratings(campaign, turns), *_decisions(turns, folder), *_gates(turns), *_data(turns),
                *_collapse(campaign.iterations), *_cost(campaign)]
    title = f"Flywheel: {len(turns)} iteration{'s' * (len(turns) != 1)}"
    return Report(title=title, subtitle=folder.name, verdict=verdict(campaign),
                  warnings=[*filter(None, [campaign.reason]), *campaign.warnings], facts=_facts(campaign),
                  sections=sections, rows=_rows(campaign, folder), columns=_COLUMNS, preview="what")


def verdict(campaign: Campaign) -> str:
    """What became of a campaign, in a sentence: where it is, who is best, by how much. Why it stopped is its first warning."""
    decided = [one.decision for one in campaign.iterations if one.number > 0 and one.decision]
    promoted = sum(decision.promoted for decision in decided)
    best = "the start" if campaign.best == START else campaign.best
    standing = f"{promoted} of {len(decided)} iteration{'s' * (len(decided) != 1)} promoted: {best} is "
    standing += f"the best{_lead(campaign)}" if promoted else "still the best"
    if not decided:
        standing = "no iteration is decided yet"
    if campaign.state == "stopped":
        return f"Stopped{_at(campaign)}: {standing}"
    return f"Running{_at(campaign)}: {standing}" if campaign.state == "running" else standing[0].upper() + standing[1:]


def _lead(campaign: Campaign) -> str:
    """The best model's lead over the start, with its interval: `, +85 [40, 130] above the start`."""
    by_label = {one.model: one for one in campaign.ratings}
    best, start = by_label.get(campaign.best), by_label.get(START)
    if best is None or start is None:
        return ""
    if best.rating is None or start.rating is None:
        why = next((f"{one.model}: {one.unbounded}" for one in (best, start) if one.unbounded), "")
        return f", its lead over the start has no figure ({why})" if why else ""
    low, high = _ends(best, campaign.ratings)
    ends = "" if low is None or high is None else f" [{_points(low - start.rating)}, {_points(high - start.rating)}]"
    return f", {_points(best.rating - start.rating, '+')}{ends} above the start"


def _points(value: float, sign: str = "") -> str:
    whole = "\N{INFINITY}" if math.isinf(value) else f"{abs(value):.0f}"
    return f"{chr(0x2212) if value <= -0.5 else sign}{whole}"


def _ends(rating: Rating, among: Sequence[Rating]) -> tuple[float | None, float | None]:
    """Both ends of an interval, infinite where nothing bounds one of them; None, None where no model has an interval."""
    if all(one.lower is None and one.upper is None for one in among):
        return None, None
    return -math.inf if rating.lower is None else rating.lower, math.inf if rating.upper is None else rating.upper


def _at(campaign: Campaign) -> str:
    """Where a campaign has got to, or where it stopped."""
    if stopped := [(one, step) for one in campaign.iterations for step in one.steps if step.state == "stopped"]:
        return f" in {stopped[-1][0].candidate}, {stopped[-1][1].name}"
    open_ones = [one for one in campaign.iterations if one.decision is None and one.number > 0]
    if not open_ones:
        return ""
    done = f" after {open_ones[-1].steps[-1].name}" if open_ones[-1].steps else ""
    return f" (iteration {open_ones[-1].number}{done})"


def _facts(campaign: Campaign) -> list[tuple[str, str]]:
    spent = campaign.spent
    return [("state", campaign.state), ("best model", campaign.best_model), ("calls", f"{spent.calls:,}"),
            ("tokens", f"{spent.tokens:,}"), ("cost", f"${spent.cost:,.2f}"), ("training steps", f"{spent.train_steps:,}"),
            ("time", duration(spent.seconds))]


# ---- sections ----


def _ratings(campaign: Campaign, turns: Sequence[Iteration]) -> list[Section]:
    """The candidates over iterations with the best so far, then all models beside each other, then their figures."""
    candidates = [(0, START), *((one.number, one.candidate) for one in turns)]
    stairs: list[tuple[int, str]] = [(0, START)]
    for one in turns:
        if one.decision:
            stairs += [(one.number, stairs[-1][1]), (one.number, one.decision.best)]
    drawn = _points_of(candidates, campaign.ratings)
    best = [(x, y, None, None) for x, y, _, _ in _points_of(stairs, campaign.ratings)]
    found: list[Section] = []
    if len(drawn) > 1:
        found.append(Lines("Ratings over iterations", {"candidate": drawn, "best so far": best}, x="iteration", y="rating",
                           note="on prompts that no training saw; iteration 0 is the start; the band is the interval"
                                f"{_open_ends(candidates, campaign.ratings)}"))
    return [*found, *_models(campaign)] if campaign.ratings else found


def _open_ends(labels: Sequence[tuple[int, str]], ratings: Sequence[Rating]) -> str:
    """What a curve cannot show: who has no rating, and whose interval is open, where the band ends at the rating."""
    said = [_bounds(one, ratings) for _, label in labels for one in ratings if one.model == label]
    return "".join(f"; {one}" for one in said if one)


def _bounds(rating: Rating, among: Sequence[Rating]) -> str:
    """A model's interval in words, where an end of it is open; empty where none is."""
    low, high = _ends(rating, among)
    if rating.rating is None:
        return f"{rating.model} has no rating{f' ({rating.unbounded})' if rating.unbounded else ''}"
    if low is None or high is None or (math.isfinite(low) and math.isfinite(high)):
        return ""
    if math.isinf(low) and math.isinf(high):
        return f"{rating.model} may have any"
    return f"{rating.model} has at least {low:,.0f}" if math.isfinite(low) else f"{rating.model} has at most {high:,.0f}"


def _models(campaign: Campaign) -> list[Section]:
    """All models: a plot of those that have a rating, and a table with everything, where an end without a bound is empty."""
    names = {one.model: f"{one.model} (best)" if one.model == campaign.best else one.model for one in campaign.ratings}
    known = [(names[one.model], one.rating, *_ends(one, campaign.ratings)) for one in campaign.ratings if one.rating is not None]
    missing = [f"{one.model} ({one.unbounded})" if one.unbounded else one.model for one in campaign.ratings if one.rating is None]
    note = f" Without a rating: {', '.join(missing)}." if missing else ""
    rows = [[names[one.model], one.rating, one.lower, one.upper, one.n, one.unbounded or None] for one in campaign.ratings]
    return [Intervals("All models", sorted(known, key=lambda item: -item[1]), note=f"{campaign.method}{note}"),
            Table("Ratings", ["model", "rating", "at least", "at most", "games", "unbounded"], rows,
                  note="at least, at most: the ends of the interval; without a figure nothing bounds it there")]


def _points_of(labels: Sequence[tuple[int, str]], ratings: Sequence[Rating]) -> list[Point]:
    """A point for each (iteration, label) that has a rating."""
    return [(number, one.rating, *_ends(one, ratings)) for number, label in labels for one in ratings
            if one.model == label and one.rating is not None]


def _decisions(turns: Sequence[Iteration], folder: Path) -> list[Section]:
    rows = []
    for one in turns:
        page = next((page for step in one.steps if step.kind == "evaluate" and (page := _page(folder, step.folder))), "")
        told: tuple[str | None, ...] = ("open", None, None)
        if one.decision:
            told = ("promoted" if one.decision.promoted else REFUSED, one.decision.best, one.decision.reason)
        rows.append([Link(f"iteration {one.number}", page), one.started_from, *told])
    return [Table("Decisions", ["iteration", "started from", "decision", "best afterwards", "reason"], rows)] if rows else []


def _gates(turns: Sequence[Iteration]) -> list[Section]:
    rows = [[f"iteration {one.number}", gate.name, "passed" if gate.passed else REFUSED, gate.value, gate.limit,
             percent(gate.level) if gate.level else None, gate.reason] for one in turns for gate in one.gates]
    return [Table("Gates", ["iteration", "gate", "outcome", "value", "limit", "level", "reason"], rows,
                  note="a model is promoted when it passes all of them; level: of the interval that the value is an end of")
            ] if rows else []


def _data(turns: Sequence[Iteration]) -> list[Section]:
    """Battles, rows selected of them, and what was trained on, by iteration and stage."""
    rows: list[Sequence[object]] = []
    selected: dict[str, list[Point]] = {}
    for one in turns:
        steps = {step.name: step for step in one.steps}
        for stage in dict.fromkeys([*one.data, *(step.name for step in one.steps if step.kind == "train")]):
            fought, own, trained = (steps.get(name) for name in (f"battles-{stage}", f"data-{stage}", stage))
            prompts = fought.figures.get("prompts") if fought else None
            percent = round(100 * own.rows / prompts, 1) if own and prompts else None
            rows.append([f"iteration {one.number}", stage, prompts, fought.rows if fought else None, one.data.get(stage), percent,
                         trained.rows if trained else None, trained.spent.train_steps if trained else None])
            if stage in one.data:
                selected.setdefault(stage, []).append((one.number, one.data[stage], None, None))
    header = ["iteration", "stage", "prompts", "battles", "data", "percent", "trained on", "training steps"]
    note = "rows; percent: rows selected of the stage's own battles, by prompts"
    table = [Table("Data", header, rows, note=note)] if rows else []
    return [*table, *_lines("Data over iterations", selected, y="rows")]


def _lines(title: str, series: dict[str, list[Point]], y: str = "", note: str = "") -> list[Section]:
    """Curves over iterations, where there is one to draw."""
    drawn = any(len(points) > 1 for points in series.values())
    return [Lines(title, series, x="iteration", y=y, note=note)] if drawn else []


def _collapse(iterations: Sequence[Iteration]) -> list[Section]:
    """What the answers look like over iterations (see `pica.eval.collapse`): all figures, and the most telling ones drawn."""
    looked = [one for one in iterations if one.collapse]
    names = list(dict.fromkeys(name for one in looked for name in one.collapse))
    if not names:
        return []
    variety = {name: points for name in VARIETY if (points := _curve(looked, name))}
    rows = [[name, *(one.collapse.get(name) for one in looked)] for name in names]
    return [
        *_lines("Variety of the answers", variety, note="fewer distinct n-grams, or answers more alike, are signs of collapse"),
        *_lines("Length of the answers", {"length_ratio": _curve(looked, "length_ratio")}, note="words, over those of the start"),
        *_lines("Divergence from the start", {"kl": _curve(looked, "kl")}, y="KL"),
        Table("What the answers look like", ["figure", *(one.candidate for one in looked)], rows)]


def _curve(looked: Sequence[Iteration], name: str) -> list[Point]:
    """A figure over iterations, with its interval where there is one."""
    return [(one.number, value, one.collapse.get(f"{name}_lower"), one.collapse.get(f"{name}_upper")) for one in looked
            if (value := one.collapse.get(name)) is not None]


def _cost(campaign: Campaign) -> list[Section]:
    """What was used by iteration, and by step over all iterations."""
    steps = [(one.number, step) for one in campaign.iterations for step in one.steps]
    if not steps and campaign.spent == Spent():
        return []
    by_turn = _sums(steps, lambda number, _: f"iteration {number}" if number else START)
    rest = _less(campaign.spent, sum(by_turn.values(), Spent()))
    lines = [[name, *_figures(spent)] for name, spent in by_turn.items()]
    lines += [["everything else", *_figures(rest)]] if rest != Spent() else []
    lines.append(["all", *_figures(campaign.spent)])
    by_step = [[name, *_figures(spent)] for name, spent in _sums(steps, lambda _, step: step.name).items()]
    found: list[Section] = [Table("Cost by iteration", ["", *SPENT], lines, note="everything else: what belongs to no "
                                                                                 "step, such as making prompts ready")]
    return [*found, Table("Cost by step", ["step", *SPENT], by_step, note="all iterations together")] if by_step else found


def _sums(steps: Sequence[tuple[int, StepRecord]], name: Callable[[int, StepRecord], str]) -> dict[str, Spent]:
    found: dict[str, Spent] = {}
    for number, step in steps:
        key = name(number, step)
        found[key] = found.get(key, Spent()) + step.spent
    return found


def _less(whole: Spent, part: Spent) -> Spent:
    """What is left, never below nothing: steps may overlap in time."""
    pairs = zip(msgspec.structs.astuple(whole), msgspec.structs.astuple(part), strict=True)
    return Spent(*(max(round(a - b, 9), 0) for a, b in pairs))


def _figures(spent: Spent) -> tuple[float, ...]:
    return (spent.calls, spent.tokens, round(spent.cost, 4), spent.train_steps, round(spent.seconds, 1))


# ---- steps ----


def _rows(campaign: Campaign, folder: Path) -> list[dict[str, Any]]:
    """Every step, by iteration; behind them what else has a report in the folder, such as the prompts that were made ready."""
    rows = [(one.number, _row(one.candidate, step, folder)) for one in campaign.iterations for step in one.steps]
    labels = {-1: "campaign", **{one.number: one.candidate for one in campaign.iterations}}
    known = {row["id"] for _, row in rows}
    for path in sorted(folder.glob(f"pool/{PAGE}")) + sorted(folder.glob(f"*/*/{PAGE}")) + sorted(folder.glob(f"*/*/*/{PAGE}")):
        place, number = path.parent.relative_to(folder), _number_of(path.parent.relative_to(folder))
        if number in labels and place.as_posix() not in known:
            rows.append((number, {"id": place.as_posix(), "what": f"{labels[number]}: {place.name}", "iteration": labels[number],
                                  "step": place.name, "report": f"{place.as_posix()}/{PAGE}"}))
    return [row for _, row in sorted(rows, key=lambda numbered: numbered[0])]


def _number_of(place: Path) -> int | None:
    """The iteration that a folder belongs to; -1 for the whole campaign, None for none."""
    if len(place.parts) < 3:
        return {"pool": -1, START: 0}.get(place.parts[0])
    return int(place.parts[1]) if place.parts[0] == "iterations" and place.parts[1].isdigit() else None


def _row(iteration: str, step: StepRecord, folder: Path) -> dict[str, Any]:
    """A step as the page lists it."""
    return {"id": step.folder, "what": f"{iteration}: {step.name}", "iteration": iteration, "step": step.name, "kind": step.kind,
            "state": step.state, "rows": step.rows, **dict(zip(_NAMES, _figures(step.spent), strict=True)),
            "report": _page(folder, step.folder), "reason": step.reason, "figures": step.figures}


def _page(folder: Path, step: str) -> str:
    """The path of a step's report, relative to the campaign's; empty where there is none."""
    return f"{step}/{PAGE}" if step and (folder / step / PAGE).is_file() else ""
