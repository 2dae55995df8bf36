"""The durable store of calls: what was asked, what was answered, under a key made of the call's content.

A ledger is one SQLite file in WAL mode. One thread writes, in groups: every answer that arrived while the last commit
was under way goes into the next one, so an answer is on disk before anybody sees it and the disk is asked a few hundred
times a second at most. Texts are compressed with a dictionary that the ledger trains on its own first answers.

`pica ledger check|salvage|export FILE` and `pica trace DIR ROW_ID` are the ways in from outside.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import orjson

from pica.synth.errors import BadRequest, LedgerError, Malformed
from pica.synth.ledger.codec import Codec, zstd
from pica.synth.ledger.file import INSERT, Books, Durability, connect, explained, open_to_read, unusable
from pica.synth.ledger.seen import Seen
from pica.synth.lock import FileLock
from pica.synth.models.base import Answer, Request

# The row is found in the index and its key is read from the table: a damaged index shows instead of answering wrongly.
_FIND = """SELECT calls.key, calls.answer, calls.dictionary FROM calls AS found CROSS JOIN calls ON calls.id = found.id
           WHERE found.key = ?"""

LINGER = 0.005  # seconds that a busy writer waits for more to write: fewer, larger commits
BUSY = 4        # puts in one commit from which on it is busy


def call_key(identity: str, request: Request, sample: int = 0) -> bytes:
    """The 16 bytes under which sample `sample` of `request` to the model `identity` is stored.

    Everything that can change the answer is in it: the model, task, every message or the prompt, every sampling
    parameter, the schema, the seed and the sample's number. How many samples were asked for together is not.
    """
    return blake2b(call_content(identity, request, sample), digest_size=16).digest()


def call_content(identity: str, request: Request, sample: int) -> bytes:
    """The canonical JSON that `call_key` hashes, and that the ledger keeps as the request.

    Raises `BadRequest` for what JSON cannot hold: lone surrogates, a seed of more than 64 bits.
    """
    try:
        body: list[Any] = [identity, request.task, request.prompt, request.messages, request.continuation,
                           orjson.Fragment(request.sampling.canonical), request.schema, request.seed, sample]
        return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise BadRequest(f"the request to {identity} cannot be written down as JSON ({error}); texts must be valid "
                         "Unicode and the seed fit in 64 bits") from None


class Entry(NamedTuple):
    """One answered call on its way into the ledger."""

    key: bytes
    content: bytes
    answer: Answer
    model: str
    cost: float
    seconds: float


@dataclass(frozen=True)
class Call:
    """One stored call, as `trace` and `export` show it."""

    key: str
    identity: str
    task: str
    prompt: str
    messages: tuple[dict[str, str], ...]
    continuation: str
    sampling: dict[str, Any]
    schema: dict[str, Any] | None
    seed: int | None
    sample: int
    answer: Answer
    cost: float
    seconds: float
    at: float


@dataclass(frozen=True)
class Spent:
    """What the calls of one owner (an output folder) have used so far."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0


