"""Checkpoints in this process, by transformers: `hf/ID-OR-PATH` (a folder, or a hub id with `revision`).

    pica run magpie teacher=hf/./my-checkpoint reward=hf/my-reward-model n=100 --out out

What many callers ask at the same time is gathered into batches of like requests, padded on the left. Settings in
`extra`: `slots` (rows of a batch), `batch_tokens` (padded tokens of a batch), `device` (default: a GPU where there is
one). `dtype=auto` is the checkpoint's own on a GPU and float32 on a CPU. Code that comes with a model is never run.

Each sample has a seed of its own and draws from nothing else. What is left of its batch mates is rounding in the
model's arithmetic, which differs with the shape of a batch and can tip a token that was almost a tie;
`extra.slots=1` rules that out too, at the price of batching.

A JSON schema is enforced where `llguidance` is installed; without it the model answers freely, and the caller's strict
parsing decides. Penalties for repetition count prompt and answer, those for frequency and presence the answer alone.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

from pica.synth.errors import UsageError
from pica.synth.models.base import Answer, Message, ModelConfig, Request
from pica.synth.models.fingerprint import fingerprint
from pica.synth.models.hfengine import Engine, Kind, Setting
from pica.synth.models.seeds import check_text
from pica.synth.models.shared import Shared

_KNOWN = ("batch_tokens", "device", "slots")
_DTYPES = ("auto", "float32", "bfloat16", "float16")
_ENGINES: Shared[Engine] = Shared()


def local_or_hub(target: str, revision: str) -> str:
    """What stands for weights in the ledger's key: a folder's content, or a hub id with its revision.

    Raises `UsageError` for a path that is not there.
    """
    path = Path(target).expanduser()
    if path.is_dir():
        return fingerprint(path)
    if path.exists() or target.startswith((".", "/", "~")) or target.count("/") > 1 or "\\" in target:
        raise UsageError(f"no checkpoint folder at {target!r}; give a folder that exists, or a hub id like ORG/NAME")
    return f"{target}@{revision or 'main'}"


class HFModel:
    """A checkpoint answered by transformers in this process.

    Does `complete`, `chat`, `logprobs` (per token, and their sum in `values`; prompt and continuation are tokenized
    apart), `score` (the values of a sequence-classification head, in the order of its labels) and `embed` (pooled as
    the folder's sentence-transformers settings say, else the mean; length 1). It can `render`.
    """

    def __init__(self, target: str, config: ModelConfig) -> None:
        if unknown := set(config.extra) - set(_KNOWN):
            raise UsageError(f"unknown setting {min(unknown)!r} in extra of {config.name!r}; known: "
                             + ", ".join(_KNOWN))
        if config.dtype not in _DTYPES:
            raise UsageError(f"unknown dtype {config.dtype!r} of {config.name!r}; known: {', '.join(_DTYPES)}")
        self.name, self.config, self._target = config.name, config, target
        exact = "" if config.dtype == "auto" else f":{config.dtype}"
        self.identity = config.identity or f"hf:{local_or_hub(target, config.revision)}{exact}"
        self._slots, self._budget = self._extra("slots", 32), self._extra("batch_tokens", 65_536)
        self.slots: int | None = self._slots
        self._held: dict[Kind, tuple[Setting, Engine]] = {}
        self._guard = threading.Lock()

    async def generate(self, request: Request) -> Sequence[Answer]:
        """Answers in sample order. Raises `BadRequest` for prompts too long and chats without a template."""
        check_text(request)
        kind: Kind = request.task if request.task in ("score", "embed") else "text"
        engine = await asyncio.to_thread(self._engine, kind)
        jobs = engine.jobs(request)
        waiting = [asyncio.wrap_future(job.future) for job in jobs]
        engine.batcher.submit(jobs)
        answers: list[Answer] = await asyncio.gather(*waiting)
        return answers

    async def render(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        """The text that the tokenizer's chat template makes of `messages`."""
        engine = await asyncio.to_thread(self._engine, "text")
        return engine.prompts.render(messages, add_generation_prompt)

    async def close(self) -> None:
        """Free the weights, unless another model of this process still uses them."""
        with self._guard:
            held, self._held = self._held, {}
        for setting, _ in held.values():
            await asyncio.to_thread(_ENGINES.release, setting)

    def _engine(self, kind: Kind) -> Engine:
        """The engine with this head, loaded at the first call."""
        with self._guard:
            if kind not in self._held:
                setting = Setting(target=self._target, kind=kind, revision=self.config.revision, slots=self._slots,
                                  context=self.config.context, dtype=self.config.dtype, batch_tokens=self._budget,
                                  device=str(self.config.extra.get("device", "")))
                self._held[kind] = setting, _ENGINES.acquire(setting, lambda: Engine(setting))
            return self._held[kind][1]

    def _extra(self, key: str, default: int) -> int:
        """A positive whole number from `extra`, or the default where it is not set."""
        value = self.config.extra.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UsageError(f"extra.{key} of {self.name!r} is {value!r}; give a whole number from 1")
        return value
