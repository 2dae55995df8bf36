"""WildBench's official result files, read.

    eval_results/VERSION/score.v2/eval=JUDGE/MODEL.json
    eval_results/VERSION/pairwise.v2/eval=JUDGE/ref=BASELINE/MODEL.json

Each file is an array of records, or JSON lines. A file's name is the label of its model, unless it holds several models.
Records of both of WildBench's ways to judge are known: from a batch (`model_test`, `model_A`), and one by one (`generator`,
`assignment`). What a judge said and cannot be read as a verdict is unscored, with what it was. `pica.eval.wildbench_export`
writes them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from pica.eval.battle import MIRROR, Order
from pica.eval.judge import HIGHEST, LOWEST, Label
from pica.synth.errors import UsageError
from pica.synth.jsonrows import SUFFIXES, json_rows

Record = Mapping[str, Any]
EMPTY = "[This model response is empty.]"  # what stands for an empty answer in pairwise files
TRUNCATED = "... (truncated)"              # what an answer ends with that was cut for the judge
UNNAMED = "unnamed"                        # a judge that no folder names
TIE = "tie"
#: a choice as the files have it, A the answer that stood first
CHOICES: dict[str, Label] = {"A++": "a>>b", "A+": "a>b", "A=B": "a=b", "B+": "b>a", "B++": "b>>a"}


@dataclass(frozen=True)
class Scored:
    """A judge's score of one answer, None where there is none that can be read (`problem` says what there is). `answer`: None
    where the record does not hold it."""

    task: str
    label: str
    judge: str
    score: float | None
    problem: str = ""
    answer: str | None = None
    reason: str = ""
    tags: tuple[str, ...] = ()
    record: Record = field(default_factory=dict)


@dataclass(frozen=True)
class Compared:
    """A judge's verdict on an answer (b) and the baseline's (a). `order`: `ab` where the baseline's stood first."""

    task: str
    label: str
    baseline: str
    judge: str
    order: Order
    verdict: Label | None
    problem: str = ""
    answer: str | None = None
    baseline_answer: str | None = None
    reason: str = ""
    tags: tuple[str, ...] = ()
    record: Record = field(default_factory=dict)


def read_scores(name: str) -> tuple[list[Scored], list[str]]:
    """(scores, warnings) of a file or of all files below a folder. Of two for one answer the first counts. Raises `UsageError`
    naming file and record, and where a model was scored by several judges."""
    made: list[Scored] = []
    for file in _files(name, "scores"):
        rows = list(json_rows(file))
        own = {_model(row) for row in rows}
        for number, row in enumerate(rows, 1):
            try:
                made.append(_scored(row, _stem(file) if len(own) == 1 else _model(row) or _stem(file), _judge(file)))
            except ValueError as error:
                raise UsageError(f"{file}, record {number} {error}") from None
    _one_judge(made, "scores", name)
    kept, again = _firsts(made, lambda one: (one.label, one.task))
    return kept, _told(again, "second scores of one task")


def read_rewards(name: str, baselines: Sequence[str] = ()) -> tuple[list[Compared], list[str]]:
    """(verdicts, warnings) of a file or of all files below a folder. `baselines`: those that count, empty: all. The baseline of
    a record is the one that its folder `ref=NAME` names, else one of `baselines`, else whoever the file is not called after. Two
    verdicts on one pair in both orders are both kept. Raises `UsageError` as `read_scores` does."""
    made: list[Compared] = []
    warnings: list[str] = []
    others: Counter[str] = Counter()
    for file in _files(name, "rewards"):
        reference = _part(file, "ref=")
        if reference and baselines and reference not in baselines:
            others[reference] += 1
            continue
        rows = list(json_rows(file))
        sides = [_sides(row, file, number) for number, row in enumerate(rows, 1)]
        names = {side for pair in sides for side in pair}
        if len(names) == 1:
            warnings.append(f"{file} compares {names.pop()} with itself; it is left out")
            continue
        hints = [reference] if reference else list(baselines)
        for number, (row, pair) in enumerate(zip(rows, sides, strict=True), 1):
            home, baseline = _baseline(pair, names, hints, file, bool(reference))
            other = pair[1] if pair[0] == home else pair[0]
            label = _stem(file) if len(names) == 2 else _last(other)
            try:
                made.append(_compared(row, pair, home, Compared(_task(row), label, baseline, _judge(file), "ab", None)))
            except ValueError as error:
                raise UsageError(f"{file}, record {number} {error}") from None
    if others:
        warnings.append(f"files against {', '.join(others)} are left out: baselines names {', '.join(baselines)}")
    _one_judge(made, "rewards", name)
    kept, again = _firsts(made, lambda one: (one.label, one.baseline, one.task, one.order))
    return kept, [*warnings, *_told(again, "second verdicts on one pair")]


