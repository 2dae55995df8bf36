"""Arena-Hard's official files, in both schemas, read and written.

    BENCH/question.jsonl
    BENCH/model_answer/MODEL.jsonl
    BENCH/model_judgment/JUDGE/MODEL.jsonl

`v0.1` is the schema of arena-hard-v0.1's code, `v2` that of v2.0's, which also holds v0.1's data. Each row says by its keys
which one it is. What is read and written again in the same schema is the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

from pica.eval.shipped import SHIPPED
from pica.eval.tasks import Task, read_tasks
from pica.synth.errors import UsageError
from pica.synth.jsonrows import SUFFIXES, json_rows
from pica.synth.models.base import Message, user
from pica.synth.source import open_source

Schema = Literal["v0.1", "v2"]
V01 = "arena-hard-v0.1"
#: category (or subcategory) -> the model that all others are compared with
BASELINES = {"hard_prompt": "o3-mini-2025-01-31", "coding": "o3-mini-2025-01-31", "math": "o3-mini-2025-01-31",
             "creative_writing": "gemini-2.0-flash-001", V01: "gpt-4-0314"}
_MARKS = ("<|User Prompt|>", "<|The Start of Assistant A's Answer|>", "<|The End of Assistant A's Answer|>",
          "<|The Start of Assistant B's Answer|>", "<|The End of Assistant B's Answer|>")


@dataclass(frozen=True)
class OfficialAnswer:
    """A model's answer to a question. `tokens`: its length as the file says, by the counter of that version. `style`: counts of
    headers, lists and bold as the file has them. `asked`: messages before the answer (v2). `more`: what stands beside the
    answer, such as thoughts (v2)."""

    question: str
    model: str
    text: str
    id: str = ""
    tokens: int | None = None
    style: Mapping[str, Any] = field(default_factory=dict)
    asked: Sequence[Mapping[str, Any]] = ()
    more: Mapping[str, Any] = field(default_factory=dict)
    time: float | None = None


@dataclass(frozen=True)
class OfficialGame:
    """One verdict. `score`: the label that was found (A stands first). `text`: what the judge wrote. `prompt`: what it was
    asked. `more`: what stands beside its text (v2)."""

    score: Any
    text: str = ""
    prompt: Sequence[Mapping[str, Any]] = ()
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Judgment:
    """A judge's verdicts on a model's answer to one question: in game 1 the baseline is A, in game 2 it is B. None is a game
    that failed. `baseline` and `category` are empty where the file does not say."""

    question: str
    model: str
    judge: str
    games: Sequence[OfficialGame | None]
    baseline: str = ""
    category: str = ""


def read_questions(name: str, *, split: str = "") -> list[Task]:
    """Tasks from any source that `read_tasks` knows. Of Arena-Hard's questions the category is the official one
    (`hard_prompt`), and the subcategory or cluster is the first tag."""
    source = open_source(str(SHIPPED.get(name, name)), split=split or "train")
    return [_named(task, row) for task, row in zip(read_tasks(name, split=split), source, strict=True)]


def _named(task: Task, row: Mapping[str, Any]) -> Task:
    if not isinstance(row.get("category"), str) or not {"uid", "question_id"} & set(row):
        return task
    kind = row.get("subcategory") or row.get("cluster")
    return replace(task, category=row["category"], tags=(kind,) if isinstance(kind, str) and kind else ())


def chosen(tasks: Sequence[Task], name: str, *, n: int, categories: Sequence[str]) -> list[Task]:
    """The first `n` (0: all) tasks of these categories or tags. Raises `UsageError` for one that no task has."""
    known = {label for task in tasks for label in (task.category, *task.tags)}
    for category in categories:
        if category not in known:
            named = sorted({task.category for task in tasks} - {""})
            raise UsageError(f"{name} has no question of category {category!r}; it has: {', '.join(named) or 'no categories'}")
    kept = [task for task in tasks if not categories or {task.category, *task.tags} & set(categories)]
    return kept[:n] if n else kept


def question_row(task: Task, schema: Schema) -> dict[str, Any]:
    """A question as its file has it. A conversation of several messages has no place there: `UsageError`."""
    if len(task.conversation) != 1:
        raise UsageError(f"task {task.id!r} has {len(task.conversation)} messages, and Arena-Hard's files hold one prompt each; "
                         "leave out export, or use tasks of one message")
    text, tag = task.conversation[0]["content"], task.tags[0] if task.tags else ""
    if schema == "v0.1":
        return {"question_id": task.id, "category": task.category, "cluster": tag, "turns": [{"content": text}]}
    kind = "cluster" if task.category == V01 else "subcategory"
    return {"uid": task.id, "category": task.category, **({kind: tag} if tag else {}), "prompt": text}


def official_answer(row: Mapping[str, Any], model: str = "") -> OfficialAnswer | None:
    """The answer in a row of either schema; None for a row of another kind. `model`: for rows that do not say."""
    if "question_id" in row and isinstance(row.get("choices"), list) and row["choices"]:
        turns = row["choices"][0].get("turns") or [{}]
        style = row.get("conv_metadata") or {}
        tokens = style.get("token_len", turns[-1].get("token_len"))
        return OfficialAnswer(str(row["question_id"]), _text(row.get("model_id")) or model, _text(turns[-1].get("content")),
                              _text(row.get("answer_id")), _count(tokens), style, time=row.get("tstamp"))
    if "uid" in row and isinstance(row.get("messages"), list) and row["messages"]:
        content = row["messages"][-1].get("content")
        answer, more = _told(content)
        style = row.get("metadata") or {}
        return OfficialAnswer(str(row["uid"]), _text(row.get("model")) or model, answer, _text(row.get("ans_id")),
                              _count(style.get("token_len")), style, row["messages"][:-1], more, row.get("tstamp"))
    return None


def answer_row(answer: OfficialAnswer, schema: Schema, asked: Sequence[Message] = ()) -> dict[str, Any]:
    """An answer as its file has it. `asked`: the question, for v2, where the answer does not hold it. Token counts are written
    where they are known, and never made up."""
    time = {} if answer.time is None else {"tstamp": answer.time}
    if schema == "v0.1":
        turn: dict[str, Any] = {"content": answer.text}
        if answer.tokens is not None:
            turn["token_len"] = answer.tokens
        style = {"conv_metadata": dict(answer.style)} if answer.style else {}
        return {"question_id": answer.question, "answer_id": answer.id or _id(answer), "model_id": answer.model,
                "choices": [{"index": 0, "turns": [turn]}], **time, **style}
    told = {"role": "assistant", "content": {"answer": answer.text, **answer.more}}
    counts = dict(answer.style) or ({} if answer.tokens is None else {"token_len": answer.tokens})
    return {"uid": answer.question, "ans_id": answer.id or _id(answer), "model": answer.model,
            "messages": [*(dict(message) for message in answer.asked or asked), told], **time,
            **({"metadata": counts} if counts else {})}


def _id(answer: OfficialAnswer) -> str:
    return blake2b(f"{answer.model}\x00{answer.question}".encode("utf-8", "surrogatepass"), digest_size=11).hexdigest()


def read_tokens(path: Path) -> dict[str, dict[str, OfficialAnswer]]:
    """Official answers by model and question, of a file or of all files of a folder; rows of other kinds are passed over."""
    found: dict[str, dict[str, OfficialAnswer]] = {}
    for file in _files(path, deep=True):
        for row in json_rows(file):
            answer = official_answer(row, _stem(file))
            if answer is not None:
                found.setdefault(answer.model, {})[answer.question] = answer
    return found


def judgment(row: Mapping[str, Any], *, model: str = "", judge: str = "") -> Judgment:
    """The judgment in a row of either schema, or of v0.1's as v2's code keeps it. `model`, `judge`: for rows that do not say.
    Raises `ValueError` for a row that is none."""
    key = next((row[key] for key in ("uid", "question_id") if row.get(key) not in {None, ""}), None)
    games = row.get("games", ())
    if key is None or not isinstance(games, list | None) or "games" not in row:
        raise ValueError(f"is no judgment (it has {', '.join(map(str, list(row)[:8]))}); one has uid or question_id, and games")
    games = games or [None, None]
    if len(games) > 2 or any(not isinstance(game, Mapping | None) for game in games):
        raise ValueError(f"has {len(games)} games where two, each an object or null, are expected")
    return Judgment(str(key), _text(row.get("model")) or model, _text(row.get("judge")) or judge,
                    tuple(None if game is None else _game(game) for game in games), _text(row.get("baseline")),
                    _text(row.get("category")))


def _game(game: Mapping[str, Any]) -> OfficialGame:
    text, more = _told(game.get("judgment"))
    asked = game.get("prompt")
    if not isinstance(asked, list):
        asked = [user(_text(game["user_prompt"]))] if game.get("user_prompt") else []
    return OfficialGame(game.get("score"), text, asked, more)


def _told(content: Any) -> tuple[str, dict[str, Any]]:
    """A text, and what stands beside it."""
    if isinstance(content, Mapping):
        return _text(content.get("answer")), {key: value for key, value in content.items() if key != "answer"}
    return _text(content), {}


def judgment_row(made: Judgment, schema: Schema) -> dict[str, Any]:
    """A judgment as its file has it. v0.1 has no place for the baseline, the category and a system prompt."""
    if schema == "v0.1":
        games = [None if game is None else {"user_prompt": _last(game.prompt), "judgment": game.text, "score": game.score}
                 for game in made.games]
        return {"question_id": made.question, "model": made.model, "judge": made.judge, "games": games}
    told = [None if game is None else {"score": game.score, "judgment": {"answer": game.text, **game.more},
                                       "prompt": [dict(message) for message in game.prompt]} for game in made.games]
    return {"uid": made.question, "category": made.category, "judge": made.judge, "model": made.model,
            "baseline": made.baseline, "games": told}


def _last(prompt: Sequence[Mapping[str, Any]]) -> str:
    return next((_text(message.get("content")) for message in reversed(prompt) if message.get("role") == "user"), "")


def parts_of(made: Judgment) -> tuple[str, str, str] | None:
    """(question, baseline's answer, model's answer) from what the judge was asked; None where that cannot be told apart, because
    a mark of the official prompt is missing or stands twice."""
    for number, game in enumerate(made.games):
        parts = _parts(_last(game.prompt)) if game is not None else None
        if parts is not None:
            question, first, second = parts
            return (question, first, second) if number == 0 else (question, second, first)
    return None


def _parts(text: str) -> tuple[str, str, str] | None:
    places = [text.find(mark) for mark in _MARKS]
    if any(text.count(mark) != 1 for mark in _MARKS) or places != sorted(places):
        return None
    ends = [*places[1:], len(text)]
    before = text[:places[0]]
    question, first, between, second, after = (text[place + len(mark):end]
                                               for mark, place, end in zip(_MARKS, places, ends, strict=True))
    if before.strip() or between.strip() or after.strip():
        return None
    first, second = (answer.removeprefix("\n").removesuffix("\n") for answer in (first, second))
    return question.removeprefix("\n").removesuffix("\n").removesuffix("\n"), first, second


def read_judgments(name: str) -> tuple[list[Judgment], list[str]]:
    """(judgments, warnings) of a file, of a judge's folder, of a folder of such folders, or of a benchmark's folder. Of two by
    one judge on one answer the first counts. Raises `UsageError` naming file and row."""
    path = Path(name)
    if not path.exists():
        raise UsageError(f"judgments={name}: no such file or folder")
    path = path / "model_judgment" if (path / "model_judgment").is_dir() else path
    found: dict[tuple[str, str, str], Judgment] = {}
    warnings, again = [], dict[str, list[str]]()
    for file in _files(path):
        empty = True
        for made in _judgments(file):
            empty, key = False, (made.model, made.judge, made.question)
            if key in found:
                again.setdefault(f"{made.model} by {made.judge}", []).append(made.question)
            found.setdefault(key, made)
        if empty:
            warnings.append(f"{file} holds no judgment")
    if not found:
        raise UsageError(f"judgments={name} holds no judgment; a judge's folder has a file MODEL.jsonl for each model")
    warnings += [f"{len(questions):,} judgments of {who} stand more than once (such as {questions[0]}); the first of them counts"
                 for who, questions in again.items()]
    return list(found.values()), warnings


def _judgments(file: Path) -> Iterator[Judgment]:
    for number, row in enumerate(json_rows(file), 1):
        try:
            yield judgment(row, model=_stem(file), judge=file.parent.name)
        except ValueError as error:
            raise UsageError(f"{file}, row {number} {error}") from None


def _files(path: Path, *, deep: bool = False) -> list[Path]:
    """Files of JSON in a folder and in the folders in it (`deep`: at any depth), by name."""
    if not path.is_dir():
        return [path] if path.name.endswith(SUFFIXES) else []
    found = path.rglob("*") if deep else [*path.glob("*"), *path.glob("*/*")]
    return sorted(file for file in found if file.is_file() and file.name.endswith(SUFFIXES) and not file.name.startswith("."))


def _stem(file: Path) -> str:
    return file.name.removesuffix(next(suffix for suffix in SUFFIXES if file.name.endswith(suffix)))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
