"""The one place through which every call goes: ledger, in-flight window, budget, retries.

A caller answers a request from its ledger when it can. Otherwise it asks the model, stores the answer, and only then
returns it. Two identical requests at the same time are one call.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import msgspec

from pica.synth.errors import LedgerError, Malformed, ModelError, RateLimited, Stopped, TimedOut, Unreachable, UsageError
from pica.synth.folder import BATCHES
from pica.synth.ledger import Entry, Ledger, call_content
from pica.synth.models import open_model
from pica.synth.models.base import Answer, Model, ModelConfig, Request
from pica.synth.models.goal import Goal
from pica.synth.purse import Purse, Reserved, price
from pica.synth.window import Ticket, Window

BATCHED = 10_000  # calls in flight to a batch API, where waiting costs nothing

Warn = Callable[[str], None]
SAMPLING = {"temperature", "top_p", "max_tokens", "goal"}  # of a role: the model behind it is the same


@dataclass(frozen=True)
class Retry:
    """How often and how patiently a call is repeated. Seconds; every wait is jittered by half."""

    tries: int = 10           # of one call, for faults that may pass; each kind of fault counts by itself
    malformed: int = 3        # of one call, when the answer is none
    timed_out: int = 3        # of one call, each as long as the time limit
    first_contact: int = 6    # to a server that has never answered
    patience: float = 900     # for a server that answered before and is gone, or refuses (429)
    wait: float = 0.1         # before the second try; doubles
    longest: float = 30.0     # wait between two tries


@dataclass
class Counts:
    """What the calls of a run came to. `made` are answers that a model gave now, `cached` those from the ledger."""

    made: int = 0
    cached: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    models: dict[str, set[str]] = field(default_factory=dict)


class Called(NamedTuple):
    """An answer and the key (hexadecimal) under which the ledger has it."""

    key: str
    answer: Answer


class Lane:
    """A model in use: its window, how many rows are worth making at once for it, and whether it ever answered."""

    def __init__(self, config: ModelConfig, concurrency: int, state: Path | None = None) -> None:
        self.config = config
        self.model: Model = open_model(_remembering(config, state))
        limits = [limit for limit in (concurrency, self.model.slots, config.max_in_flight) if limit]
        self.maximum = min(limits) if not config.batch else config.max_in_flight or BATCHED
        start = {"start": self.maximum} if self.model.slots or config.batch else {}
        self.window = Window(self.maximum, **start)
        # a window fills, and grows, only while calls wait for it; an engine in this process would only start rows too early
        self.rows = 2 * self.maximum + 8 if self.model.slots is None else self.maximum + self.maximum // 4 + 1
        self.identity = config.identity or self.model.identity
        self.answered = False


class Caller:
    """Asks models. `concurrency` is calls in flight at most, to each model. `state`: a folder in which a batch API's
    batches are remembered, so that a run that was stopped finds them again."""

    def __init__(self, ledger: Ledger, purse: Purse, *, concurrency: int = 256, retry: Retry | None = None,
                 warn: Warn = lambda text: None, state: Path | None = None) -> None:
        self.counts = Counts()
        self.in_flight = 0
        self.stopped: Stopped | ModelError | LedgerError | None = None
        self._ledger = ledger
        self._purse = purse
        self._concurrency = concurrency
        self._state = state
        self._retry = retry or Retry()
        self._warn = warn
        self._warned: set[str] = set()
        self._lanes: dict[int, Lane] = {}  # by id(config), which stays unique because of _kept
        self._kept: list[ModelConfig] = []
        self._goals: dict[int, Goal] = {}  # by id(config): the goal as the model was trained to read it
        self._models: dict[str, Lane] = {}
        self._pending: dict[bytes, asyncio.Future[None]] = {}
        self._jitter = random.Random()

    def lane(self, config: ModelConfig) -> Lane:
        """The lane of `config`; equal configs share one, so that a model loads once and has one window."""
        lane = self._lanes.get(id(config))
        if lane is None:
            name = config.model_dump_json(exclude=SAMPLING)
            lane = self._models.get(name) or Lane(config, self._concurrency, self._state)
            if config.goal is not None:
                self._goals[id(config)] = config.goal.for_model(config.name)
            self._models[name] = self._lanes[id(config)] = lane
            self._kept.append(config)
        return lane

    @property
    def lanes(self) -> list[Lane]:
        """All models in use."""
        return list(self._models.values())

    async def ask(self, config: ModelConfig, request: Request) -> list[Called]:
        """The `request.n` answers to `request`, each durable. Raises `ModelError` or `Stopped`."""
        lane = self.lane(config)
        if config.goal is not None:
            request = _conditioned(config, self._goals[id(config)], request)
        contents = [call_content(lane.identity, request, sample) for sample in range(request.n)]
        keys = [blake2b(content, digest_size=16).digest() for content in contents]
        while True:
            answers = [self._ledger.get(key) for key in keys]
            missing = [sample for sample, answer in enumerate(answers) if answer is None]
            busy = next((self._pending[keys[sample]] for sample in missing if keys[sample] in self._pending), None)
            if busy is None:
                break
            await asyncio.wait([busy])
        self.counts.cached += len(keys) - len(missing)
        if missing:
            fresh = await self._ask_fresh(lane, request, missing, keys, contents)
            for sample, answer in zip(missing, fresh, strict=True):
                answers[sample] = answer
        return [Called(key.hex(), answer) for key, answer in zip(keys, answers, strict=True) if answer is not None]

    async def _ask_fresh(self, lane: Lane, request: Request, missing: list[int], keys: list[bytes],
                         contents: list[bytes]) -> list[Answer]:
        if len(missing) < request.n:
            request = msgspec.structs.replace(request, n=len(missing), seed=_derived(request.seed, missing[0]))
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for sample in missing:
            self._pending[keys[sample]] = done
        try:
            return await self._call(lane, request, [(keys[sample], contents[sample]) for sample in missing])
        finally:
            for sample in missing:
                del self._pending[keys[sample]]
            done.set_result(None)

    async def _call(self, lane: Lane, request: Request, places: list[tuple[bytes, bytes]]) -> list[Answer]:
        """Ask until there is an answer, or no hope; store what came."""
        failures, since = Counter[str](), 0.0
        while True:
            try:
                return await self._try(lane, request, places, again=bool(failures))
            except ModelError as error:
                since = since if failures else time.monotonic()
                failures[error.kind] += 1
                self.counts.failed += 1
                delay = self._delay(lane, error, failures, time.monotonic() - since)
            await asyncio.sleep(delay)

    async def _try(self, lane: Lane, request: Request, places: list[tuple[bytes, bytes]], *, again: bool,
                   ) -> list[Answer]:
        self._check()
        ticket = await lane.window.enter(first=again)
        self.in_flight += 1
        try:
            started = time.monotonic()
            answers = await self._generate(lane, request, ticket)
            await self._store(lane, answers, places, time.monotonic() - started)
            return answers
        finally:
            self.in_flight -= 1

    async def _generate(self, lane: Lane, request: Request, ticket: Ticket) -> list[Answer]:
        """Ask the model once. The place in the window is free again when it has answered, before that is stored."""
        error: BaseException | None = None
        reserved: Reserved | None = None
        answers: list[Answer] = []
        try:
            self._check()
            if self._purse.capped:
                reserved = await self._purse.reserve(lane.config, request)
                self._check()
            answers = list(await lane.model.generate(request))
            if len(answers) != request.n:
                raise Malformed(f"{lane.config.name} gave {len(answers)} answers where {request.n} were asked for")
            return answers
        except Stopped as problem:
            self.stop(problem)
            raise
        except BaseException as problem:
            error = problem
            raise
        finally:
            lane.window.leave(ticket, error)
            if reserved is not None:
                self._purse.settle(reserved, lane.config, answers)

    async def _store(self, lane: Lane, answers: list[Answer], places: list[tuple[bytes, bytes]], seconds: float) -> None:
        name, counts = lane.config.name, self.counts
        entries = []
        for answer, (key, content) in zip(answers, places, strict=True):
            cost = price(lane.config, answer.prompt_tokens, answer.completion_tokens)
            entries.append(Entry(key, content, answer, name, cost, seconds))
            counts.prompt_tokens += answer.prompt_tokens
            counts.completion_tokens += answer.completion_tokens
            counts.cost += cost
        try:
            await self._ledger.put(entries)
        except LedgerError as error:
            self.stop(error)
            raise
        counts.made += len(answers)
        lane.answered = True
        counts.models.setdefault(name, set()).add(answers[0].model)

    def _delay(self, lane: Lane, error: ModelError, failures: Counter[str], waited: float) -> float:
        """Seconds until the next try; raises `error` when there is none."""
        if error.fatal:
            self.stop(error)
            raise error
        hopeless = not error.retry or failures[error.kind] >= self._tries(lane, error)
        if isinstance(error, RateLimited) or (isinstance(error, Unreachable) and lane.answered):
            hopeless = waited > self._retry.patience
        if hopeless:
            if isinstance(error, Unreachable):
                self.stop(error)
            raise error
        if error.kind not in self._warned:
            self._warned.add(error.kind)
            self._warn(f"{error} (tried again; further ones are only counted)")
        wait = min(self._retry.longest, self._retry.wait * 2.0 ** min(failures.total() - 1, 30))
        return max(error.retry_after or 0.0, wait * self._jitter.uniform(0.5, 1.0))

    def _tries(self, lane: Lane, error: ModelError) -> int:
        if isinstance(error, Malformed):
            return self._retry.malformed
        if isinstance(error, TimedOut):
            return self._retry.timed_out
        return self._retry.tries if lane.answered or not isinstance(error, Unreachable) else self._retry.first_contact

    def stop(self, reason: Stopped | ModelError | LedgerError) -> None:
        """Make no further call; those in flight end and are stored. The first reason counts."""
        self.stopped = self.stopped or reason

    def _check(self) -> None:
        if self.stopped is not None:
            raise self.stopped

    async def close(self) -> None:
        """Close all models."""
        for lane in self._models.values():
            await lane.model.close()


def _remembering(config: ModelConfig, state: Path | None) -> ModelConfig:
    """The config with a place for the batches that are under way, if it has batches and names none."""
    if not config.batch or state is None or "batch_state" in config.extra:
        return config
    name = blake2b(config.name.encode(), digest_size=6).hexdigest()
    return config.model_copy(update={"extra": {**config.extra, "batch_state": str(state / f"{BATCHES}{name}.jsonl")}})


def _conditioned(config: ModelConfig, goal: Goal, request: Request) -> Request:
    """The chat with the goal in its prompt. Raises `UsageError` for what is no chat."""
    if request.task != "chat":
        raise UsageError(f"{config.name} has goal={goal.value}, which goes into chats, and is asked for {request.task!r}; give "
                         "the goal to the role that answers alone, such as responder.goal=10")
    return msgspec.structs.replace(request, messages=tuple(goal.wrap(request.messages)))


def _derived(seed: int | None, sample: int) -> int | None:
    """The seed for the samples from `sample` on, when those before it are in the ledger already."""
    if seed is None or sample == 0:
        return seed
    return int.from_bytes(blake2b(f"{seed}/{sample}".encode(), digest_size=6).digest(), "big")
