"""The smallest real recipe, and real parts around a scripted model, for tests of the core."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec

from pica.synth.budget import Budget
from pica.synth.caller import Caller, Retry
from pica.synth.config import RunConfig
from pica.synth.errors import Reject
from pica.synth.ledger import Ledger, read_calls
from pica.synth.models.base import ModelConfig, Request, Sampling, user
from pica.synth.models.fake import Script, ScriptedModel
from pica.synth.plan import Plan, Step
from pica.synth.purse import Purse
from pica.synth.recipe import Recipe
from pica.synth.rows import SFTRow
from pica.synth.run import Draft, Run
from pica.synth.spool import Spool

QUICK = Retry(wait=0.001, longest=0.002)
FAKE = ModelConfig(name="fake/magpie")


class Number(msgspec.Struct):
    """A row that is only its candidate's number."""

    index: int


class Talk(SFTRow, kw_only=True):
    """A question and its answer."""

    length: Annotated[int, "characters of the answer"]


class TalkConfig(RunConfig):
    """Settings of `TalkRecipe`. `short`: answers of fewer characters are rejected."""

    question: str = "What is a magpie?"
    short: int = 0
    answer: Sampling = Sampling(max_tokens=256)


class TalkRecipe(Recipe[TalkConfig]):
    """One question, asked again and again."""

    name = "talk"
    summary = "a question and its answers"
    config_class = TalkConfig

    @property
    def row_class(self) -> type[Talk]:
        return Talk

    async def make_row(self, draft: Draft) -> Talk:
        question = f"{self.config.question} ({draft.index})"
        draft.keep(messages=[user(question)])
        answer = await draft.chat("answer", self.config.teacher, [user(question)], self.config.answer)
        if len(answer.text) < self.config.short:
            raise Reject("short", f"{len(answer.text)} characters")
        return Talk(id=draft.id, recipe=self.name, model=self.config.teacher.name, seed=draft.seed, calls=draft.calls,
                    messages=[{"role": "user", "content": question}, {"role": "assistant", "content": answer.text}],
                    length=len(answer.text))

    def plan(self) -> Plan:
        return Plan(self.config.n, [Step("answer", self.config.teacher, 1, 10, 100)])


def talk(**values: Any) -> TalkRecipe:
    """The recipe with these settings, on the fake model."""
    return TalkRecipe(TalkConfig.model_validate({"teacher": "fake/magpie", **values}))


class Clock:
    """The machine's monotonic clock, which a test may put forward, so that no test waits for it or races with it."""

    def __init__(self) -> None:
        self._plain, self._skipped = time.monotonic, 0.0

    def __call__(self) -> float:
        return self._plain() + self._skipped

    def skip(self, seconds: float) -> None:
        """So many seconds have passed."""
        self._skipped += seconds


SCRIPTS: dict[str, ScriptedModel] = {}


class Scripted:
    """Registers functions as models `scripted/NAME`."""

    def __call__(self, name: str, function: Script, **settings: Any) -> tuple[ModelConfig, ScriptedModel]:
        SCRIPTS[name] = ScriptedModel(f"scripted/{name}", function)
        return ModelConfig(name=f"scripted/{name}", **settings), SCRIPTS[name]


def open_scripted(target: str, config: ModelConfig) -> ScriptedModel:
    """The provider of `scripted/NAME`."""
    return SCRIPTS[target]


@contextmanager
def calling(path: Path, *, budget: Budget | None = None, retry: Retry = QUICK, concurrency: int = 256,
            warn: Callable[[str], None] = lambda text: None) -> Iterator[Caller]:
    """A caller over the ledger in `path`."""
    ledger = Ledger(path / "ledger.sqlite", durability="normal")
    try:
        yield Caller(ledger, Purse(budget or Budget(), ledger.spent()), concurrency=concurrency, retry=retry, warn=warn)
    finally:
        ledger.close()


@contextmanager
def running(path: Path, **values: Any) -> Iterator[tuple[Run, Spool]]:
    """A run and its spool in `path`."""
    ledger, spool = Ledger(path / "ledger.sqlite", durability="normal"), Spool(path / "rows.ndjson")
    try:
        yield Run(ledger, name="test", retry=values.pop("retry", QUICK), **values), spool
    finally:
        spool.close()
        ledger.close()


def chat(text: str, *, seed: int | None = 1, n: int = 1, max_tokens: int = 64) -> Request:
    """A request to chat."""
    return Request(task="chat", messages=(user(text),), seed=seed, n=n, sampling=Sampling(max_tokens=max_tokens))


def stored(path: Path) -> int:
    """Calls in the ledger of the folder `path`."""
    return sum(1 for _ in read_calls(path / "ledger.sqlite"))


def data(path: Path) -> dict[str, bytes]:
    """The bytes of the rows and rejects in the folder `path`."""
    return {file.relative_to(path).as_posix(): file.read_bytes()
            for file in sorted([*path.glob("data/*"), *path.glob("rejected/*")])}


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that other tasks do."""
    while not condition():  # noqa: ASYNC110  # there is no event to wait for
        await asyncio.sleep(0.001)


async def together(*parts: Any) -> Sequence[Any]:
    """What each of the parts returns or raises."""
    return await asyncio.gather(*parts, return_exceptions=True)