def _files(name: str, setting: str) -> list[Path]:
    path = Path(name)
    if not path.exists():
        raise UsageError(f"{setting}={name}: no such file or folder")
    found = sorted(path.rglob("*")) if path.is_dir() else [path]
    files = [file for file in found if file.is_file() and file.name.endswith(SUFFIXES) and not file.name.startswith(".")]
    if not files:
        raise UsageError(f"{setting}={name} holds no .json or .jsonl file; give WildBench's eval_results/.../eval=JUDGE, or one "
                         "file")
    return files


def _part(file: Path, prefix: str) -> str:
    """What the innermost folder of the form PREFIX... names; empty without one."""
    return next((part.removeprefix(prefix) for part in reversed(file.absolute().parts[:-1]) if part.startswith(prefix)), "")


def _judge(file: Path) -> str:
    return _part(file, "eval=") or UNNAMED


def _stem(file: Path) -> str:
    return file.name.removesuffix(next(suffix for suffix in SUFFIXES if file.name.endswith(suffix)))


def _last(name: str) -> str:
    return name.rsplit("/", maxsplit=1)[-1]


def _task(row: Record) -> str:
    """The id of the task. Raises `ValueError`."""
    key = next((row[key] for key in ("session_id", "id") if row.get(key) not in {None, ""}), None)
    if not isinstance(key, str | int):
        raise ValueError(f"names no task under session_id; it has {', '.join(map(str, list(row)[:8])) or 'nothing'}")
    return str(key)


def _model(row: Record) -> str:
    return next((row[key] for key in ("model_test", "generator", "model") if isinstance(row.get(key), str)), "")


def _parsed(row: Record) -> Record:
    parsed = row.get("parsed_result")
    return parsed if isinstance(parsed, Mapping) else {}


def _answer(value: Any) -> str | None:
    """The text of an answer, which may stand in a list of one."""
    value = value[0] if isinstance(value, list) and len(value) == 1 else value
    return value if isinstance(value, str) else None


def _tags(row: Record) -> tuple[str, ...]:
    """What kinds of task the record says it is of."""
    several = row.get("secondary_tags") or row.get("tags") or ()
    given = [row.get("primary_tag") or row.get("category"), *(several if isinstance(several, list | tuple) else [several])]
    return tuple(dict.fromkeys(tag for tag in given if isinstance(tag, str) and tag))


def _scored(row: Record, label: str, judge: str) -> Scored:
    task, parsed = _task(row), _parsed(row)
    if "score" not in row and "parsed_result" not in row:
        raise ValueError(f"has no score; it has {', '.join(map(str, list(row)[:8]))}")
    given = row.get("score", parsed.get("score"))
    score = _number(given)
    reason = "\n".join(f"{name.capitalize()}: {parsed[name]}" for name in ("strengths", "weaknesses") if parsed.get(name))
    problem = "" if score is not None else _unknown("score", given)
    return Scored(task, label, judge, score, problem, _answer(row.get("model_output")), reason, _tags(row), row)


def _number(given: Any) -> float | None:
    """A score, which may be written as a text; None for anything else."""
    try:
        score = None if isinstance(given, bool) else float(given)
    except (TypeError, ValueError):
        return None
    return score if score is not None and isfinite(score) and LOWEST <= score <= HIGHEST else None


def _unknown(what: str, given: Any) -> str:
    return f"no {what}" if given is None or given == "" else f"unknown {what} {given!s:.40}"


def _sides(row: Record, file: Path, number: int) -> tuple[str, str]:
    """Who wrote answer A and answer B."""
    sides = (row.get("model_A"), row.get("model_B"))
    if isinstance(row.get("assignment"), Mapping):
        sides = (row["assignment"].get("A"), row["assignment"].get("B"))
    first, second = sides
    if not isinstance(first, str) or not isinstance(second, str):
        raise UsageError(f"{file}, record {number} is no verdict on a pair: it names no model_A and model_B; it has "
                         f"{', '.join(map(str, list(row)[:8])) or 'nothing'}")
    return first, second


