"""Gathers what many callers ask at the same time into batches, for engines that answer a batch at a time.

One thread works. A batch holds requests of one kind (`key`), the oldest waiting one and those nearest to it in length,
up to a number of rows and a number of padded tokens.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

#: seconds that a lone request waits for company
GATHER = 0.005


@dataclass(eq=False)
class Job:
    """One sample of a request. `tokens`: its prompt and the longest answer it may get; `payload`: for the engine."""

    key: Hashable
    tokens: int
    payload: Any
    future: Future[Any] = field(default_factory=Future)

    def fail(self, error: BaseException) -> None:
        """Tell the caller, unless it is gone."""
        if not self.future.cancelled():
            self.future.set_exception(error)

    def done(self, result: Any) -> None:
        """Hand over the result, unless the caller is gone."""
        if not self.future.cancelled():
            self.future.set_result(result)


class Batcher:
    """Runs `work` on batches of jobs. `work` sets every job's result by itself; what it raises goes to all of them."""

    def __init__(self, work: Callable[[list[Job]], None], rows: int, tokens: int) -> None:
        self._work, self._rows, self._tokens = work, rows, tokens
        self._waiting: list[Job] = []
        self._guard = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")

    def submit(self, jobs: Sequence[Job]) -> None:
        """Queue jobs; their futures are set from the working thread."""
        with self._guard:
            self._waiting += jobs
        for _ in jobs:
            self._thread.submit(self._turn)

    def close(self) -> None:
        """Finish what is queued and end the thread."""
        self._thread.shutdown(wait=True)

    def _turn(self) -> None:
        """Work on one batch, if anything waits."""
        if 0 < len(self._waiting) < self._rows:
            time.sleep(GATHER)
        batch = self._take()
        if not batch:
            return
        try:
            self._work(batch)
        except BaseException as error:  # the callers get it
            for job in batch:
                if not job.future.done():
                    job.fail(error)

    def _take(self) -> list[Job]:
        """The next batch, the longest first."""
        with self._guard:
            self._waiting = [job for job in self._waiting if not job.future.cancelled()]
            if not self._waiting:
                return []
            oldest = self._waiting[0]
            alike = [job for job in self._waiting if job.key == oldest.key]
            alike.sort(key=lambda job: abs(job.tokens - oldest.tokens))
            batch: list[Job] = []
            longest = 0
            for job in alike[: self._rows]:
                longest = max(longest, job.tokens)
                if batch and longest * (len(batch) + 1) > self._tokens:
                    break
                batch.append(job)
            taken = set(map(id, batch))
            self._waiting = [job for job in self._waiting if id(job) not in taken]
        return sorted(batch, key=lambda job: -job.tokens)
