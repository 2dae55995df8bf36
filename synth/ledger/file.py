"""The file behind a ledger: its tables, how it is opened, and what an error of SQLite means to a user."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from struct import pack
from typing import Literal, NamedTuple
from zlib import crc32

from pica.synth.errors import LedgerError
from pica.synth.ledger.codec import zstd

Durability = Literal["full", "normal"]

VERSION = 1
APPLICATION = 0x50696361  # "Pica"

# Every answer needs its dictionary, so there is a second copy, on pages of its own, for `salvage`.
SCHEMA = """
CREATE TABLE calls(
  id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, answer BLOB NOT NULL, request BLOB NOT NULL,
  dictionary INTEGER NOT NULL, owner TEXT NOT NULL, model TEXT NOT NULL, prompt_tokens INTEGER NOT NULL,
  completion_tokens INTEGER NOT NULL, cost REAL NOT NULL, seconds REAL NOT NULL, at REAL NOT NULL,
  seal INTEGER NOT NULL);
CREATE TABLE dictionaries(id INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
CREATE TABLE dictionary_copies(id INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
"""
INSERT = """
INSERT INTO calls(key, answer, request, dictionary, owner, model, prompt_tokens, completion_tokens, cost, seconds, at,
                  seal)
VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(key) DO NOTHING
"""


class Books(NamedTuple):
    """What the ledger notes about a call besides request and answer. `at` is the time of writing, in Unix seconds."""

    owner: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    cost: float
    seconds: float
    at: float

    @property
    def seal(self) -> int:
        """A checksum (CRC-32), so that damage to a cost or a name shows as damage to a text does."""
        return crc32(pack("<qqddd", *self[2:]) + f"{self.owner}\0{self.model}".encode())


def open_to_read(path: Path, *, recover: bool = True) -> sqlite3.Connection:
    """A connection that only reads the ledger at `path`, also where nothing may be written, and leaves no file behind.

    `recover`: bring in what a killed process left in the write-ahead log. Without it no byte of the ledger changes.
    Raises `LedgerError` for a file of another application or version, `sqlite3.Error` for a damaged one.
    """
    wal = Path(f"{path}-wal")
    pending = wal.exists() and wal.stat().st_size > 0
    modes = ["mode=rw" if recover else "mode=ro"] if pending or recover else []
    modes += [] if pending else ["immutable=1"]  # WAL mode needs a folder that can be written, or this
    for mode in modes:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, isolation_level=None)
        try:
            connection.execute("PRAGMA query_only = ON")
            check_version(connection, path)
            return connection
        except BaseException as error:
            connection.close()
            if not isinstance(error, sqlite3.OperationalError) or mode == modes[-1]:
                raise
    raise AssertionError("no mode left")


def check_version(connection: sqlite3.Connection, path: Path) -> None:
    """Raise `LedgerError` unless the file behind `connection` says that it is a ledger of this version."""
    found = tuple(connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
    if found != (APPLICATION, VERSION):
        raise LedgerError(f"{path} is no ledger of this version (application {found[0]:#x}, version {found[1]}; "
                          f"known: {APPLICATION:#x}, {VERSION}); give another file with `ledger=PATH`")


def connect(path: Path, durability: Durability) -> sqlite3.Connection:
    """A connection that writes the ledger at `path`, made if absent."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            check_version(connection, path)
        else:
            connection.execute("PRAGMA page_size = 8192")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(f"BEGIN;{SCHEMA}PRAGMA application_id = {APPLICATION};"
                                     f"PRAGMA user_version = {VERSION};COMMIT;")
        connection.execute(f"PRAGMA synchronous = {durability.upper()}")
        connection.execute("PRAGMA wal_autocheckpoint = 4000")
    except BaseException:
        connection.close()
        raise
    return connection


def unusable(path: Path, error: Exception) -> LedgerError:
    """The error for a ledger that SQLite, the system or a checksum has trouble with."""
    text = str(error)
    kept = "every answer stored so far is kept"
    if "full" in text:
        return LedgerError(f"no space left for ledger {path}; free some and give the same command again: {kept}")
    if "disk I/O" in text:
        return LedgerError(f"the system refuses to read or write ledger {path} ({text}): a full disk, a quota, a limit "
                           f"on file sizes, or a failing disk; mend it and give the same command again: {kept}")
    if "locked" in text:
        return LedgerError(f"ledger {path} is held by another program ({text}); close it and give the same command "
                           f"again: {kept}")
    if "readonly" in text or "read-only" in text or "unable to open" in text:
        return LedgerError(f"ledger {path} cannot be written ({text}); make it and its folder writable or give "
                           "`ledger=PATH`")
    return LedgerError(f"ledger {path} is damaged or none of ours ({text}); see what can be saved with "
                       f"`pica ledger check {path}` and save it with `pica ledger salvage {path} --to NEW`")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite, zstd and the decoders raise about the ledger at `path` into a `LedgerError`."""
    try:
        yield
    except LedgerError:
        raise
    except (sqlite3.Error, zstd.ZstdError, ValueError) as error:  # ValueError: msgspec, orjson, a bad dictionary
        raise unusable(path, error) from None
