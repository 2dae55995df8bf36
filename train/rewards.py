"""Scorers as TRL reward functions: every call durable in a ledger of the output folder, what has no score counted.

TRL calls a reward function in the thread that trains and waits. The calls to models run in an event loop of a thread of
their own, all answers of a batch at once. A training that starts again from a checkpoint writes the same answers again
and finds their scores in the ledger.

With several processes each scores the answers that it sampled, and keeps a ledger of its own, since a ledger has one writer;
the counts in the manifest and the metrics `score` and `unscored` are those of the first one.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, TypeVar

import orjson

from pica.synth.budget import Budget
from pica.synth.errors import Interrupted, ModelError, PicaError, TooManyFailures
from pica.synth.ledger import Ledger
from pica.synth.models.base import Message, assistant, user
from pica.synth.rewards import Row, Score, Scorer
from pica.synth.run import Draft, Run, together

T = TypeVar("T")

#: Answers in a row without a score, after which a training stops.
LOST: Final = 20

Prompt = str | Sequence[Message]


class Rewards:
    """A TRL reward function: `rewards(prompts, completions, row=...)` gives a number, or None, for each answer.

    `scorer` scores; `ledger` is the file of the ledger; `budget` caps calls, tokens and cost (its seconds are those of the whole
    training, which `pica.train.watch` looks after). Raises what stops a training:
    `Stopped` (budget, too many answers without a score), `ModelError` (a judge that is gone, a key refused), `LedgerError`,
    `UsageError` (a column that is not there). Any other failed call leaves its answer without a score.
    """

    __name__ = "reward"  # TRL names its metrics after it

    def __init__(self, scorer: Scorer, ledger: Path, *, seed: int = 0, concurrency: int = 256, budget: Budget | None = None,
                 say: Callable[[str], None] = lambda text: None) -> None:
        self.scorer = scorer
        self.counts: dict[str, Any] = {"scored": 0, "unscored": {}}
        self.recent = Recent()
        self.restore: Callable[[], None] = lambda: None     # brings back the random state before the step
        self.on_failure: Callable[[], str] = lambda: ""     # called before an error stops the training; says what is kept
        self._in_a_row = 0
        self._ledger = Ledger(ledger, owner="online")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="pica-rewards", daemon=True)
        self._thread.start()
        try:
            self._run = Run(self._ledger, name="online", seed=seed, concurrency=concurrency, budget=budget, warn=say,
                            state=ledger.parent)
            for model in scorer.models:
                self._run.purse.check(model)
            self._wait(scorer.prepare(self._run))
        except BaseException:
            self.close()
            raise

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[Prompt], row: Sequence[str] | None = None,
                 **others: Any) -> list[float | None]:
        """The scores of the answers, in order; None where there is none. `row`: JSON of each one's other columns."""
        rows = [orjson.loads(text) for text in row] if row is not None else [{}] * len(prompts)
        conversations = [_conversation(prompt, answer) for prompt, answer in zip(prompts, completions, strict=True)]
        try:
            scores = self._wait(self._score(conversations, rows))
            for score in scores:
                self._count(score)
        except PicaError as error:
            self.restore()
            if kept := self.on_failure():
                error.args = (f"{error}; {kept}",)
            raise
        return [score.value for score in scores]

    async def _score(self, conversations: Sequence[Sequence[Message]], rows: Sequence[Row]) -> list[Score]:
        return await together(*(self._one(messages, row) for messages, row in zip(conversations, rows, strict=True)))

    async def _one(self, messages: Sequence[Message], row: Row) -> Score:
        """The score of one answer. Its seeds follow from what is scored, so the same answer has the same calls."""
        draft = Draft(self._run, _number(messages, row))
        try:
            return await self.scorer.score(draft, "reward", messages, row)
        except ModelError as error:
            if self._run.caller.stopped is not None:
                raise
            return Score(None, reason=f"no answer: {error.kind}", detail=str(error))

    def _count(self, score: Score) -> None:
        self.recent.add(score)
        if score.value is not None:
            self.counts["scored"] += 1
            self._in_a_row = 0
            return
        unscored = self.counts["unscored"]
        unscored[score.reason] = unscored.get(score.reason, 0) + 1
        self._in_a_row += 1
        if self._in_a_row >= LOST:
            raise TooManyFailures(f"none of the last {self._in_a_row} answers got a score from {self.scorer.name}, the last "
                                  f"because: {score.reason}{f' ({score.detail[:200]})' if score.detail else ''}")

    def report(self) -> dict[str, Any]:
        """Who scored, how many answers, and what that took: for the manifest."""
        counts = self._run.caller.counts
        return {"rewards": self.scorer.describe(), "answers": self.counts,
                "calls": {"made": counts.made, "cached": counts.cached, "failed": counts.failed},
                "tokens": {"prompt": counts.prompt_tokens, "completion": counts.completion_tokens},
                "cost": round(counts.cost, 6)}

    def close(self) -> None:
        """End calls in flight, free models, close the ledger. Harmless when closed before."""
        if not self._thread.is_alive():
            return
        self._wait(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._ledger.close()

    async def _end(self) -> None:
        run = getattr(self, "_run", None)
        if run is not None:
            run.caller.stop(Interrupted("the training has ended"))
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if run is not None:
            await run.caller.close()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


class Recent:
    """Scores since the last line of metrics: how many answers had none, and the mean of every attribute."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._answers = self._scored = self._pairs = self._unused = 0
        self._sums: Counter[str] = Counter()

    def add(self, score: Score) -> None:
        """Count a score."""
        self._answers += 1
        if score.value is not None:
            self._scored += 1
            self._sums.update({"score": score.value, **{f"score/{name}": value for name, value in score.attributes.items()}})

    def add_pairs(self, pairs: int, unused: int) -> None:
        """Count pairs, and those of them that nothing is learnt from."""
        self._pairs += pairs
        self._unused += unused

    def take(self) -> dict[str, float]:
        """The means, and start again. Empty where nothing was scored since."""
        if not self._answers:
            return {}
        found = {name: total / self._scored for name, total in sorted(self._sums.items())}
        found["unscored"] = 1 - self._scored / self._answers
        if self._pairs:
            found["unused_pairs"] = self._unused / self._pairs
        self._clear()
        return found


def companion(rewards: Rewards) -> Any:
    """A transformers callback that adds what `Recent` has to every line of metrics, and notes the state of all random
    number generators before each step, so that a step that could not be scored is begun again with the same answers."""
    from transformers import TrainerCallback

    class Companion(TrainerCallback):  # type: ignore[misc]
        """Goes along with a training that is scored."""

        def on_step_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            rewards.restore = _randomness()

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **others: Any) -> None:
            if logs is not None and "train_runtime" not in logs:
                found = rewards.recent.take()
                logs.update(found)
                state.log_history[-1].update(found)

    return Companion()


def _randomness() -> Callable[[], None]:
    """Notes the state of every generator; the function brings it back."""
    import random

    import numpy as np
    import torch

    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []

    def restore() -> None:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if gpus:
            torch.cuda.set_rng_state_all(gpus)

    return restore


def _conversation(prompt: Prompt, answer: Prompt) -> list[Message]:
    """The conversation with its answer, from TRL's plain or conversational form."""
    before = [user(prompt)] if isinstance(prompt, str) else list(prompt)
    return [*before, *([assistant(answer)] if isinstance(answer, str) else answer)]


def _number(messages: Sequence[Message], row: Mapping[str, Any]) -> int:
    """A number that stands for this answer and row."""
    return int.from_bytes(blake2b(orjson.dumps([messages, row], option=orjson.OPT_SORT_KEYS), digest_size=7).digest(), "big")
