"""What can be saved of a damaged ledger, and saving it.

SQLite is asked first. Where it finds damage, or leaves frames of its log aside, the file is read page by page without
it. A call counts as intact only if the checksums of its request and its answer hold and its key is the hash of its
request, so a wrong answer cannot come out of any damage, whatever page it was found on.

    pica ledger check FILE
    pica ledger salvage FILE --to NEW
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from hashlib import blake2b
from math import isfinite
from pathlib import Path
from typing import NamedTuple

import msgspec

from pica.synth.codec import zstd
from pica.synth.errors import LedgerError, UsageError
from pica.synth.ledger_file import INSERT, connect, explained, open_to_read
from pica.synth.lock import FileLock
from pica.synth.models.base import Answer
from pica.synth.pages import (
    COMMITTED,
    INDEX_INNER,
    INDEX_LEAF,
    INNER,
    LEAF,
    VIEWS,
    Layout,
    Pages,
    Shape,
    Tree,
    layouts,
    log_path,
    promised,
    values,
)

_SAMPLE = 512  # pages, at most, that a layout is judged by
_CALL_HEAD = re.compile(rb"[\x0c-\x30](?=\x00\x2c)")  # bytes of the head, then an id that is the row id, a 16-byte key
_DICTIONARY = b"\x37\xa4\x30\xec"
_COLUMNS = ("key, answer, request, owner, model, cost, seconds, at, id")


@dataclass(frozen=True)
class Check:
    """What is left of the ledger at `path`.

    `calls` are intact. `damaged` are there with a wrong checksum (`undecodable` of them because the dictionary that
    they were compressed with is lost). `missing` are those that the index of keys or a gap in the numbering still shows,
    so it is at least that many. `unreadable` of its `pages` belong to nothing that could be read, `cut` pages are
    missing at the end. `log_damaged`: SQLite leaves acknowledged frames of the write-ahead log aside.
    `verdict` is SQLite's own (`ok`, or its complaint). `saved_to` is the salvaged ledger, if one was written.
    """

    path: Path
    calls: int
    damaged: int
    undecodable: int
    missing: int
    pages: int
    unreadable: int
    cut: int
    log_damaged: bool
    verdict: str
    saved_to: Path | None = None

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong."""
        return self.verdict == "ok" and not (self.damaged or self.missing or self.log_damaged)

    @property
    def advice(self) -> str:
        """What to do."""
        if self.saved_to is not None:
            return (f"use it with `ledger={self.saved_to}`, or put it in the place of {self.path}; the same command then "
                    "makes only the calls that are not in it")
        if self.healthy:
            return "nothing to do"
        if not self.calls:
            return "nothing of a ledger was found: take a backup, or another file with `ledger=PATH`"
        return f"save the intact calls with `pica ledger salvage {self.path} --to NEW`"

    def explain(self) -> list[str]:
        """The findings as lines."""
        lines = [f"ledger {self.path}: {'healthy' if self.healthy else 'damaged'}", f"calls intact: {self.calls}"]
        if self.damaged:
            lost = f" ({self.undecodable} because their dictionary is lost)" if self.undecodable else ""
            lines.append(f"calls damaged: {self.damaged}{lost}")
        if self.missing:
            lines.append(f"calls missing: {self.missing} at least")
        if self.unreadable or self.cut:
            lines.append(f"pages unreadable: {self.unreadable} of {self.pages}, cut off at the end: {self.cut}")
        if self.log_damaged:
            lines.append("write-ahead log: damaged, SQLite leaves acknowledged calls in it aside")
        lines.append(f"SQLite says: {self.verdict}")
        if self.saved_to is not None:
            lines.append(f"saved to {self.saved_to}: {self.calls} calls")
        return [*lines, f"advice: {self.advice}"]


def check(path: Path) -> Check:
    """Look at every page and every call of the ledger at `path`; changes nothing. Memory does not grow with the file."""
    _require(path)
    with explained(path):
        return _examine(path, None)


def salvage(path: Path, to: Path) -> Check:
    """Write a fresh ledger at `to` with every call of the ledger at `path` that is intact; `path` is left as it is.

    Raises `UsageError` if there is something at `to`, `LedgerError` if a process is writing the ledger at `path`.
    """
    _require(path)
    if to.exists() or log_path(to).exists():
        raise UsageError(f"{to if to.exists() else log_path(to)} exists; name a new file for the salvaged ledger")
    part = Path(f"{to}.part")
    for stale in (part, log_path(part), Path(f"{part}-shm")):
        stale.unlink(missing_ok=True)
    lock = Path(f"{path}.lock")
    busy = os.access(lock, os.W_OK)
    with FileLock(lock, what=f"ledger {path}", error=LedgerError) if busy else nullcontext(), ExitStack() as undo:
        undo.callback(part.unlink, missing_ok=True)
        with explained(to), closing(_Fresh(part)) as fresh, explained(path):
            found = _examine(path, fresh)
        os.replace(part, to)
    return Check(**{**_fields(found), "saved_to": to})


