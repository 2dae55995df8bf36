"""GGUF files in this process, by llama.cpp: `llamacpp/FILE.gguf`.

    pica run magpie teacher=llamacpp/qwen2.5-7b-instruct-q4_k_m.gguf n=100 --out out

Requests of all callers are batched continuously over a fixed number of slots. Settings in `extra`: `slots` (requests
at a time), `threads` (default: the machine's cores), `gpu_layers` (default: all that fit), `cache` (0: off).
`context` is the tokens that prompt and answer of one request may have; its default is the model's own, at most 4096,
since every slot reserves memory for it. A prompt that is too long is refused, never cut; an answer that fills the
context ends with `finish="length"`.

The order of sampling is that of transformers and vLLM: penalties, temperature, top-k, top-p, min-p. Log-probabilities
are the model's own, before any of these. Penalties count the prompt's tokens too. A prompt may hold special tokens as
text, and the token that begins a sequence is added exactly once where the model wants it.

What a prompt has in common with the one that its slot saw before is not computed again (measured: prompts of one kind
are read 10 times as fast). Which requests share a batch then changes the rounding of a few numbers, and now and then a
sampled token. `extra.slots=1 extra.cache=0` gives the same answer to the same request every time, at a quarter of the
speed; answers in a ledger stay what they are in any case.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from pica.synth.errors import BadRequest, UsageError
from pica.synth.models.base import Answer, Message, ModelConfig, Request
from pica.synth.models.fingerprint import fingerprint
from pica.synth.models.gguf import gguf_metadata
from pica.synth.models.llamaengine import Engine, Setting
from pica.synth.models.seeds import check_text
from pica.synth.models.shared import Shared

_KNOWN = ("cache", "gpu_layers", "slots", "threads")
_ENGINES: Shared[Engine] = Shared()


def default_slots() -> int:
    """Requests worth having at a time: four a core, from 4 to 16."""
    return max(4, min(16, 4 * (os.cpu_count() or 1)))


class LlamaCppModel:
    """A GGUF file answered by llama.cpp in this process. Does `complete`, `chat` and `embed`, and can `render`."""

    def __init__(self, target: str, config: ModelConfig) -> None:
        self._target = target
        self.name, self.config = config.name, config
        self.identity = config.identity or self._identity()
        self.slots: int | None = self._extra("slots", 1, default_slots())
        self._cache = bool(self._extra("cache", 0, 1))
        self._threads, self._layers = self._extra("threads", 0, 0), self._extra("gpu_layers", -1, -1)
        if unknown := set(config.extra) - set(_KNOWN):
            raise UsageError(f"unknown setting {min(unknown)!r} in extra of {self.name!r}; known: {', '.join(_KNOWN)}")
        self._held: dict[bool, tuple[Setting, Engine]] = {}
        self._guard = threading.Lock()

    def weights(self) -> Path:
        """The GGUF file."""
        return Path(self._target).expanduser()

    async def generate(self, request: Request) -> Sequence[Answer]:
        """Answers in sample order. Raises `BadRequest` for prompts too long and for tasks it does not know."""
        check_text(request)
        if request.task not in ("complete", "chat", "embed"):
            raise BadRequest(f"{self.name} cannot do {request.task!r}; it knows complete, chat and embed; name an "
                             "hf/... or vllm/... model for this role")
        engine = await asyncio.to_thread(self._engine, request.task == "embed")
        if request.task == "embed":
            return [await self._call(engine, lambda stop: engine.embed(request.prompt))]
        return await asyncio.gather(*(
            self._call(engine, lambda stop, i=i: engine.answer(request, i, stop))  # type: ignore[misc]
            for i in range(request.n)))

    async def render(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        """The text that the file's own chat template makes of `messages`."""
        engine = await asyncio.to_thread(self._engine, False)
        return await asyncio.to_thread(engine.render, messages, add_generation_prompt)

    async def close(self) -> None:
        """Free the weights, unless another model of this process still uses them."""
        with self._guard:
            held, self._held = self._held, {}
        for setting, _ in held.values():
            await asyncio.to_thread(_ENGINES.release, setting)

    async def _call(self, engine: Engine, work: Callable[[threading.Event], Answer]) -> Answer:
        """Run `work` on a slot; a cancelled caller frees the slot at the next token."""
        stop = threading.Event()
        try:
            return await asyncio.get_running_loop().run_in_executor(engine.pool, work, stop)
        finally:
            stop.set()

    def _engine(self, embedding: bool) -> Engine:
        """The engine, loaded at the first call."""
        with self._guard:
            if embedding not in self._held:
                setting = Setting(path=self.weights(), slots=self.slots or 1, context=self.config.context,
                                  threads=self._threads, gpu_layers=self._layers, embedding=embedding,
                                  cache=self._cache)
                self._held[embedding] = setting, _ENGINES.acquire(setting, lambda: Engine(setting))
            return self._held[embedding][1]

    def _identity(self) -> str:
        path = self.weights()
        gguf_metadata(path)  # a missing or foreign file is told at once
        return f"llamacpp:{fingerprint(path)}"

    def _extra(self, key: str, least: int, default: int) -> int:
        """A whole number from `extra`, or the default where it is not set."""
        value = self.config.extra.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UsageError(f"extra.{key} of {self.name!r} is {value!r}; give a whole number from {least}")
        return value