def _baseline(pair: tuple[str, str], names: set[str], hints: Sequence[str], file: Path, sure: bool) -> tuple[str, str]:
    """(the baseline's name in the record, its label). `sure`: the file's folder names it."""
    mine = [name for name in pair if _is(name, _stem(file))]
    open_to = [name for name in pair if sure or name not in mine]
    for fits in (_is, _holds):
        for hint in hints:
            found = [name for name in open_to if fits(name, hint)]
            if len(found) == 1:
                return found[0], hint
    if len(names) == 2 and len(mine) == 1 and not hints:
        return open_to[0], _last(open_to[0])
    raise UsageError(f"{file}: of {pair[0]} and {pair[1]} neither is known to be the baseline; give baselines=[NAME], or put the "
                     "file in a folder ref=NAME")


def _is(name: str, label: str) -> bool:
    return label in {name, _last(name)}


def _holds(name: str, label: str) -> bool:
    return label in name


def _compared(row: Record, pair: tuple[str, str], home: str, start: Compared) -> Compared:
    """`start` with what the record says."""
    parsed = _parsed(row)
    label, problem = _verdict(row, parsed, pair)
    first = pair[0] == home
    verdict = label if label is None or first else MIRROR[label]
    away = pair[1] if first else pair[0]
    outputs = row.get("model_outputs")
    if not isinstance(outputs, Mapping):
        outputs = {row.get("generator"): row.get("model_output"), row.get("ref_generator"): row.get("ref_output")}
    return Compared(start.task, start.label, start.baseline, start.judge, "ab" if first else "ba", verdict, problem,
                    _answer(outputs.get(away)), _answer(outputs.get(home)),
                    "\n".join(str(text) for name, text in parsed.items() if name.startswith("reason") and text), _tags(row), row)


def _verdict(row: Record, parsed: Record, pair: tuple[str, str]) -> tuple[Label | None, str]:
    """(the verdict, A as a; why there is none). What stands under winner and extent counts before the judge's own words."""
    winner, extent = row.get("winner"), row.get("extent")
    if extent is None:  # judged one by one
        choice = parsed.get("choice")
        label = CHOICES.get(choice) if isinstance(choice, str) else None
        return label, "" if label else _unknown("choice", choice)
    if winner == TIE:
        return "a=b", ""
    if winner not in pair:
        return None, _unknown("winner", winner)
    if extent not in {1, 2} or isinstance(extent, bool):
        return None, _unknown("extent", extent)
    sign = "+" * int(extent)
    return CHOICES[f"{'A' if winner == pair[0] else 'B'}{sign}"], ""


def _firsts(made: Sequence[Any], key: Any) -> tuple[list[Any], Counter[str]]:
    """The first of each key, in order; how many others there are, by label."""
    found: dict[Hashable, Any] = {}
    again: Counter[str] = Counter()
    for one in made:
        if key(one) in found:
            again[one.label] += 1
        else:
            found[key(one)] = one
    return list(found.values()), again


def _told(again: Counter[str], what: str) -> list[str]:
    if not again:
        return []
    names = ", ".join(f"{label} ({number:,})" for label, number in again.most_common(4))
    return [f"{again.total():,} {what} are left out, the first of each counts: {names}{', ...' if len(again) > 4 else ''}"]


def _one_judge(made: Sequence[Scored] | Sequence[Compared], setting: str, name: str) -> None:
    """Raise `UsageError` where files of several judges speak of one model."""
    judges: dict[str, dict[str, None]] = {}
    for one in made:
        judges.setdefault(one.label, {})[one.judge] = None
    for label, several in judges.items():
        if len(several) > 1:
            raise UsageError(f"{setting}={name}: {label} was judged by {' and by '.join(several)}; give the folder of one judge "
                             f"(eval={next(iter(several))})")


def said(record: Record) -> str:
    """What the judge wrote, as JSON, for a row."""
    parsed = record.get("parsed_result")
    return "" if parsed is None else json.dumps(parsed, ensure_ascii=False)
