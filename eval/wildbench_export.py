"""A WildBench evaluation written as the official files, so that the benchmark's own code and others can go on with it.

    official/result_dirs/wild_bench_v2/MODEL.json
    official/eval_results/score.v2/eval=JUDGE/MODEL.json
    official/eval_results/pairwise.v2/eval=JUDGE/ref=BASELINE/MODEL.json
    official/leaderboard/score.json, pairwise-BASELINE-K=LIMIT.json

Records that came from such files are written as they came. Those made here bear our judge's words, and the tags of their task.
As in the published files, a judgment without a verdict has no record. A pair that was judged in both orders has two. A name that
a model or judge bears becomes a file name by `safe_names` only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import isnan
from typing import Any

from pica.eval.arena_hard_export import safe_names
from pica.eval.battle import MIRROR
from pica.eval.judge import SCORE
from pica.eval.wildbench_figures import Figures
from pica.eval.wildbench_files import CHOICES, EMPTY, TIE, Record
from pica.eval.wildbench_parts import against, extents, groups_in
from pica.eval.wildbench_ranking import Ranking
from pica.eval.wildbench_scores import Outcomes, adjusted
from pica.synth.structured import Unparsed, parse_json

Row = Mapping[str, Any]
Given = Callable[[Row], Sequence[Record]]  # the records that a row came from; none where it was judged here
_WRITTEN = {label: choice for choice, label in CHOICES.items()}


def official_files(ranking: Ranking, given: Given) -> dict[str, str]:
    """Texts by path, below the evaluation's folder."""
    files: dict[tuple[str, ...], list[Record]] = {}
    for row in ranking.rows:
        for model, record in _results(row):
            files.setdefault(("result_dirs/wild_bench_v2", model), []).append(record)
        for place, record in _judgments(row, given(row)):
            files.setdefault(place, []).append(record)
    names = safe_names({part for place in files for part in place[1:]} | set(ranking.counting.baselines))
    texts = {f"{_path(place, names)}.json": _json(_once(records)) for place, records in files.items()}
    tables = {f"leaderboard/{name}.json": _json(table) for name, table in _tables(ranking, names).items()}
    return {f"official/{name}": text for name, text in {**texts, **tables}.items()}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def _path(place: tuple[str, ...], names: Mapping[str, str]) -> str:
    folder, *rest = place
    prefixes = {1: [""], 2: ["eval=", ""], 3: ["eval=", "ref=", ""]}[len(rest)]
    return "/".join([folder, *(f"{prefix}{names[part]}" for prefix, part in zip(prefixes, rest, strict=True))])


def _once(records: Iterable[Record]) -> list[Record]:
    """The records without repeats: an answer stands in several battles."""
    return list({json.dumps(record, sort_keys=True, default=str): record for record in records}.values())


def _results(row: Row) -> Iterator[tuple[str, Record]]:
    """(model, its answer) of a row whose answers are known."""
    sides = [("contestant", "answer")] if "contestant" in row else [("model_a", "answer_a"), ("model_b", "answer_b")]
    for who, what in sides if row["answers_known"] else ():
        yield row[who], {"session_id": row["task"], "chat_history": [message["content"] for message in row["prompt"]],
                         "output": [row[what]], "generator": row[who], "dataset": "wild_bench_v2", **_tags(row)}


def _tags(row: Row) -> dict[str, Any]:
    return {"primary_tag": row["tags"][0], "secondary_tags": row["tags"][1:]} if row["tags"] else {}


def _judgments(row: Row, given: Sequence[Record]) -> Iterator[tuple[tuple[str, ...], Record]]:
    """(where it belongs, record) of every judgment of a row that has a verdict, and of every given one."""
    single = "contestant" in row
    made = [one for one in row["grades" if single else "games"] if given or one["score" if single else "verdict"] is not None]
    records = given or [(_score_record if single else _pair_record)(row, one) for one in made]
    for one, record in zip(made, records, strict=True):
        place = ("eval_results/score.v2", one["judge"], row["contestant"]) if single else (
            "eval_results/pairwise.v2", one["judge"], row["model_a"], row["model_b"])
        yield place, record


def _meta(one: Row) -> dict[str, Any]:
    return {"batch_req_id": one["call"], "usage": None, "error": None}


