"""Tasks: what models are asked in an evaluation, read from any file, folder or hub dataset, or from those that come with Pica.

Official Arena-Hard questions (both schemas), WildBench rows and any data with prompts are recognised by their columns. A file of
ours has `id, category, prompt` (a text or messages) and perhaps `reference` and `checklist`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from pica.eval.shipped import SHIPPED
from pica.synth.errors import UsageError
from pica.synth.formats import BadRow, prompt_of
from pica.synth.models.base import Message, user
from pica.synth.rows import Messages
from pica.synth.source import open_source


@dataclass(frozen=True)
class Task:
    """One conversation that models answer; it ends with the user. `reference`: what a good answer holds, in words or as an
    answer. `checklist`: requirements that can be met or not. `tags`: further categories."""

    id: str
    conversation: tuple[Message, ...]
    category: str = ""
    tags: tuple[str, ...] = ()
    reference: str = ""
    checklist: tuple[str, ...] = ()

    @property
    def notes(self) -> str:
        """What a judge is told of the task: the reference and the checklist."""
        parts = [f"Reference:\n{self.reference}"] if self.reference else []
        if self.checklist:
            parts.append("A good answer:\n" + "\n".join(f"- {item}" for item in self.checklist))
        return "\n\n".join(parts)


def read_tasks(name: str, *, n: int = 0, split: str = "", categories: Sequence[str] = ()) -> list[Task]:
    """The tasks of `name`: one of `SHIPPED`, a file, a folder or a hub id; the first `n` of them (0: all) of these categories.

    Raises `UsageError` for what cannot be read, for an id that stands twice, and for a category that has no task.
    """
    source = open_source(str(SHIPPED.get(name, name)), split=split or "train")
    tasks = []
    for number, row in enumerate(source, 1):
        try:
            tasks.append(task_of(row, number))
        except BadRow as error:
            raise UsageError(f"{name}, row {number}: {error}") from None
    key, count = Counter(task.id for task in tasks).most_common(1)[0]
    if count > 1:
        raise UsageError(f"{name}: the id {key!r} stands {count} times; every task needs one of its own")
    known = {label for task in tasks for label in (task.category, *task.tags)}
    for category in categories:
        if category not in known:
            raise UsageError(f"{name} has no task of category {category!r}; known: {', '.join(sorted(known - {''})) or 'none'}")
    kept = [task for task in tasks if not categories or {task.category, *task.tags} & set(categories)]
    return kept[:n] if n else kept


def said(conversation: Sequence[Message] | Messages) -> str:
    """What the user says in a conversation: what prompts are compared by."""
    return "\n\n".join(message["content"] for message in conversation if message["role"] == "user")


def prompts_in(name: str, split: str) -> list[str]:
    """What the user says in each different prompt of a split: of shipped tasks, or of any data. Raises `UsageError` for a row
    without a prompt."""
    found: dict[str, None] = {}
    for number, row in enumerate(open_source(str(SHIPPED.get(name, name)), split=split), 1):
        try:
            found[said(task_of(row, number).conversation)] = None
        except BadRow as error:
            raise UsageError(f"decontaminate: {name} row {number} of {split}: {error}") from None
    return list(found)


def task_of(row: Mapping[str, Any], number: int) -> Task:
    """The task in one row of any known format. Raises `BadRow`."""
    if isinstance(row.get("turns"), list):  # Arena-Hard v0.1
        conversation = _turns(row["turns"])
    elif isinstance(row.get("conversation_input"), list):  # WildBench
        conversation = prompt_of({"prompt": [{"role": m.get("role"), "content": m.get("content")}
                                             for m in row["conversation_input"]]})
    else:
        conversation = prompt_of({"prompt": row["question"]} if "question" in row and "prompt" not in row else row)
    given = next((row[key] for key in ("id", "uid", "question_id", "session_id") if row.get(key) not in (None, "")), None)
    categories = [text for key in ("subcategory", "category", "primary_tag") if (text := _text(row.get(key)))]
    listed = next((row[key] for key in ("secondary_tags", "tags", "skills") if row.get(key)), None)
    tags = [*categories[1:], *_texts(listed, "tags")]
    return Task(
        id=str(given) if given is not None else hash_of(conversation), conversation=tuple(conversation),
        category=categories[0] if categories else "", tags=tuple(dict.fromkeys(tags)), reference=_reference(row),
        checklist=tuple(_texts(row.get("checklist"), "checklist")))


def _turns(turns: list[Any]) -> list[Message]:
    if len(turns) != 1 or not isinstance(turns[0], Mapping) or not isinstance(turns[0].get("content"), str):
        raise BadRow("turns", "one turn with a text under `content` is expected")
    return [user(turns[0]["content"])]


def _reference(row: Mapping[str, Any]) -> str:
    given = row.get("reference") or row.get("reference_answer") or row.get("references")
    if isinstance(given, Mapping):  # WildBench: {"gpt-4": text}
        given = next((text for text in given.values() if text), "")
    return "\n\n".join(_texts(given, "reference"))


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _texts(value: Any, name: str) -> list[str]:
    """The texts in `value`: none, one, or a list of them."""
    given = [value] if isinstance(value, str) else value or []
    if not isinstance(given, (list, tuple)) or not all(isinstance(item, str) for item in given):
        raise BadRow("not a list of texts", f"{name} is {value!r:.60}")
    return [item.strip() for item in given if item.strip()]


def hash_of(conversation: Sequence[Message]) -> str:
    """The id of a task that has none: the same for the same conversation."""
    text = json.dumps([[message["role"], message["content"]] for message in conversation])
    return blake2b(text.encode(), digest_size=8).hexdigest()
