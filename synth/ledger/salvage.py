"""What can be saved of a damaged ledger, and saving it.

SQLite is asked first. Where it finds damage, or may leave frames of its log aside, the file is read page by page
without it. What cannot be proved to be as it was written is left behind.

    pica ledger check FILE
    pica ledger salvage FILE --to NEW
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from pica.synth.errors import LedgerError, UsageError
from pica.synth.ledger.codec import zstd
from pica.synth.ledger.file import INSERT, Books, connect, explained, open_to_read
from pica.synth.ledger.pages import Pages, layouts, log_path, promised
from pica.synth.ledger.remains import PageReader, Record, Tally, best_layout
from pica.synth.lock import FileLock
from pica.synth.models.base import Answer

_EVERY_CALL = """
SELECT id, key, answer, request, owner, model, prompt_tokens, completion_tokens, cost, seconds, at, seal
FROM calls NOT INDEXED ORDER BY id"""
_GROUP = 1000  # calls written in a transaction


@dataclass(frozen=True)
class Check:
    """What is left of the ledger at `path`.

    `calls` are intact (of `unsealed` ones only request and answer, not the books: owner, model's name, cost and times,
    which a salvaged ledger has as empty and zero). `damaged` are there with a wrong checksum (`undecodable` of them
    because the dictionary that they were compressed with is lost). `missing` are those that the index of keys or a gap
    in the numbering still shows: fewer than were lost where the end of the file is, a few more where numbers are
    damaged too. `unreadable` of its `pages` belong to nothing that could be read, `cut` pages are missing at the end, or
    lack their last bytes. `log_damaged`: SQLite leaves acknowledged frames of the write-ahead log aside. `verdict` is
    SQLite's own (`ok`, or its complaint). `saved_to` is the salvaged ledger, if one was written.
    """

    path: Path
    calls: int
    unsealed: int
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
        return self.verdict == "ok" and not (self.unsealed or self.damaged or self.missing or self.cut or self.log_damaged)

    @property
    def advice(self) -> str:
        """What to do."""
        if self.saved_to is not None:
            return (f"use it with `ledger={self.saved_to}`, or put it in the place of {self.path}; the same command "
                    "then makes only the calls that are not in it")
        if self.healthy:
            return "nothing to do"
        if not self.calls:
            return "nothing of a ledger was found: take a backup, or another file with `ledger=PATH`"
        return f"save the intact calls with `pica ledger salvage {self.path} --to NEW`"

    def explain(self) -> list[str]:
        """The findings as lines."""
        lines = [f"ledger {self.path}: {'healthy' if self.healthy else 'damaged'}", f"calls intact: {self.calls}"]
        if self.unsealed:
            lines.append(f"of these without owner, model's name, cost and times, which are damaged: {self.unsealed}")
        if self.damaged:
            lost = f" ({self.undecodable} because their dictionary is lost)" if self.undecodable else ""
            lines.append(f"calls damaged: {self.damaged}{lost}")
        if self.missing:
            lines.append(f"calls missing: about {self.missing}")
        if self.unreadable or self.cut:
            lines.append(f"pages unreadable: {self.unreadable} of {self.pages}, cut off at the end: {self.cut}")
        if self.log_damaged:
            lines.append("write-ahead log: damaged, SQLite leaves acknowledged calls in it aside")
        lines.append(f"SQLite says: {self.verdict}")
        if self.saved_to is not None:
            lines.append(f"saved to {self.saved_to}: {self.calls} calls")
        return [*lines, f"advice: {self.advice}"]


def check(path: Path) -> Check:
    """Look at every page and call of the ledger at `path`, and change nothing. Memory does not grow with the file.

    Raises `LedgerError` if there is no such file. A run that is writing the ledger may make it look damaged.
    """
    _require(path)
    with explained(path):
        return _examine(path, None)


def salvage(path: Path, to: Path) -> Check:
    """Write a fresh ledger at `to` with every call of the ledger at `path` that is intact; `path` is left as it is.

    Raises `UsageError` if there is something at `to`, `LedgerError` if nothing can be saved, `to` cannot be written, or
    a process is writing the ledger at `path`.
    """
    _require(path)
    for taken in (to, log_path(to)):
        if taken.exists():
            raise UsageError(f"{taken} exists; name a new file for the salvaged ledger")
    part = Path(f"{to}.part")
    for stale in (part, log_path(part), Path(f"{part}-shm")):
        stale.unlink(missing_ok=True)
    with _idle(path), ExitStack() as undo:
        undo.callback(part.unlink, missing_ok=True)
        with closing(_Fresh(part, to)) as fresh:
            found = _examine(path, fresh)
        if not found.calls and not found.healthy:
            raise LedgerError(f"nothing can be saved of {path} ({found.verdict}); {found.advice}")
        os.replace(part, to)
    return replace(found, saved_to=to)


def _require(path: Path) -> None:
    if not path.is_file() and not log_path(path).is_file():
        raise LedgerError(f"no ledger at {path}; a run makes one in its output folder (or where `ledger=` says)")


def _idle(path: Path) -> FileLock | nullcontext[None]:
    """Holds the ledger's lock, if it has one that can be held."""
    lock = Path(f"{path}.lock")
    if not os.access(lock, os.W_OK):
        return nullcontext()
    return FileLock(lock, what=f"ledger {path}", error=LedgerError)