def _score_record(row: Row, grade: Row) -> Record:
    try:
        found = parse_json(grade["text"], SCORE.schema(()))
    except Unparsed:
        found = {"strengths": "", "weaknesses": grade["reason"]}
    score = f"{grade['score']:g}"
    return {"session_id": row["task"], "parsed_result": {**found, "score": score}, "meta_data": _meta(grade),
            "model_test": row["contestant"], "score": score, "model_output": row["answer"], **_tags(row)}


def _pair_record(row: Row, game: Row) -> Record:
    """Of one order: `model_A` stood first. An empty answer is written as WildBench's prompts show it."""
    straight = game["order"] == "ab"
    verdict = game["verdict"] if straight else MIRROR[game["verdict"]]
    first, second = (row["model_a"], row["model_b"]) if straight else (row["model_b"], row["model_a"])
    choice = _WRITTEN[verdict]
    winner = TIE if choice == "A=B" else first if choice[0] == "A" else second
    return {"session_id": row["task"], "parsed_result": {"reason": game["reason"], "choice": choice}, "meta_data": _meta(game),
            "model_A": first, "model_B": second, "winner": winner, "extent": choice.count("+"),
            "model_outputs": {row[f"model_{side}"]: EMPTY if row[f"empty_{side}"] else row[f"answer_{side}"] for side in "ab"},
            **_tags(row)}


def _tables(ranking: Ranking, names: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The leaderboard's own tables by file name."""
    if ranking.counting.mode == "score":
        return {"score": {label: _score_table(ranking, label) for label in ranking.worked}}
    limit = ranking.counting.limit
    return {f"pairwise-{names[baseline]}-K={limit}": {label: _reward_table(ranking, label, place) for label in ranking.worked
                                                      if label != baseline and ranking.worked[label].parts[place].overall.n}
            for place, baseline in enumerate(ranking.counting.baselines)}


def _score_table(ranking: Ranking, label: str) -> dict[str, Any]:
    own = [row for row in ranking.own.get(label, ()) if row["score"] is not None]
    figures = ranking.worked[label].mixed
    score = sum(row["score"] for row in own) / len(own) if own else None
    macro = _scaled(figures.macro.value, 10)
    return {"model": label, "score": score, "adjusted_score": None if score is None else adjusted(score),
            "task_macro_score": macro, "adjusted_task_macro_score": macro, "task_categorized_scores": _by_group(figures, 10),
            "total": len(own), "avg_len": _average(ranking, own, "length")}


def _reward_table(ranking: Ranking, label: str, place: int) -> dict[str, Any]:
    counting, baseline = ranking.counting, ranking.counting.baselines[place]
    own = against(ranking.own.get(label, ()), label, baseline)
    side = "length_b" if all(row["model_b"] == label for row in own) else "length_a"
    figures = ranking.worked[label].parts[place]
    used = [row for row in own if not (counting.official and row["left_out"])]
    groups = {group: [row for row in used if group in groups_in(row)] for group in figures.groups}
    return {"model": label, **_counts(used, label, counting.limit),
            "total": figures.overall.n, "avg_len": _average(ranking, own, side),
            "task_categorized_results": {group: _counts(rows, label, counting.limit) for group, rows in groups.items()},
            "task_categorized_rewards": _by_group(figures, 100), "reward": _scaled(figures.overall.value, 100),
            "task_macro_reward": _scaled(figures.macro.value, 100), "K": counting.limit}


def _counts(rows: Sequence[Row], label: str, limit: int) -> dict[str, int]:
    made = Outcomes.of(extent for _, extent in extents(rows, label, limit))
    return {"win_much": made.win_much, "win": made.win, "tie": made.tie, "lose": made.lose, "lose_much": made.lose_much}


def _by_group(figures: Figures, unit: float) -> dict[str, float | None]:
    return {group: _scaled(figure.value, unit) for group, figure in figures.groups.items()}


def _scaled(value: float, unit: float) -> float | None:
    return None if isnan(value) else value / unit


def _average(ranking: Ranking, rows: Sequence[Row], column: str) -> float | None:
    lengths = [row[column] for row in rows if row["answers_known"] and not (ranking.counting.official and row["left_out"])]
    return sum(lengths) / len(lengths) if lengths else None
