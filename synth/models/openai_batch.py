"""The Files and Batch API: the same requests, cheaper and slower. Used where a model has `batch: true`.

Requests that arrive within a short window go into one batch of at most 50,000 lines and 200 MB. So the number of calls
in flight (`concurrency`) is also the size of the batches: set it as high as the number of rows. Three keys of `extra`
steer this: `batch_window` (seconds to collect, 5), `batch_poll` (seconds between looks, 30) and `batch_state` (a file).

With `batch_state` a run that was stopped finds its batches again: every line of that file names a batch and the hashes
of its requests, so a request that was sent before the stop waits for that batch, or reads its results as long as the
server keeps them, and is not paid for twice. A stop in
the moment between the creation of a batch and the writing of that line leaves one batch that nobody collects. Without
the file, batches are remembered only while the process lives.

Requests that failed or expired are sent one by one in the ordinary way; so are those whose results cannot be fetched.
Needs the `openai` package: `pip install 'pica[openai]'`.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from pica.synth.errors import BadRequest, Malformed, ModelError, ServerFault, TimedOut, Unreachable, UsageError
from pica.synth.models.openai_errors import Source, error_of, one_line

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types import Batch

Json = dict[str, Any]
T = TypeVar("T")
MOST_LINES = 50_000
MOST_BYTES = 190 << 20  # the limit is 200 MB; this leaves room for the envelope of the upload
PATIENCE = 20  # failed looks in a row until a batch is given up
ENDED = ("completed", "expired", "failed", "cancelled")


class BatchSender:
    """Collects requests into batches and hands each its result."""

    def __init__(self, source: Source, key: str, extra: Mapping[str, Any]) -> None:
        """`source` says where batches go and how errors are told. Raises `UsageError` where `openai` is missing."""
        self._source = source
        self._client = _client(source.url, key)
        self._window = float(extra.get("batch_window", 5))
        self._poll = float(extra.get("batch_poll", 30))
        self._state = _State(extra.get("batch_state"))
        self._waiting: dict[str, asyncio.Future[Json | None]] = {}
        self._collected: dict[str, _Lines] = {}
        self._watched: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def answer(self, path: str, body: bytes) -> Json | None:
        """The decoded answer to a request, or None where the batch has none and it must be sent by itself."""
        name = hashlib.sha256(path.encode() + b"\0" + body).hexdigest()[:40]
        waiting = self._waiting.get(name)
        if waiting is None:
            waiting = self._waiting[name] = asyncio.get_running_loop().create_future()
            known = self._state.batch_of(name)
            if known is None:
                self._collect(path, name, body)
            elif known not in self._watched:
                self._watched.add(known)
                self._start(self._watch(known))
        result = await asyncio.shield(waiting)
        if result is not None:  # handed over: not kept here any longer
            self._waiting.pop(name, None)
        return result

    async def close(self) -> None:
        """Stop waiting. The batches go on at the server."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for waiting in self._waiting.values():
            waiting.cancel()
        await self._client.close()

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _collect(self, path: str, name: str, body: bytes) -> None:
        """Put a request into the batch that is being filled for its endpoint, and send that once it is full."""
        lines = self._collected.get(path)
        if lines is None:
            lines = self._collected[path] = _Lines()
            self._start(self._send_later(path, lines))
        line = b'{"custom_id":"%s","method":"POST","url":"/v1%s","body":%s}' % (name.encode(), path.encode(), body)
        lines[name] = line
        lines.size += len(line) + 1
        if len(lines) == MOST_LINES or lines.size > MOST_BYTES:
            del self._collected[path]
            self._start(self._send(path, lines))

    async def _send_later(self, path: str, lines: _Lines) -> None:
        await asyncio.sleep(self._window)
        if self._collected.get(path) is lines:
            del self._collected[path]
            await self._send(path, lines)

    async def _send(self, path: str, lines: _Lines) -> None:
        """Upload and create one batch, remember it, and wait for it."""
        try:
            content = io.BytesIO(b"\n".join(lines.values()))
            file = await self._called(self._client.files.create(file=("pica.jsonl", content), purpose="batch"))
            endpoint: Any = f"/v1{path}"
            batch = await self._called(self._client.batches.create(
                input_file_id=file.id, endpoint=endpoint, completion_window="24h", metadata={"made_by": "pica"}))
        except ModelError as error:
            self._fail(lines, error)
            return
        self._state.remember(batch.id, list(lines))
        self._watched.add(batch.id)
        await self._watch(batch.id)

    async def _watch(self, batch_id: str) -> None:
        """Look at a batch until it has ended, and settle its requests."""
        failures = 0
        while True:
            try:
                batch = await self._called(self._client.batches.retrieve(batch_id))
                failures = 0
                if batch.status in ENDED:
                    await self._settle(batch)
                    return
            except ModelError as error:
                failures += 1
                if not error.retry or failures >= PATIENCE:
                    self._lost(batch_id, error)
                    return
            await asyncio.sleep(self._poll)

    def _lost(self, batch_id: str, error: ModelError) -> None:
        """A batch that can no longer be seen: forgotten if the server does not know it, else an error."""
        names = self._state.names(batch_id)
        self._watched.discard(batch_id)
        if "answered 404" in str(error):
            self._state.forget(batch_id)
            self._resolve(dict.fromkeys(names))
        else:
            self._fail(names, error)

    async def _settle(self, batch: Batch) -> None:
        """Give every request of an ended batch its answer, its error, or None. Raises what fetching raises."""
        names = self._state.names(batch.id)
        if batch.status == "failed":
            self._state.forget(batch.id)
            self._watched.discard(batch.id)
            self._fail(names, _refused(batch))
            return
        found: dict[str, Json | ModelError | None] = dict.fromkeys(names)
        for file_id in (batch.output_file_id, batch.error_file_id):
            if file_id:
                content = await self._called(self._client.files.content(file_id))
                for line in content.content.splitlines():
                    name, result = self._read(line)
                    if name in found:
                        found[name] = result
        self._resolve(found)
        self._watched.discard(batch.id)

    def _read(self, line: bytes) -> tuple[str, Json | ModelError | None]:
        """The request's name and result in one line of a result file; an error that may pass becomes None."""
        try:
            row = orjson.loads(line)
            name = row["custom_id"]
            response = row["response"]
            if not response:
                return name, None
            if response["status_code"] == 200:
                return name, response["body"]
            raw = orjson.dumps(response["body"])
            error = error_of(self._source, response["status_code"], {}, raw)
            return name, None if error.retry else error
        except (orjson.JSONDecodeError, LookupError, TypeError):
            return "", None

    def _resolve(self, found: Mapping[str, Json | ModelError | None]) -> None:
        for name, result in found.items():
            waiting = self._waiting.get(name)
            if waiting is None:  # asked for later: a resumed run has not come to it yet
                waiting = self._waiting[name] = asyncio.get_running_loop().create_future()
            if waiting.done():
                continue
            if isinstance(result, ModelError):
                waiting.set_exception(result)
                waiting.exception()  # seen: nobody need be waiting for it
            else:
                waiting.set_result(result)

    def _fail(self, names: Mapping[str, Any] | list[str], error: ModelError) -> None:
        """The same error for many requests; they may be asked again."""
        for name in names:
            waiting = self._waiting.pop(name, None)
            if waiting is not None and not waiting.done():
                waiting.set_exception(error)
                waiting.exception()

    async def _called(self, call: Awaitable[T]) -> T:
        """The result of a call of the `openai` package, its errors in Pica's words."""
        import openai
        try:
            return await call
        except openai.APIStatusError as error:
            raise error_of(self._source, error.status_code, error.response.headers, error.response.content) from None
        except openai.APITimeoutError:
            raise TimedOut(f"no answer from {self._source.url} to a batch call") from None
        except openai.APIConnectionError as error:
            raise Unreachable(f"{self._source.url} cannot be reached ({one_line(str(error), 100)}); is the server "
                              "running, and is the URL right?") from None
        except openai.OpenAIError as error:
            raise Malformed(f"{self._source.url}: {one_line(self._source.redact(str(error)))}") from None


