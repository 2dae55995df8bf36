"""WildBench's official files, made up: from nothing, or so that they come to published counts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from pica.eval.wildbench_scores import GROUPS

#: a tag for each group
TAG = {group: tag for tag, group in reversed(GROUPS.items())}
CUT = "... (truncated)"
LONG, SHORT = "x" * 900, "x" * 100  # farther apart than 500 characters, nearer than 1,000
JUDGE = "gpt-4o-2024-05-13"


def write(folder: Path, name: str, records: Sequence[Any]) -> Path:
    """A file of records, as an array or, by its name, as lines."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    text = json.dumps(records) if name.endswith(".json") else "".join(json.dumps(record) + "\n" for record in records)
    path.write_text(text, encoding="utf-8")
    return path


def score_record(task: str, score: Any, answer: str = "An answer.", *, model: str = "org/m", **more: Any) -> dict[str, Any]:
    """A record of a score from a batch."""
    return {"session_id": task, "parsed_result": {"strengths": "clear", "weaknesses": "short", "score": score},
            "meta_data": {"batch_req_id": "batch_req_1", "usage": {}, "error": None}, "model_test": model, "score": score,
            "model_output": answer, **more}


def pair_record(task: str, model: str, baseline: str, extent: int, outputs: tuple[str, str] = ("An answer.", "Another."), *,
                first: str = "model", **more: Any) -> dict[str, Any]:
    """A record of a verdict from a batch: `extent` 2 (the model is much better) to -2; `outputs`: of the model, the baseline."""
    sides = (model, baseline) if first == "model" else (baseline, model)
    winner = "tie" if not extent else model if extent > 0 else baseline
    choice = "A=B" if not extent else ("A" if winner == sides[0] else "B") + "+" * abs(extent)
    return {"session_id": task, "parsed_result": {"reason of A=B": "", "reason of A>B": "better", "choice": choice},
            "meta_data": {"batch_req_id": "batch_req_2", "usage": {}, "error": None}, "model_A": sides[0], "model_B": sides[1],
            "winner": winner, "extent": abs(extent), "model_outputs": dict(zip((model, baseline), outputs, strict=True)), **more}


def tags(groups: Iterable[str]) -> dict[str, Any]:
    """Columns of a task that belongs to these groups."""
    first, *rest = (TAG[group] for group in groups)
    return {"primary_tag": first, "secondary_tags": rest}


def dealt(total: int, by_group: Mapping[str, int]) -> list[list[str]]:
    """The groups of `total` tasks, each of one at least, so that as many belong to each group as `by_group` says."""
    found: list[list[str]] = [[] for _ in range(total)]
    place = 0
    for group, count in by_group.items():
        for _ in range(count):
            found[place % total].append(group)
            place += 1
    assert all(found), "every task has a group"
    return found


def published_pairs(model: str, baseline: str, free: Mapping[str, Any], limited: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Records that come to the published counts without a length penalty (`free`) and with K=500 (`limited`)."""
    records: list[dict[str, Any]] = []
    task = f"{baseline} {{}}".format
    for name, extent in (("win_much", 2), ("win", 1), ("tie", 0), ("lose", -1), ("lose_much", -2)):
        groups = {group: counts[name] for group, counts in free["task_categorized_results"].items()}
        kept, kept_groups = free[name], groups
        if abs(extent) == 1:  # those that the length bought
            kept = limited[name]
            kept_groups = {group: counts[name] for group, counts in limited["task_categorized_results"].items()}
            longer = (LONG, SHORT) if extent > 0 else (SHORT, LONG)
            bought = dealt(free[name] - kept, {group: groups[group] - kept_groups[group] for group in groups})
            records += [pair_record(task(len(records) + number), model, baseline, extent, longer, **tags(own))
                        for number, own in enumerate(bought)]
        records += [pair_record(task(len(records) + number), model, baseline, extent, (SHORT, SHORT), **tags(own),
                                first="baseline" if number % 2 else "model")
                    for number, own in enumerate(dealt(kept, kept_groups))]
    while len(records) < free["total"]:  # judged, and not counted
        outputs = (SHORT + CUT, SHORT) if len(records) % 2 else ("[This model response is empty.]", SHORT)
        records.append(pair_record(task(len(records)), model, baseline, 2, outputs, **tags(["Creative Tasks"])))
    return records


def published_scores(model: str, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Records that come to the published scores of the groups, a group a task."""
    records = []
    for group, adjusted in row["task_categorized_scores"].items():
        mean = Fraction(adjusted / 2 + 5).limit_denominator(1024)
        low, more = divmod(mean.numerator, mean.denominator)
        scores = [low + (number < more) for number in range(mean.denominator)]
        records += [score_record(f"{group} {number}", str(score), model=model, **tags([group]))
                    for number, score in enumerate(scores)]
    return records


def published_totals(model: str, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Records without tags that come to the published score over all, total and mean length."""
    total, points = row["total"], round(row["score"] * row["total"])
    length = Fraction(row["avg_len"]).limit_denominator(1024)
    low, more = divmod(points, total)
    short, longer = divmod(length.numerator, length.denominator)
    answers = ["x" * (short + (number < longer)) for number in range(length.denominator)]
    answers += ["" if number % 2 else "x" + CUT for number in range(total - len(answers))]
    return [score_record(f"{number}", low + (number < more), answers[number], model=model) for number in range(total)]