class Ledger:
    """The ledger in file `path`, made if absent; `owner` names the folder whose calls are added.

    `durability`: `full` survives a power cut (a disk flush a commit), `normal` survives everything but that.
    Raises `LedgerError` when another process has it, when the file is none of ours, or damaged.
    """

    def __init__(self, path: Path, *, owner: str = "", durability: Durability = "full") -> None:
        self.path = path
        self._owner = owner.encode("utf-8", "backslashreplace").decode()  # a path need not be Unicode
        with ExitStack() as opened, explained(path):
            self._lock = opened.enter_context(
                FileLock(Path(f"{path}.lock"), what=f"ledger {path}", error=LedgerError))
            self._writer = opened.enter_context(closing(connect(path, durability)))
            self._reader = opened.enter_context(
                closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)))
            self._codec = Codec(self._reader)
            fresh = self._reader.execute("SELECT id FROM calls LIMIT 1").fetchone() is None
            opened.pop_all()
        self._seen = Seen() if fresh else None  # None: anything may be in it
        self._find = self._reader.cursor()
        self._waiting: deque[_Batch] = deque()
        self._bell: queue.SimpleQueue[bool] = queue.SimpleQueue()  # true: there is something to write; false: the end
        self._failed: LedgerError | None = None
        self._thread = threading.Thread(target=self._write_forever, name="pica-ledger", daemon=True)
        self._thread.start()

    def get(self, key: bytes) -> Answer | None:
        """The stored answer, or None. About 30 microseconds of CPU for an answer of a kilobyte, 10 for none (1 where the
        ledger was empty when it was opened)."""
        if self._seen is not None and key not in self._seen:
            if self._failed:
                raise self._failed
            return None
        try:
            row = self._find.execute(_FIND, (key,)).fetchone()
            if row is None:
                return None
            if row[0] != key:
                raise sqlite3.DatabaseError("the index of keys is wrong")
            return self._codec.answer(row[1], row[2])
        except (sqlite3.Error, zstd.ZstdError, msgspec.DecodeError) as error:
            raise unusable(self.path, error) from None

    async def put(self, entries: Sequence[Entry]) -> None:
        """Store the entries in one transaction; returns when they are durable. A key that exists keeps its answer.

        Raises `LedgerError` when the ledger cannot be written (then every later `put` does too), `Malformed` when an
        answer cannot be stored because it is no valid Unicode.
        """
        if self._failed:
            raise self._failed
        if self._seen is not None:
            for entry in entries:
                self._seen.add(entry.key)
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append(_Batch(entries, loop, done))
        if len(self._waiting) == 1:  # otherwise the writer has not looked yet, and will find this one too
            self._bell.put(True)
        await done

    def spent(self) -> Spent:
        """What this owner's calls have used, over all its runs."""
        with explained(self.path):
            row = self._reader.execute(
                "SELECT count(*), total(prompt_tokens), total(completion_tokens), total(cost) FROM calls"
                " WHERE owner = ?", (self._owner,)).fetchone()
        return Spent(row[0], int(row[1]), int(row[2]), row[3])

    def __len__(self) -> int:
        with explained(self.path):
            return int(self._reader.execute("SELECT count(*) FROM calls").fetchone()[0])

    def close(self) -> None:
        """Write what is queued, close the file, release the lock. Harmless when closed before."""
        if not self._thread.is_alive():
            return
        self._bell.put(False)
        self._thread.join()
        self._failed = self._failed or LedgerError(f"ledger {self.path} is closed")
        self._find.close()
        self._reader.close()
        self._writer.close()
        self._lock.release()

    def _write_forever(self) -> None:
        busy, going_on = False, True
        while going_on:
            going_on = self._bell.get()
            if busy and going_on:
                time.sleep(LINGER)
            work = []
            while self._waiting:
                work.append(self._waiting.popleft())
            if work:
                self._write(work)
            busy = len(work) >= BUSY

    def _write(self, batches: list[_Batch]) -> None:
        error: LedgerError | Malformed | None = self._failed
        if error is None:
            try:
                self._insert([entry for batch in batches for entry in batch.entries])
            except sqlite3.Error as problem:
                error = self._failed = unusable(self.path, problem)
            except Exception as problem:  # an entry that cannot be written down: it alone must fail
                if len(batches) > 1:
                    for batch in batches:
                        self._write([batch])
                    return
                error = Malformed(f"an answer cannot be stored ({problem})")
        for loop in {batch.loop for batch in batches}:
            futures = [batch.done for batch in batches if batch.loop is loop]
            with suppress(RuntimeError):  # the loop has been closed: nobody waits any more
                loop.call_soon_threadsafe(_resolve, futures, error)

    def _insert(self, entries: list[Entry]) -> None:
        at, pack = time.time(), self._codec.pack
        books = [Books(self._owner, entry.model, entry.answer.prompt_tokens, entry.answer.completion_tokens, entry.cost,
                       entry.seconds, at) for entry in entries]
        rows = [(entry.key, *pack(entry.answer, entry.content), *book, book.seal)
                for entry, book in zip(entries, books, strict=True)]
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            self._writer.executemany(INSERT, rows)
            self._codec.learn(entries, self._writer)
            self._writer.execute("COMMIT")
        except BaseException:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise


class _Batch(NamedTuple):
    entries: Sequence[Entry]
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]


def read_calls(path: Path, keys: Sequence[str] | None = None) -> Iterator[Call]:
    """The calls of the ledger at `path`: all, or those of these hexadecimal keys that it has, in their order.

    Needs no lock: a run may be writing. Raises `LedgerError` where the ledger is absent, foreign or damaged.
    """
    if not path.is_file():
        raise LedgerError(f"no ledger at {path}; a run makes one in its output folder (or where `ledger=` says)")
    with explained(path), closing(open_to_read(path)) as connection:
        codec = Codec(connection)
        query = "SELECT key, answer, request, dictionary, cost, seconds, at FROM calls"
        rows = connection.execute(f"{query} ORDER BY id") if keys is None else (
            row for key in keys for row in connection.execute(f"{query} WHERE key = ?", (bytes.fromhex(key),)))
        for key, answer, request, dictionary, cost, seconds, at in rows:
            content = codec.unpack(request, dictionary)
            if blake2b(content, digest_size=16).digest() != key:
                raise zstd.ZstdError(f"the request under key {key.hex()} is another")
            identity, task, prompt, messages, continuation, sampling, schema, seed, sample = orjson.loads(content)
            yield Call(key.hex(), identity, task, prompt, tuple(messages), continuation, sampling, schema, seed, sample,
                       codec.answer(answer, dictionary), cost, seconds, at)


def _resolve(futures: list[asyncio.Future[None]], error: Exception | None) -> None:
    for future in futures:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