def _fields(found: Check) -> dict[str, object]:
    return dict(vars(found))


def _require(path: Path) -> None:
    if not path.is_file() and not log_path(path).is_file():
        raise LedgerError(f"no ledger at {path}; a run makes one in its output folder (or where `ledger=` says)")


class _Record(NamedTuple):
    """The columns of a stored call that are taken over as they are."""

    key: bytes
    answer: bytes
    request: bytes
    owner: str
    model: str
    cost: float
    seconds: float
    at: float


class _Fresh:
    """The ledger that intact calls are written to."""

    def __init__(self, path: Path) -> None:
        self._db = connect(path, "normal")
        self._numbers: dict[bytes, int] = {b"": 0}
        self._rows: list[tuple[object, ...]] = []

    def add(self, record: _Record, answer: Answer, dictionary: zstd.ZstdDict | None) -> None:
        """Write an intact call; what its checksums do not cover is taken from the answer where that says it."""
        content = dictionary.dict_content if dictionary else b""
        if content not in self._numbers:
            number = self._numbers[content] = len(self._numbers)
            for table in ("dictionaries", "dictionary_copies"):
                self._db.execute(f"INSERT INTO {table}(id, bytes) VALUES(?, ?)", (number, content))  # noqa: S608
        self._rows.append((record.key, record.answer, record.request, self._numbers[content], record.owner, record.model,
                           answer.prompt_tokens, answer.completion_tokens, record.cost, record.seconds, record.at))
        if len(self._rows) >= 1000:
            self._flush()

    def _flush(self) -> None:
        self._db.execute("BEGIN")
        self._db.executemany(INSERT, self._rows)
        self._db.execute("COMMIT")
        self._rows = []

    def close(self) -> None:
        """Write what is left; the file is then a single one, without a log."""
        try:
            self._flush()
        finally:
            self._db.close()


class _Tally:
    """Which calls were seen, in a temporary file of SQLite's own, so that memory does not grow with the ledger."""

    def __init__(self, sink: _Fresh | None) -> None:
        self._sink = sink
        self._decode = msgspec.msgpack.Decoder(Answer).decode
        self._dictionaries: dict[int, list[zstd.ZstdDict]] = {}
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.executescript("""
            CREATE TABLE keys(key BLOB PRIMARY KEY) WITHOUT ROWID;
            CREATE TABLE have(id INTEGER PRIMARY KEY);
            CREATE TABLE hurt(id INTEGER PRIMARY KEY, undecodable INTEGER);
            CREATE TABLE entries(id INTEGER, key BLOB, PRIMARY KEY(id, key)) WITHOUT ROWID;
            BEGIN;""")

    def close(self) -> None:
        self._db.close()

    def learn(self, content: bytes) -> None:
        """A dictionary, perhaps damaged: a call that decodes with it passes its checksums all the same."""
        try:
            dictionary = zstd.ZstdDict(content)
            zstd.ZstdCompressor(zstd_dict=dictionary.as_digested_dict)
        except (zstd.ZstdError, ValueError):
            return
        known = self._dictionaries.setdefault(dictionary.dict_id, [])
        if all(content != other.dict_content for other in known):
            known.append(dictionary)

    def known(self, key: bytes) -> bool:
        """Whether this call was found intact before."""
        return self._db.execute("SELECT 1 FROM keys WHERE key = ?", (key,)).fetchone() is not None

    def add(self, row: int, record: _Record) -> bool:
        """Whether the call of this row id (0: unknown) is intact; if so it is counted and saved, once."""
        fresh = not self.known(record.key)
        if fresh:
            verified = self._verify(record)
            if verified is None:
                return False
            self._db.execute("INSERT INTO keys VALUES(?)", (record.key,))
            if self._sink is not None:
                self._sink.add(record, *verified)
        if row:
            self._db.execute("INSERT OR IGNORE INTO have VALUES(?)", (row,))
        return True

    def hurt(self, row: int, record: _Record) -> None:
        """A call that is not intact, where it was found."""
        undecodable = all(_dictionary_of(frame) not in {0, -1, *self._dictionaries}
                          for frame in (record.answer, record.request))
        self._db.execute("INSERT OR IGNORE INTO hurt VALUES(?, ?)", (row, undecodable))

    def entry(self, row: int, key: bytes) -> None:
        """An entry of the index of keys."""
        self._db.execute("INSERT OR IGNORE INTO entries VALUES(?, ?)", (row, key))

    def counts(self) -> tuple[int, int, int, int]:
        """(intact, damaged, undecodable, missing)."""
        one = self._db.execute
        one("INSERT OR IGNORE INTO have SELECT id FROM entries NATURAL JOIN keys")
        one("DELETE FROM hurt WHERE id IN have")
        intact = one("SELECT count(*) FROM keys").fetchone()[0]
        damaged, undecodable = one("SELECT count(*), coalesce(sum(undecodable), 0) FROM hurt").fetchone()
        last, seen = one("SELECT coalesce(max(id), 0), count(*) FROM have").fetchone()
        beyond = one("SELECT count(*) FROM (SELECT id FROM entries UNION SELECT id FROM hurt) WHERE id > ?",
                     (last,)).fetchone()[0]
        return intact, damaged, undecodable, max(0, last - seen + beyond - damaged)

    def _verify(self, record: _Record) -> tuple[Answer, zstd.ZstdDict | None] | None:
        number = _dictionary_of(record.answer)
        candidates = [None] if number == 0 else self._dictionaries.get(number, [])
        for dictionary in candidates:
            try:
                content = zstd.decompress(record.request, zstd_dict=dictionary)
                if blake2b(content, digest_size=16).digest() == record.key:
                    return self._decode(zstd.decompress(record.answer, zstd_dict=dictionary)), dictionary
            except (zstd.ZstdError, msgspec.DecodeError):
                continue
        return None


