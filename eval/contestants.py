"""Who competes: models that answer the tasks now, and answers that are there already.

A contestant is a model under a label. `answers=FILE` or a folder of files brings answers made elsewhere: Arena-Hard's (both
schemas), AlpacaEval's, or lines with an id and an answer. The label is the file's name, or what the rows say under `model`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pica.eval.judging_config import Contestant
from pica.eval.tasks import Task, hash_of
from pica.synth.errors import UsageError
from pica.synth.formats import BadRow, prompt_of
from pica.synth.models.base import Answer, Request, Sampling
from pica.synth.run import Draft, derive_seed
from pica.synth.source import open_source

IDS = ("id", "uid", "question_id", "session_id", "task_id")
KINDS = {".jsonl", ".json", ".parquet"}
TEXTS = ("answer", "output", "response", "completion")


def check_labels(contestants: list[Contestant], answers: Mapping[str, Any]) -> None:
    """Raise `UsageError` where two contestants bear one name."""
    titles = [contestant.title for contestant in contestants]
    for title in titles:
        if titles.count(title) > 1:
            raise UsageError(f"the label {title!r} stands {titles.count(title)} times in models; give each one of its own, "
                             f"such as {{name: {title}, label: second}}")
        if title in answers:
            raise UsageError(f"{title!r} stands in models and in answers; give the model another label, or leave one out")


Answers = dict[str, dict[str, str]]  # label -> task id -> answer


def read_answers(name: str) -> Answers:
    """Answers by label and task id, from a file or a folder of files. A row whose answer is null is a missing answer. Raises
    `UsageError` naming file and row."""
    path = Path(name)
    if not path.exists():
        raise UsageError(f"answers={name}: no such file or folder")
    files = sorted(file for file in path.rglob("*") if file.suffix in KINDS) if path.is_dir() else [path]
    if not files:
        raise UsageError(f"answers={name} holds no .jsonl, .json or .parquet file; give one file a model")
    found: Answers = {}
    for file in files:
        for number, row in enumerate(open_source(str(file)), 1):
            label = _label(row, file)
            try:
                key, text = _id(row), _answer(row)
            except BadRow as error:
                raise UsageError(f"{file}, row {number}: {error}") from None
            answers = found.setdefault(label, {})
            if key in answers:
                raise UsageError(f"{file}, row {number}: {label} has a second answer to {key!r}; keep one")
            if text is not None:
                answers[key] = text
    return found


def _label(row: Mapping[str, Any], file: Path) -> str:
    for key in ("model", "model_id", "generator"):
        if isinstance(row.get(key), str) and row[key]:
            return str(row[key])
    return file.stem


def _id(row: Mapping[str, Any]) -> str:
    """The id of the task that is answered. AlpacaEval's rows have none: their tasks are known by what was asked."""
    for key in IDS:
        if row.get(key) not in (None, ""):
            return str(row[key])
    if isinstance(row.get("instruction"), str):
        return hash_of(prompt_of(row))
    raise BadRow("it names no task", f"one of {', '.join(IDS)} is expected")


def _answer(row: Mapping[str, Any]) -> str | None:
    """The text of an answer in any known form; None where it says that there is none."""
    for key, last in (("choices", _choice), ("messages", _content)):
        if isinstance(row.get(key), list) and row[key]:
            return _string(last(row[key]), key)
    for key in TEXTS:
        if key in row:
            value = row[key]
            return _string(value[0] if isinstance(value, list) and len(value) == 1 else value, key)  # WildBench: a list of one
    raise BadRow("it has no answer", f"one of {', '.join(TEXTS)}, messages or choices is expected")


def _choice(choices: list[Any]) -> Any:
    """Arena-Hard v0.1: the last turn of the first choice."""
    turns = choices[0].get("turns") if isinstance(choices[0], Mapping) else None
    return _content(turns) if isinstance(turns, list) and turns else choices


def _content(messages: list[Any]) -> Any:
    """The content of the last message; Arena-Hard v2 has it as `{"answer": ...}`."""
    content = messages[-1].get("content") if isinstance(messages[-1], Mapping) else messages[-1]
    return content.get("answer") if isinstance(content, Mapping) else content


def _string(value: Any, key: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise BadRow("the answer is no text", f"{key} holds {value!r:.60}")


async def answer(draft: Draft, contestant: Contestant, task: Task, sampling: Sampling, seed: int) -> Answer:
    """The contestant's answer to a task: the same call, whatever it competes against. Its own sampling settings win."""
    own = {name: value for name in ("temperature", "top_p", "max_tokens")
           if (value := getattr(contestant, name)) is not None}
    sampling = sampling.model_copy(update=own)
    request = Request(task="chat", messages=task.conversation, sampling=sampling,
                      seed=None if sampling.greedy else derive_seed(seed, "answer", task.id))
    return (await draft.ask(f"answer {contestant.title}", contestant.model, request))[0]
