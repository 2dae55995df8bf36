"""The calls that can still be found in a damaged ledger's pages, and the count of those that cannot.

A call counts as intact only if the checksums of its request and its answer hold and its key is the hash of its request,
so a wrong answer cannot come out of any damage, whatever page it was found on.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from struct import error as StructError
from typing import Any, NamedTuple, Protocol

import msgspec

from pica.synth.ledger.codec import zstd
from pica.synth.ledger.file import Books
from pica.synth.ledger.pages import (
    COMMITTED,
    INDEX_INNER,
    INDEX_LEAF,
    LEAF,
    VIEWS,
    Layout,
    Pages,
    Shape,
    layouts,
    values,
)
from pica.synth.models.base import Answer

_SAMPLE = 512  # pages, about, that a layout is judged by
_SMALLEST = 40  # bytes of a stored call, at least: bounds the row ids that can be true
_CALL = re.compile(rb"[\x0c-\x30](?=\x00\x2c)")  # a record's head: its size, then types: the row id, a blob of 16 bytes
_DICTIONARY = re.compile(rb"[\x03-\x06](?=\x00.{1,4}\x37\xa4\x30\xec)", re.DOTALL)


class Record(NamedTuple):
    """A stored call as it was found. `books` is None where their seal is broken."""

    key: bytes
    answer: bytes
    request: bytes
    books: Books | None

    @classmethod
    def of(cls, columns: Sequence[Any]) -> Record | None:
        """The call with these columns (the table's but for `id` and `dictionary`), or None if it cannot be one."""
        key, answer, request, owner, model, *numbers, seal = columns
        if not all(isinstance(blob, bytes) for blob in (key, answer, request)):
            return None
        try:
            books = Books(_text(owner), _text(model), *numbers)
            return cls(key, answer, request, books if books.seal == seal else None)
        except (TypeError, ValueError, StructError):
            return cls(key, answer, request, None)


class Sink(Protocol):
    """Where intact calls go."""

    def add(self, record: Record, answer: Answer, dictionary: zstd.ZstdDict | None) -> None:
        """Take an intact call and the dictionary that it needs."""
        ...


class Counts(NamedTuple):
    """Calls: intact, of these with a broken seal; damaged, of these without their dictionary; missing."""

    calls: int
    unsealed: int
    damaged: int
    undecodable: int
    missing: int


class Tally:
    """Which calls were seen, in a temporary file of SQLite's own, so that memory does not grow with the ledger."""

    def __init__(self, sink: Sink | None) -> None:
        self._sink = sink
        self._decode = msgspec.msgpack.Decoder(Answer).decode
        self._dictionaries: dict[int, list[zstd.ZstdDict]] = {}
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.executescript("""
            CREATE TABLE keys(key BLOB PRIMARY KEY, unsealed INTEGER) WITHOUT ROWID;
            CREATE TABLE have(id INTEGER PRIMARY KEY);
            CREATE TABLE hurt(id INTEGER PRIMARY KEY, undecodable INTEGER);
            CREATE TABLE entries(id INTEGER, key BLOB, PRIMARY KEY(id, key)) WITHOUT ROWID;
            BEGIN;""")

    def close(self) -> None:
        """Forget everything."""
        self._db.close()

    def learn(self, content: bytes) -> None:
        """A dictionary, perhaps damaged: a call that decodes with it has passed its checksums all the same."""
        try:
            dictionary = zstd.ZstdDict(content)
            zstd.ZstdCompressor(zstd_dict=dictionary.as_digested_dict)
        except (zstd.ZstdError, ValueError):
            return
        known = self._dictionaries.setdefault(dictionary.dict_id, [])
        if all(content != other.dict_content for other in known):
            known.append(dictionary)

    def add(self, row: int, record: Record) -> bool:
        """Whether this call is intact; if so, it is counted and handed on, once. `row` is its row id, 0 if unknown."""
        if self._db.execute("SELECT 1 FROM keys WHERE key = ?", (record.key,)).fetchone() is None:
            verified = self._verify(record)
            if verified is None:
                return False
            self._db.execute("INSERT INTO keys VALUES(?, ?)", (record.key, record.books is None))
            if self._sink is not None:
                self._sink.add(record, *verified)
        if row:
            self._db.execute("INSERT OR IGNORE INTO have VALUES(?)", (row,))
        return True

    def hurt(self, row: int, record: Record | None) -> None:
        """A call that was found and is not intact."""
        undecodable = record is not None and all(
            _dictionary_of(frame) not in {0, -1, *self._dictionaries} for frame in (record.answer, record.request))
        self._db.execute("INSERT OR IGNORE INTO hurt VALUES(?, ?)", (row, undecodable))

    def entry(self, row: int, key: bytes) -> None:
        """An entry of the index of keys."""
        self._db.execute("INSERT OR IGNORE INTO entries VALUES(?, ?)", (row, key))

    def counts(self) -> Counts:
        """The numbers. Rows are numbered from 1 without gaps, so a gap is a missing one."""
        one = self._db.execute
        one("INSERT OR IGNORE INTO have SELECT id FROM entries NATURAL JOIN keys")
        one("DELETE FROM hurt WHERE id IN have")
        intact, unsealed = one("SELECT count(*), coalesce(sum(unsealed), 0) FROM keys").fetchone()
        damaged, undecodable = one("SELECT count(*), coalesce(sum(undecodable), 0) FROM hurt").fetchone()
        last, seen = one("SELECT coalesce(max(id), 0), count(*) FROM have").fetchone()
        beyond = one("SELECT count(*) FROM (SELECT id FROM entries UNION SELECT id FROM hurt) WHERE id > ?",
                     (last,)).fetchone()[0]
        return Counts(intact, unsealed, damaged, undecodable, max(0, last - seen + beyond - damaged))

    def _verify(self, record: Record) -> tuple[Answer, zstd.ZstdDict | None] | None:
        number = _dictionary_of(record.answer)
        for dictionary in [None] if number == 0 else self._dictionaries.get(number, []):
            try:
                content = zstd.decompress(record.request, zstd_dict=dictionary)
                if blake2b(content, digest_size=16).digest() == record.key:
                    return self._decode(zstd.decompress(record.answer, zstd_dict=dictionary)), dictionary
            except (zstd.ZstdError, msgspec.DecodeError):
                continue
        return None


class PageReader:
    """Tallies every call that the pages of a ledger hold."""

    def __init__(self, pages: Pages, tally: Tally) -> None:
        self._pages = pages
        self._tally = tally
        self._used = bytearray(pages.count + 1)
        self._views = VIEWS if pages.frames.pages else VIEWS[:1]

    def read(self) -> int:
        """Read all pages; returns how many of the file's belong to nothing that could be read."""
        for number, image, _ in self._pages.images():
            self._learn(number, image)
        for number, image, sure in self._pages.images():
            self._read_page(number, image, sure)
        return self._used[1:].count(0)

    def _learn(self, number: int, image: bytes) -> None:
        tree = self._pages.tree(number, image)
        if tree is None or tree.kind == LEAF:
            for found in _DICTIONARY.finditer(image):
                shape = self._pages.shape(image, found.start())
                if shape is not None and len(shape.types) == 2:
                    for view in self._views:
                        record = self._record(image, found.start(), shape, view)
                        if record is not None:
                            self._tally.learn(values(shape, record)[1])

    def _read_page(self, number: int, image: bytes, sure: bool) -> None:
        tree = self._pages.tree(number, image)
        if tree is not None and number <= self._pages.count:
            self._used[number] = 1
        if tree is None:
            self._carve(image)
        elif tree.kind == LEAF:
            cells = [self._pages.cell(image, place, LEAF) or (0, place) for place in tree.cells]
            rows = [row if sure else 0 for row in self._plausible([row for row, _ in cells])]
            fine = [self._take(row, image, place) for row, (_, place) in zip(rows, cells, strict=True)]
            if tree.hurt or not all(fine):
                self._carve(image)
        elif tree.kind in {INDEX_LEAF, INDEX_INNER} and sure:
            for place in tree.cells:
                self._entry(image, place, tree.kind)

    def _carve(self, image: bytes) -> None:
        """Take calls by their look from a page whose cells cannot be found as they should."""
        for found in _CALL.finditer(image):
            self._take(0, image, found.start())

    def _take(self, row: int, image: bytes, place: int) -> bool:
        """Tally the record at `place`; False if it is no call."""
        shape = self._pages.shape(image, place)
        if shape is None or not _is_call(shape):
            return False
        call: Record | None = None
        for view in self._views:
            data = self._record(image, place, shape, view)
            if data is not None:
                columns = values(shape, data)
                call = Record.of([*columns[1:4], *columns[5:]])
                if call is not None and self._tally.add(row, call):
                    return True
        if row:
            self._tally.hurt(row, call)
        return True

    def _record(self, image: bytes, place: int, shape: Shape, view: int) -> bytes | None:
        found = self._pages.record(image, place, shape.total, view)
        if found is None:
            return None
        for number in found[1]:
            if number <= self._pages.count:
                self._used[number] = 1
        return found[0]

    def _entry(self, image: bytes, place: int, kind: int) -> None:
        cell = self._pages.cell(image, place, kind)
        shape = cell and self._pages.shape(image, cell[1])
        if cell and shape and len(shape.types) == 2 and shape.types[0] == 44 and shape.types[1] < 10:
            found = self._pages.record(image, cell[1], shape.total, COMMITTED)
            if found is not None:
                key, row = values(shape, found[0])
                if isinstance(row, int) and self._possible(row):
                    self._tally.entry(row, key)

    def _possible(self, row: int) -> bool:
        return 0 < row <= self._pages.capacity // _SMALLEST

    def _plausible(self, rows: list[int]) -> list[int]:
        """The row ids of a leaf, which ascend, with 0 for those that cannot be true."""
        around = zip([0, *rows], rows, [*rows[1:], self._pages.capacity], strict=False)
        return [row if before < row < after and self._possible(row) else 0 for before, row, after in around]


def best_layout(path: Path) -> Layout:
    """The way to cut the file at `path` into pages that shows most calls in a sample of them."""
    candidates = layouts(path)
    scores = []
    for layout in candidates:
        with Pages(path, layout) as pages:
            step = max(1, (pages.count + len(pages.frames.pages)) // _SAMPLE)
            scores.append(step * sum(_score(pages, number, image) for number, image, _ in pages.images(step)))
    return candidates[scores.index(max(scores))]


def _score(pages: Pages, number: int, image: bytes) -> int:
    """Calls on a leaf whose two texts lie where they should."""
    return sum(all(_dictionary_of(blob) >= 0 for blob in values(shape, data)[2:4]) for shape, data in
               _calls(pages, number, image))


def _calls(pages: Pages, number: int, image: bytes) -> Iterator[tuple[Shape, bytes]]:
    tree = pages.tree(number, image)
    for place in tree.cells if tree is not None and tree.kind == LEAF else ():
        cell = pages.cell(image, place, LEAF)
        shape = cell and pages.shape(image, cell[1])
        if cell and shape and _is_call(shape):
            found = pages.record(image, cell[1], shape.total, COMMITTED)
            if found is not None:
                yield shape, found[0]


def _is_call(shape: Shape) -> bool:
    if len(shape.types) != 13 or shape.types[:2] != (0, 44):
        return False
    numbers = (shape.types[4], *shape.types[7:])
    return (all(kind >= 12 and kind % 2 == 0 for kind in shape.types[2:4])
            and all(kind >= 13 and kind % 2 for kind in shape.types[5:7]) and all(1 <= kind <= 9 for kind in numbers))


def _dictionary_of(frame: bytes) -> int:
    """The number that a compressed text says its dictionary has; 0 for none, -1 for what is no compressed text."""
    try:
        return int(zstd.get_frame_info(frame).dictionary_id)
    except zstd.ZstdError:
        return -1


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
