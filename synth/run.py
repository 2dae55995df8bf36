"""`Run`: the only place where rows fan out.

A recipe is an `async def` that makes one row. The run makes many at once, with no barrier between a row's steps, until
enough are accepted. Each row gets a `Draft`: its index, its seeds, and the ways to ask models. Running again is
resuming: every call that was answered comes from the ledger.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from math import ceil
from pathlib import Path
from typing import Any

import msgspec
import orjson

from pica.synth.budget import Budget
from pica.synth.caller import Called, Caller, Retry, Warn
from pica.synth.errors import BudgetSpent, Interrupted, LedgerError, ModelError, Reject, Stopped, TooManyFailures
from pica.synth.ledger import Ledger
from pica.synth.models.base import Answer, Message, ModelConfig, Request, Sampling
from pica.synth.purse import Purse
from pica.synth.spool import Spool

SEED_BITS = 53           # what JSON numbers hold exactly
DRAIN_SECONDS = 60.0     # that calls in flight get to end after a stop
ENOUGH_TO_JUDGE = 20     # rows that must have ended before a share of failures says something
HOPELESS = 500           # candidates without a single accepted row


@dataclass(frozen=True)
class Failures:
    """When a run gives up: more than `share` of the rows ended without an answer from a model."""

    share: float = 0.5
    after: int = ENOUGH_TO_JUDGE


def derive_seed(*parts: object) -> int:
    """A seed from anything that has a text; equal parts, equal seed, on every machine."""
    digest = blake2b(orjson.dumps([str(part) for part in parts]), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - SEED_BITS)


class Draft:
    """A row being made: what a recipe's row function gets. `run.draft(name)` gives one that is no row."""

    __slots__ = ("_calls", "_run", "index", "kept", "seed")

    def __init__(self, run: Run, index: int, name: str = "") -> None:
        self._run = run
        self._calls: list[tuple[str, int, int, str]] = []
        self.index = index
        self.seed = run.seed(f"draft {name}" if name else index)
        self.kept: dict[str, Any] = {}

    @property
    def id(self) -> str:
        """The row's name: the same in every run with this recipe and seed."""
        return f"{self._run.name}-{self.seed:014x}"

    @property
    def calls(self) -> list[str]:
        """Ledger keys of the calls so far, by step; the same whatever order they ended in."""
        return [key for _, _, _, key in sorted(self._calls)]

    def keep(self, **fields: Any) -> None:
        """Remember fields of the row for `rejected/`, should it be dropped."""
        self.kept.update(fields)

    def seed_of(self, step: str, attempt: int = 0) -> int:
        """The seed of this row's `attempt`-th call of `step`."""
        return derive_seed(self.seed, step, attempt)

    async def complete(self, step: str, model: ModelConfig, prompt: str, sampling: Sampling, *, attempt: int = 0,
                       bos: str = "", schema: dict[str, Any] | None = None) -> Answer:
        """Let `model` continue the raw text `prompt`, which starts with the token `bos` if that is given."""
        request = Request(task="complete", prompt=prompt, sampling=sampling, schema=schema, bos=bos)
        return (await self.ask(step, model, request, attempt=attempt))[0]

    async def chat(self, step: str, model: ModelConfig, messages: Sequence[Message], sampling: Sampling, *,
                   attempt: int = 0, schema: dict[str, Any] | None = None) -> Answer:
        """Let `model` answer the conversation `messages`."""
        return (await self.samples(step, model, messages, sampling, 1, attempt=attempt, schema=schema))[0]

    async def samples(self, step: str, model: ModelConfig, messages: Sequence[Message], sampling: Sampling, n: int, *,
                      attempt: int = 0, schema: dict[str, Any] | None = None) -> list[Answer]:
        """`n` answers of `model` to the conversation `messages`."""
        request = Request(task="chat", messages=tuple(messages), sampling=sampling, n=n, schema=schema)
        return await self.ask(step, model, request, attempt=attempt)

    async def score(self, step: str, model: ModelConfig, messages: Sequence[Message]) -> tuple[float, ...]:
        """The values that the reward model `model` gives the conversation, one an attribute."""
        return (await self.ask(step, model, Request(task="score", messages=tuple(messages))))[0].values

    async def ask(self, step: str, model: ModelConfig, request: Request, *, attempt: int = 0) -> list[Answer]:
        """The answers to any request. Sets the request's seed, unless the answer does not depend on one.

        `step` names the call within the row: two calls of a row with the same step and attempt have the same seed.
        """
        return [call.answer for call in await self.asked(step, model, request, attempt=attempt)]

    async def asked(self, step: str, model: ModelConfig, request: Request, *, attempt: int = 0) -> list[Called]:
        """As `ask`, each answer with its key in the ledger."""
        random = request.task in {"complete", "chat"} and not request.sampling.greedy
        if random and request.seed is None:
            request = msgspec.structs.replace(request, seed=self.seed_of(step, attempt))
        called = await self._run.caller.ask(model, request)
        self._calls += [(step, attempt, sample, call.key) for sample, call in enumerate(called)]
        return called