class _Lines(dict[str, bytes]):
    """The lines of a batch that is being filled, by request, and their bytes."""

    size = 0


class _State:
    """Which batch holds which request: in memory, and one JSON line a batch in a file if there is one."""

    def __init__(self, path: str | None) -> None:
        self._path = Path(path) if path else None
        self._names: dict[str, list[str]] = {}
        self._batch: dict[str, str] = {}
        if self._path is not None and self._path.exists():
            for line in self._path.read_bytes().splitlines():
                self._load(line)

    def _load(self, line: bytes) -> None:
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:  # the last line of a process that was killed while it wrote
            return
        if row.get("done"):
            self._drop(row["batch"])
        else:
            self._add(row["batch"], row["requests"])

    def batch_of(self, name: str) -> str | None:
        """The batch in which a request was sent."""
        return self._batch.get(name)

    def names(self, batch_id: str) -> list[str]:
        """The requests of a batch."""
        return self._names.get(batch_id, [])

    def remember(self, batch_id: str, names: list[str]) -> None:
        """Note a batch that was created, durably."""
        self._add(batch_id, names)
        self._write({"batch": batch_id, "requests": names})

    def forget(self, batch_id: str) -> None:
        """Note that a batch has no results and will have none."""
        self._drop(batch_id)
        self._write({"batch": batch_id, "done": True})

    def _add(self, batch_id: str, names: list[str]) -> None:
        self._names[batch_id] = names
        self._batch.update(dict.fromkeys(names, batch_id))

    def _drop(self, batch_id: str) -> None:
        for name in self._names.pop(batch_id, []):
            self._batch.pop(name, None)

    def _write(self, row: Json) -> None:
        if self._path is None:
            return
        with self._path.open("ab") as file:
            file.write(b"\n" + orjson.dumps(row))
            file.flush()
            os.fsync(file.fileno())


def _client(url: str, key: str) -> AsyncOpenAI:
    try:
        from openai import AsyncOpenAI
    except ImportError:
        raise UsageError("batch: true needs the openai package; run: pip install 'pica[openai]'") from None
    return AsyncOpenAI(base_url=url, api_key=key or "none", max_retries=3)


def _refused(batch: Batch) -> ModelError:
    """The error for a batch that failed as a whole when it was checked."""
    found = batch.errors.data if batch.errors and batch.errors.data else []
    said = "; ".join(one_line(f"line {e.line}: {e.message} ({e.code})", 150) for e in found[:3]) or "no reason given"
    if any(e.code == "token_limit_exceeded" for e in found):
        return ServerFault(f"batch {batch.id} was refused: {said}; too many tokens are queued already")
    return BadRequest(f"batch {batch.id} was refused: {said}")
