"""The whole table, once its rows are made: the place for what needs all rows at once (duplicates, distances, selection).

A table is a view on a spool. It reads only the columns that are asked for, and holds only what is added.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from pica.synth.spool import ACCEPTED, REJECTED, Spool


class Table:
    """The accepted rows of the first `candidates` of a spool, in order; those not rejected since are alive."""

    def __init__(self, spool: Spool, candidates: int) -> None:
        self.candidates = candidates
        self._spool = spool
        self._rows = spool.count(candidates)
        self._dropped: dict[int, tuple[str, str]] = {}
        self._elsewhere: set[int] = set()
        self._split: dict[int, str] = {}
        self._added: dict[str, dict[int, Any]] = {}
        self.notes: dict[str, Any] = {}  # what the recipe wants the manifest and report to say

    def __len__(self) -> int:
        """Rows alive."""
        return self._rows - len(self._dropped.keys() | self._elsewhere)

    @property
    def alive(self) -> list[int]:
        """Row numbers of the rows alive, ascending."""
        return [number for number in range(self._rows) if self._lives(number)]

    def column(self, name: str) -> list[Any]:
        """The values of a column, of the rows alive."""
        if name in self._added:
            values = self._added[name]
            return [values.get(number) for number in self.alive]
        return [row[name] for row in self.rows()]

    def columns(self, *names: str) -> list[list[Any]]:
        """Several columns, read in one pass."""
        lists: list[list[Any]] = [[] for _ in names]
        for row in self.rows():
            for values, name in zip(lists, names, strict=True):
                values.append(row[name])
        return lists

    def set(self, name: str, values: Sequence[Any]) -> None:
        """Give the rows alive these values in column `name` (one each)."""
        self._added.setdefault(name, {}).update(zip(self.alive, values, strict=True))

    def keep(self, mask: Sequence[bool], reason: str, details: Sequence[str] | None = None) -> None:
        """Drop the rows alive whose mask is false, for `reason`."""
        for position, (number, good) in enumerate(zip(self.alive, mask, strict=True)):
            if not good:
                self._dropped[number] = (reason, details[position] if details else "")

    def split(self, names: Sequence[str]) -> None:
        """Put the rows alive in these splits (one name each); without this all are `train`."""
        self._split.update(zip(self.alive, names, strict=True))

    def part(self, name: str) -> Table:
        """The rows alive of one split as a table. What is dropped, set or noted in it is so in the whole table too."""
        part = copy.copy(self)
        part._elsewhere = self._elsewhere | {number for number in self.alive if self._split.get(number, "train") != name}
        return part

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows alive with everything that was set, in order."""
        for number, row in enumerate(self._all()):
            if self._lives(number):
                yield row

    def splits(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(split, row) of the rows alive, in order."""
        for number, row in enumerate(self._all()):
            if self._lives(number):
                yield self._split.get(number, "train"), row

    def rejected(self) -> Iterator[dict[str, Any]]:
        """All rejected rows: those dropped while they were made, then those dropped from the table, each in order."""
        for line in self._spool.read(self.candidates, REJECTED):
            yield orjson.loads(line)
        for number, row in enumerate(self._all() if self._dropped else ()):
            if number in self._dropped:
                reason, detail = self._dropped[number]
                yield {**row, "reject_reason": reason, "reject_detail": detail}

    def reasons(self) -> Counter[str]:
        """How many rows were rejected for what."""
        counts = Counter(orjson.loads(line)["reject_reason"] for line in self._spool.read(self.candidates, REJECTED))
        counts.update(reason for reason, _ in self._dropped.values())
        return counts

    def _lives(self, number: int) -> bool:
        return number not in self._dropped and number not in self._elsewhere

    def _all(self) -> Iterator[dict[str, Any]]:
        for number, line in enumerate(self._spool.read(self.candidates, ACCEPTED)):
            row: dict[str, Any] = orjson.loads(line)
            for name, values in self._added.items():
                if number in values:
                    row[name] = values[number]
            yield row