def _dictionary_of(frame: bytes) -> int:
    """The number that a compressed text says its dictionary has; 0 for none, -1 for what is no compressed text."""
    try:
        return zstd.get_frame_info(frame).dictionary_id
    except zstd.ZstdError:
        return -1


def _examine(path: Path, sink: _Fresh | None) -> Check:
    with closing(_Tally(sink)) as tally:
        verdict, whole = _ask_sqlite(path, tally)
        layout = _layout(path)
        with Pages(path, layout) as pages:
            unreadable = cut = 0
            if not whole or pages.frames.pages:
                unreadable = _Reader(pages, tally).read()
                cut = sum(not pages.in_log(number) for number in range(pages.count + 1, promised(path) + 1))
            intact, damaged, undecodable, missing = tally.counts()
            return Check(path, intact, damaged, undecodable, missing, pages.count + cut, unreadable, cut,
                         pages.frames.cut_off, verdict)


def _ask_sqlite(path: Path, tally: _Tally) -> tuple[str, bool]:
    """(SQLite's verdict, whether it gave every call intact); what it gives is tallied."""
    try:
        with closing(open_to_read(path, recover=False)) as connection:
            problems = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
            if problems != ["ok"]:
                return "; ".join(" ".join(problem.split()) for problem in problems), False
            for table in ("dictionaries", "dictionary_copies"):
                for content, in connection.execute(f"SELECT bytes FROM {table}"):  # noqa: S608
                    tally.learn(content)
            rows = connection.execute(f"SELECT {_COLUMNS} FROM calls NOT INDEXED ORDER BY id")  # noqa: S608
            return "ok", all([tally.add(row[-1], _Record(*row[:-1])) for row in rows])
    except (sqlite3.Error, LedgerError) as error:
        return str(error), False


def _layout(path: Path) -> Layout:
    """The way to cut the file into pages that shows most calls in a sample of them."""
    candidates = layouts(path)
    scores = []
    for layout in candidates:
        with Pages(path, layout) as pages:
            step = max(1, (pages.count + len(pages.frames.pages)) // _SAMPLE)
            scores.append(sum(_score(pages, number, image) for number, image in pages.images(step)))
    return candidates[scores.index(max(scores))]


def _score(pages: Pages, number: int, image: bytes) -> int:
    tree = pages.tree(number, image)
    if tree is None or tree.kind != LEAF:
        return 0
    return sum(record is not None and _dictionary_of(record.request) >= 0 and _dictionary_of(record.answer) >= 0
               for _, record, _ in _calls(pages, image, tree, COMMITTED))


def _calls(pages: Pages, image: bytes, tree: Tree, view: int) -> Iterator[tuple[int, _Record | None, list[int]]]:
    """(row id, call or None, its overflow pages) of every cell of a leaf."""
    for place in tree.cells:
        cell = pages.cell(image, place, LEAF)
        if cell is not None:
            yield cell[0], *_call(pages, image, cell[1], view)


def _call(pages: Pages, image: bytes, place: int, view: int) -> tuple[_Record | None, list[int]]:
    """The call whose record starts at `place`, and its overflow pages; None for what is no call, or cannot be read."""
    shape = pages.shape(image, place)
    if shape is None or not _is_call(shape):
        return None, []
    found = pages.record(image, place, shape.total, view)
    if found is None:
        return None, []
    _, key, answer, request, _, owner, model, _, _, *numbers = values(shape, found[0])
    cost, seconds, at = (float(number) if isinstance(number, int | float) and isfinite(number) else 0.0
                         for number in numbers)
    blobs = [blob for blob in (key, answer, request, owner, model) if isinstance(blob, bytes)]
    return _Record(*blobs[:3], *(blob.decode(errors="replace") for blob in blobs[3:]), cost, seconds, at), found[1]


def _is_call(shape: Shape) -> bool:
    if len(shape.types) != 12 or shape.types[:2] != (0, 44):
        return False
    texts, numbers = shape.types[5:7], (shape.types[4], *shape.types[7:])
    return (all(kind >= 12 and kind % 2 == 0 for kind in shape.types[2:4])
            and all(kind >= 13 and kind % 2 for kind in texts) and all(1 <= kind <= 9 for kind in numbers))