async def together(*parts: Awaitable[Any]) -> list[Any]:
    """The results of `parts`, made at once. All of them end before the first error is raised, so no call is lost."""
    results = await asyncio.gather(*parts, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


MakeRow = Callable[[Draft], Awaitable[msgspec.Struct | Sequence[msgspec.Struct]]]


class Run:
    """Rows made at once, over one ledger. `name` and `seed` determine every row's seeds; `say` tells the user something."""

    def __init__(self, ledger: Ledger, *, name: str, seed: int = 0, concurrency: int = 256,
                 budget: Budget | None = None, retry: Retry | None = None, failures: Failures | None = None,
                 warn: Warn = lambda text: None, state: Path | None = None) -> None:
        self.name = name
        self.say = warn
        self.purse = Purse(budget or Budget(), ledger.spent())
        self.caller = Caller(ledger, self.purse, concurrency=concurrency, retry=retry, warn=warn,
                             state=state)
        self.active = 0
        self._seed = seed
        self._failures = failures or Failures()
        self._first_failure = ""
        self._crash: BaseException | None = None
        self._changed = asyncio.Event()
        self._started = time.monotonic()

    def seed(self, index: int | str) -> int:
        """The seed of row `index`, or of the draft of that name."""
        return derive_seed(self.name, self._seed, index)

    def draft(self, name: str) -> Draft:
        """A draft for calls that belong to no row, such as those of `Recipe.prepare`; its seeds follow from `name`."""
        return Draft(self, -1, name)

    @contextmanager
    def draining(self) -> Iterator[None]:
        """While this is open, Ctrl-C, SIGTERM and `budget.seconds` let the calls in flight end and refuse further ones."""
        with self._signals(), self._deadline():
            yield

    async def rows(self, make: MakeRow, spool: Spool, *, want: int, limit: int, models: Sequence[ModelConfig] = (),
                   ) -> None:
        """Make candidates from where `spool` ends until it holds `want` accepted rows, or `limit` candidates.

        `models` are those that the rows will ask; they decide how many rows are made at once. Raises what
        stopped the run: `Stopped` (budget, interruption, failures), `ModelError` (denied, unreachable), `LedgerError`,
        or any exception of `make` that is neither `Reject` nor `ModelError`.
        """
        workers = min(limit - len(spool), max((self.caller.lane(model).rows for model in models), default=64))
        if workers <= 0 or spool.accepted >= want:
            return
        for model in models:
            self.purse.check(model)
        with self.draining(), _rare_collections():
            tasks = [asyncio.ensure_future(self._work(make, spool, want, limit)) for _ in range(workers)]
            try:
                await self._supervise(tasks)
            finally:
                for task in tasks:  # still there only when the run itself was cancelled
                    task.cancel()
        if self._crash is not None:
            raise self._crash
        if self.caller.stopped is not None:
            raise self.caller.stopped

    async def _supervise(self, tasks: Sequence[asyncio.Future[None]]) -> None:
        """Wait for the workers; once the run is stopped, give the calls in flight their time and end the rest."""
        everything = asyncio.gather(*tasks, return_exceptions=True)
        while not everything.done():
            await asyncio.wait([everything], timeout=0.1)
            if self.caller.stopped is None and self._crash is None:
                continue
            end = asyncio.get_running_loop().time() + DRAIN_SECONDS
            while self.caller.in_flight and not everything.done() and asyncio.get_running_loop().time() < end:
                await asyncio.wait([everything], timeout=0.02)
            for task in tasks:
                task.cancel()
            await everything
        for result in everything.result():
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                self._crash = self._crash or result

    async def _work(self, make: MakeRow, spool: Spool, want: int, limit: int) -> None:
        while not self._ended():
            if spool.accepted >= want or len(spool) >= limit:
                return
            if not self._needed(spool, want):
                self._changed.clear()
                await self._changed.wait()
                continue
            index = spool.start()
            self.active += 1
            try:
                await self._make(make, spool, index)
            finally:
                self.active -= 1
                self._changed.set()
            self._judge(spool)

    def _needed(self, spool: Spool, want: int) -> bool:
        """Whether one more row in the making is likely to be needed, going by the share accepted so far."""
        ended = len(spool) - self.active
        share = (spool.accepted + 1) / (ended + 1)
        return self.active < ceil((want - spool.accepted) / max(share, 1e-3))

    async def _make(self, make: MakeRow, spool: Spool, index: int) -> None:
        draft = Draft(self, index)
        try:
            made = await make(draft)
            rows = [made] if isinstance(made, msgspec.Struct) else made
            if not rows:
                raise ValueError("make_row returned no row; raise Reject to drop one")
            spool.accept(index, [msgspec.json.encode(row) for row in rows])
        except Reject as reject:
            spool.reject(index, _rejected(draft, reject.reason, reject.detail), reject.reason)
        except ModelError as error:
            if self._ended():
                return
            self._first_failure = self._first_failure or str(error)
            reason = f"no answer: {error.kind}"
            spool.reject(index, _rejected(draft, reason, str(error)), reason, failed=True)
        except (Stopped, LedgerError) as error:
            self.caller.stop(error)
        except Exception as error:
            error.add_note(f"while making row {index}")
            self._crash = self._crash or error
            self.interrupt("stopped by an error")

    def _judge(self, spool: Spool) -> None:
        """Stop when nearly everything fails."""
        ended = len(spool) - self.active
        known = ended + self.caller.in_flight  # failures may be quicker than answers
        if ended >= self._failures.after and spool.failed > self._failures.share * known:
            self.caller.stop(TooManyFailures(
                f"{spool.failed} of {ended} rows got no answer, the first because: {self._first_failure}"))
        elif ended >= HOPELESS and not spool.accepted:
            reason, number = spool.reasons.most_common(1)[0]
            self.caller.stop(TooManyFailures(f"none of {ended} candidates was accepted; {number} were rejected because: "
                                             f"{reason}. See rejected/, and loosen what rejects them"))

    def _ended(self) -> bool:
        return self.caller.stopped is not None or self._crash is not None

    def interrupt(self, reason: str = "interrupted") -> None:
        """Start no further call; what is in flight ends and is stored."""
        self.caller.stop(Interrupted(f"{reason}; every answer is kept: give the same command to go on"))
        self._changed.set()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM drain; a second one ends at once."""
        loop = asyncio.get_running_loop()
        caught: list[signal.Signals] = []

        def stop(number: signal.Signals) -> None:
            self.interrupt(number.name)
            loop.remove_signal_handler(number)

        with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows, or not the main thread
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, stop, number)
                caught.append(number)
        try:
            yield
        finally:
            for number in caught:
                loop.remove_signal_handler(number)

    @contextmanager
    def _deadline(self) -> Iterator[None]:
        seconds = self.purse.budget.seconds
        if seconds is None:
            yield
            return

        def stop() -> None:
            self.caller.stop(BudgetSpent(f"budget.seconds={seconds:g} has passed; raise it and give the same command "
                                         "to go on"))
            self._changed.set()

        left = self._started + seconds - time.monotonic()
        handle = asyncio.get_running_loop().call_later(max(left, 0.0), stop)
        try:
            yield
        finally:
            handle.cancel()


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Collect cyclic garbage rarely: calls make little of it, and each collection walks every call in flight."""
    before, ours = gc.get_threshold(), not gc.get_freeze_count()  # what somebody else has frozen stays so
    if ours:
        gc.freeze()
    gc.set_threshold(50_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        if ours:
            gc.unfreeze()


def _rejected(draft: Draft, reason: str, detail: str) -> bytes:
    return orjson.dumps({"id": draft.id, **draft.kept, "index": draft.index, "seed": draft.seed, "calls": draft.calls,
                         "reject_reason": reason, "reject_detail": detail}, default=msgspec.to_builtins)