class _Fresh:
    """The ledger that intact calls are written to: the file `part`, which will become `to`."""

    def __init__(self, part: Path, to: Path) -> None:
        self._to = to
        with explained(to):
            self._db = connect(part, "normal")
        self._numbers: dict[bytes, int] = {b"": 0}
        self._rows: list[tuple[object, ...]] = []

    def add(self, record: Record, answer: Answer, dictionary: zstd.ZstdDict | None) -> None:
        """Write an intact call; broken books are replaced by what the answer says of itself."""
        content = dictionary.dict_content if dictionary else b""
        if content not in self._numbers:
            number = self._numbers[content] = len(self._numbers)
            with explained(self._to):
                for table in ("dictionaries", "dictionary_copies"):
                    self._db.execute(f"INSERT INTO {table}(id, bytes) VALUES(?, ?)", (number, content))
        books = record.books or Books("", "", answer.prompt_tokens, answer.completion_tokens, 0.0, 0.0, 0.0)
        self._rows.append((record.key, record.answer, record.request, self._numbers[content], *books, books.seal))
        if len(self._rows) >= _GROUP:
            self._flush()

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        with explained(self._to), self._db:
            self._db.execute("BEGIN")
            self._db.executemany(INSERT, rows)

    def close(self) -> None:
        """Write what is left; the file is then a single one, without a log."""
        try:
            self._flush()
        finally:
            self._db.close()


def _examine(path: Path, sink: _Fresh | None) -> Check:
    with closing(Tally(sink)) as tally:
        verdict, whole = _ask_sqlite(path, tally)
        pending = log_path(path).is_file() and log_path(path).stat().st_size > 0
        raw = pending or not whole
        with Pages(path, best_layout(path) if raw else layouts(path)[0]) as pages:
            unreadable = PageReader(pages, tally).read() if raw else 0
            expected = max(pages.count, promised(path))
            in_log = {number for number in pages.frames.pages if pages.whole < number <= expected}
            cut = expected - pages.whole - len(in_log)
            return Check(path, *tally.counts(), expected, unreadable, cut, pages.frames.cut_off, verdict)


def _ask_sqlite(path: Path, tally: Tally) -> tuple[str, bool]:
    """(SQLite's verdict, whether it gave every call intact); what it gives is tallied."""
    try:
        connection = open_to_read(path, recover=False)
    except (sqlite3.Error, UnicodeDecodeError, LedgerError) as error:
        return _words(error), False
    with closing(connection):
        try:
            problems = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
            if problems != ["ok"]:
                return "; ".join(" ".join(problem.split()) for problem in problems), False
            for table in ("dictionaries", "dictionary_copies"):
                for content, in connection.execute(f"SELECT bytes FROM {table}"):  # noqa: S608
                    tally.learn(content)
            whole = True
            for row, *columns in connection.execute(_EVERY_CALL):
                record = Record.of(columns)
                whole = record is not None and tally.add(row, record) and whole
            return "ok", whole
        except (sqlite3.Error, UnicodeDecodeError) as error:
            return _words(error), False


def _words(error: Exception) -> str:
    """What an error says. SQLite quotes a damaged schema byte by byte, which Python then fails to read as text."""
    return str(error) if not isinstance(error, UnicodeDecodeError) else f"the schema is damaged ({error.reason})"
