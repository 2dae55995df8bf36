"""Prompts out of datasets in any format, in an order that follows from the seed and their content alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain, islice
from typing import Any, Literal

import msgspec

from pica.eval.shipped import SHIPPED
from pica.eval.tasks import Task, hash_of, said, task_of
from pica.recipes.prompt_pool.rows import PoolRow
from pica.synth.filters.decontaminate import words_of
from pica.synth.formats import BadRow, first_instruction
from pica.synth.models.base import Message, user
from pica.synth.source import Source, open_source

#: A dataset under the name that the user wrote.
Named = tuple[str, Source]
#: Of a conversation: all that stands before the last answer, or the first user message alone.
Turns = Literal["whole", "first"]
#: Where a prompt stands: a hash of seed and prompt, then how little its row says.
Place = tuple[bytes, int]


@dataclass(frozen=True)
class Unreadable:
    """A row that holds no prompt, and why."""

    source: str
    row: int
    reason: str
    detail: str


@dataclass(frozen=True)
class Read:
    """What was read. `rows`: prompts as JSON of `PoolRow`, in the order in which they are dealt. `unreadable`: the other rows."""

    rows: Sequence[bytes]
    unreadable: Sequence[Unreadable]

    def __len__(self) -> int:
        return len(self.rows) + len(self.unreadable)

    def reasons(self) -> Counter[str]:
        """How many rows hold no prompt for what reason."""
        return Counter(one.reason for one in self.unreadable)


def open_data(names: Sequence[str], split: str) -> list[Named]:
    """A split of datasets: files, folders, hub ids, or shipped tasks. Raises `UsageError` for what cannot be read."""
    return [(name, open_source(str(SHIPPED.get(name, name)), split=split)) for name in names]


def rows_in(sources: Sequence[Named], n: int) -> int:
    """Rows that are read: the first `n` there are, 0 for all."""
    there = sum(len(source) for _, source in sources)
    return min(n, there) if n else there


def described(sources: Sequence[Named]) -> list[dict[str, Any]]:
    """What a manifest says of the data."""
    return [{**source.describe(), "source": name} for name, source in sources]


def read(sources: Sequence[Named], *, seed: int, n: int = 0, turns: Turns = "whole") -> Read:
    """The prompts of the first `n` rows (0: all), in the order of a hash of the seed and their content.

    Rows with the very same conversation stand together, the one that says most first; the others have ids that end in -2, -3.
    """
    prompts: list[tuple[Place, bytes]] = []
    unreadable = []
    rows = chain.from_iterable(((name, number, row) for number, row in enumerate(source, 1)) for name, source in sources)
    for name, number, row in islice(rows, n or None):
        try:
            made = pool_row(row, name, number, seed=seed, turns=turns)
        except BadRow as error:
            unreadable.append(Unreadable(name, number, error.reason, error.detail))
            continue
        prompts.append((_place(seed, made), msgspec.json.encode(made)))
    prompts.sort()
    return Read(_unique(prompts), unreadable)


def pool_row(row: Mapping[str, Any], name: str, number: int, *, seed: int, turns: Turns = "whole") -> PoolRow:
    """The prompt in a row of any format. Raises `BadRow`."""
    task = _task(row, number, turns)
    text = said(task.conversation)
    if not text.strip():
        raise BadRow("empty prompt")
    prompt = [{"role": message["role"], "content": message["content"]} for message in task.conversation]
    return PoolRow(id=hash_of(task.conversation), recipe="prompt-pool", model="", seed=seed, calls=[], prompt=prompt,
                   category=task.category, tags=list(task.tags), reference=task.reference, checklist=list(task.checklist),
                   source=name, source_row=number, words=len(words_of(text)), characters=len(text))


def richness(row: Mapping[str, Any]) -> int:
    """How much a row says of its prompt: of copies the one that says most stays."""
    return sum(bool(row[name]) for name in ("reference", "checklist", "category", "tags"))


def _task(row: Mapping[str, Any], number: int, turns: Turns) -> Task:
    if not row.get("category") and isinstance(row.get("task_category"), str):  # Magpie
        row = {**row, "category": row["task_category"]}
    task = task_of(row, number)
    if turns == "whole":
        return task
    first: list[Message] = [user(first_instruction({"prompt": list(task.conversation)}))]
    return Task(task.id, tuple(first), task.category, task.tags, task.reference, task.checklist)


def _place(seed: int, row: PoolRow) -> Place:
    """Where a prompt stands: by seed and content; of the same prompts the one that says most first."""
    return blake2b(f"{seed} {row.id}".encode(), digest_size=16).digest(), -richness(msgspec.structs.asdict(row))


def _unique(prompts: Sequence[tuple[Place, bytes]]) -> list[bytes]:
    """The rows, those that repeat the prompt before them under an id of their own."""
    rows, before, times = [], b"", 0
    for place, row in prompts:
        times = times + 1 if place[0] == before else 1
        before = place[0]
        rows.append(row if times == 1 else _renamed(row, times))
    return rows


def _renamed(row: bytes, times: int) -> bytes:
    made = msgspec.json.decode(row, type=PoolRow)
    return msgspec.json.encode(msgspec.structs.replace(made, id=f"{made.id}-{times}"))
