"""An evaluation written as Arena-Hard's official files, so that the benchmark's own code and others can go on with it.

    official/question.jsonl
    official/model_answer/MODEL.jsonl
    official/model_judgment/JUDGE/MODEL.jsonl

Judgments and answers that came from such files are written as they came. Those made here bear our judge's text; its prompt is not
kept with a judgment, so it is empty. A name that a model or judge bears becomes a file name by `safe_names` only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from pica.eval.arena_hard_files import (
    Judgment,
    OfficialAnswer,
    OfficialGame,
    Schema,
    answer_row,
    judgment_row,
    question_row,
)
from pica.eval.arena_hard_labels import WRITTEN
from pica.eval.battle import MIRROR
from pica.eval.tasks import Task

_PLAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9@._-]{0,98}[A-Za-z0-9_-])?")
_DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(10))}


def safe_names(labels: Iterable[str]) -> dict[str, str]:
    """A file name (without suffix) for each label, unlike any other even where case does not count. A plain label stays as it
    is; of another, what is plain of it and a hash."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for label in sorted(set(labels), key=lambda label: (not _is_plain(label), label)):
        name, digest = label, label
        while name.casefold() in taken or not _is_plain(name):
            digest = blake2b(digest.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
            name = f"{re.sub(r'[^A-Za-z0-9_]+', '-', label).strip('-_')[:60] or 'model'}-{digest}"
        names[label] = name
        taken.add(name.casefold())
    return names


def _is_plain(name: str) -> bool:
    return _PLAIN.fullmatch(name) is not None and name.split(".", maxsplit=1)[0].upper() not in _DEVICES


def official_files(schema: Schema, tasks: Sequence[Task], answers: Iterable[OfficialAnswer],
                   judgments: Iterable[Judgment]) -> dict[str, str]:
    """Questions, answers and judgments as texts by path, below the benchmark's folder. Raises as `question_row` does."""
    rows: dict[tuple[str, ...], list[dict[str, Any]]] = {(): [question_row(task, schema) for task in tasks]}
    asked = {task.id: task.conversation for task in tasks}
    for one in answers:
        rows.setdefault((one.model,), []).append(answer_row(one, schema, asked.get(one.question, ())))
    for made in judgments:
        rows.setdefault((made.judge, made.model), []).append(judgment_row(made, schema))
    models, judges = safe_names(key[-1] for key in rows if key), safe_names(key[0] for key in rows if len(key) > 1)
    return {_place(key, models, judges): "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found)
            for key, found in rows.items()}


def _place(key: tuple[str, ...], models: Mapping[str, str], judges: Mapping[str, str]) -> str:
    if not key:
        return "question.jsonl"
    folder = "model_answer" if len(key) == 1 else f"model_judgment/{judges[key[0]]}"
    return f"{folder}/{models[key[-1]]}.jsonl"


def judgments_of(row: Mapping[str, Any]) -> Iterator[Judgment]:
    """The judgments in a battle's row whose answer a is the baseline's, one a judge."""
    for judge in dict.fromkeys(game["judge"] for game in row["games"]):
        own = {game["order"]: game for game in row["games"] if game["judge"] == judge}
        games = [_game(own[order]) if order in own else None for order in ("ab", "ba") if order in own or "ba" in own]
        yield Judgment(row["task"], row["model_b"], judge, games, row["model_a"], row["category"])


def _game(game: Mapping[str, Any]) -> OfficialGame:
    verdict = game["verdict"]
    if verdict is not None and game["order"] == "ba":
        verdict = MIRROR[verdict]
    return OfficialGame(None if verdict is None else WRITTEN[verdict], game["text"])


def answers_of(rows: Iterable[Mapping[str, Any]]) -> Iterator[OfficialAnswer]:
    """The answers in battle rows, each once."""
    seen = set()
    for row in rows:
        for side in "ab" if row["answers_known"] else "":
            model = row[f"model_{side}"]
            if (model, row["task"]) not in seen:
                seen.add((model, row["task"]))
                yield OfficialAnswer(row["task"], model, row[f"answer_{side}"], tokens=row[f"tokens_{side}"])
