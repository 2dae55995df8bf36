"""vLLM in this process, by its asynchronous engine with continuous batching: `vllm/ID-OR-PATH`.

    pica run magpie teacher=vllm/Qwen/Qwen3-8B n=10000 --out out

`extra` holds vLLM's own engine arguments (`tensor_parallel_size`, `gpu_memory_utilization`, `max_num_seqs`, ...);
`context` is its `max_model_len`. `dtype=auto` is the checkpoint's own on a GPU and float32 on a CPU. Code that comes
with a model is never run, and vLLM's usage reports are off. On a CPU its key-value cache is 4 GB unless the variable
VLLM_CPU_KVCACHE_SPACE (in GB) says otherwise.

Each sample has a seed of its own. vLLM's arithmetic depends on what else is in a batch, so that a token which is almost
a tie may tip between two runs; that is vLLM's, and the ledger is what makes a run repeatable.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import orjson

from pica.synth.errors import BadRequest, Denied, UsageError
from pica.synth.models.base import Answer, Message, ModelConfig, Request, TokenLogprob
from pica.synth.models.hf import local_or_hub
from pica.synth.models.seeds import check_text, sample_seed
from pica.synth.models.shared import Shared
from pica.synth.models.tokens import Prompts

_NUMBERS = itertools.count()


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine is made of. `extra`: engine arguments as JSON; `loop`: the event loop it answers to."""

    target: str
    kind: Literal["text", "embed"]
    revision: str
    context: int
    dtype: str
    extra: bytes
    loop: int


class Engine:
    """A running vLLM engine and the prompts for it."""

    def __init__(self, setting: Setting) -> None:
        self.engine = _start(setting)
        served = Path(setting.target).name if Path(setting.target).expanduser().is_dir() else setting.target
        self.prompts = Prompts(self.engine.get_tokenizer(), self.engine.model_config.max_model_len, served)

    def close(self) -> None:
        """End vLLM's processes."""
        self.engine.shutdown()
        del self.engine
        gc.collect()  # vLLM's own clean-up fails when it is left to the interpreter's end

    async def sample(self, request: Request, ids: list[int], sample: int) -> Answer:
        """One sample of a `complete` or `chat` request."""
        output = await self._final(self.engine.generate, ids, self._params(request, sample))
        one = output.outputs[0]
        logprobs = [_logprob(token, among) for token, among in zip(one.token_ids, one.logprobs or [], strict=False)]
        return Answer(text=one.text, finish=one.finish_reason or "", prompt_tokens=len(ids), model=self.prompts.name,
                      completion_tokens=len(one.token_ids), logprobs=tuple(logprobs))

    async def logprobs(self, request: Request) -> Answer:
        """Log-probabilities of `continuation` after `prompt`, tokenized apart; `values` holds their sum."""
        from vllm import SamplingParams

        before, after = self.prompts.with_start(request.prompt), self.prompts.plain(request.continuation)
        ids = self.prompts.fitting(before + after, 1)
        output = await self._final(self.engine.generate, ids, SamplingParams(max_tokens=1, prompt_logprobs=0))
        first = max(1, len(before))
        among = output.prompt_logprobs[first:]
        each = tuple(_logprob(token, seen, 0) for token, seen in zip(ids[first:], among, strict=True))
        return Answer(text=request.continuation, prompt_tokens=len(before), completion_tokens=len(after), logprobs=each,
                      values=(sum(one.logprob for one in each),), model=self.prompts.name)

    async def embed(self, text: str) -> Answer:
        """The vector of `text`, pooled as the model says, of length 1."""
        from vllm import PoolingParams

        ids = self.prompts.fitting(list(self.prompts.tokenizer(text)["input_ids"]), 0)
        output = await self._final(self.engine.encode, ids, PoolingParams(task="embed"))
        vector = np.asarray(output.outputs.data.float().cpu(), dtype="<f4").ravel()
        vector = vector / max(float(np.linalg.norm(vector)), 1e-12)
        return Answer(vector=vector.astype("<f4").tobytes(), prompt_tokens=len(ids), model=self.prompts.name)

    async def _final(self, call: Any, ids: list[int], params: Any) -> Any:
        """The last output of a call; a cancelled caller aborts it."""
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            outputs = call({"prompt_token_ids": ids}, params, f"pica-{next(_NUMBERS)}")
            return [output async for output in outputs][-1]
        except EngineDeadError as error:
            raise Denied(f"vLLM stopped while it worked on {self.prompts.name}; its own message stands above; run "
                         "again, with a lower gpu_memory_utilization if it ran out of memory") from error
        except ValueError as error:
            raise BadRequest(f"vLLM refused the request: {' '.join(str(error).split())[:300]}") from error

    def _params(self, request: Request, sample: int) -> Any:
        """vLLM's sampling parameters, every one of them stated."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        given = request.sampling
        schema = None if request.schema is None else StructuredOutputsParams(json=request.schema)
        return SamplingParams(
            n=1, temperature=given.temperature, top_p=given.top_p, top_k=given.top_k, min_p=given.min_p,
            max_tokens=given.max_tokens, stop=list(given.stop), seed=sample_seed(request, sample),
            stop_token_ids=sorted(self.prompts.special_stops(given)), logprobs=given.logprobs or None,
            repetition_penalty=given.repetition_penalty, frequency_penalty=given.frequency_penalty,
            presence_penalty=given.presence_penalty, structured_outputs=schema,
            output_kind=RequestOutputKind.FINAL_ONLY)


_ENGINES: Shared[Engine] = Shared()


class VLLMModel:
    """A checkpoint answered by vLLM in this process. Does `complete`, `chat`, `logprobs` and `embed`; can `render`."""

    def __init__(self, target: str, config: ModelConfig) -> None:
        self.name, self.config, self._target = config.name, config, target
        exact = "" if config.dtype == "auto" else f":{config.dtype}"
        self.identity = config.identity or f"vllm:{local_or_hub(target, config.revision)}{exact}"
        self.slots: int | None = config.extra.get("max_num_seqs", 256)
        self._held: dict[str, tuple[Setting, Engine]] = {}
        self._loading: dict[str, asyncio.Task[Engine]] = {}

    async def generate(self, request: Request) -> Sequence[Answer]:
        """Answers in sample order. Raises `BadRequest` for what vLLM refuses and for tasks it does not know."""
        check_text(request)
        if request.task == "score":
            raise BadRequest(f"{self.name} cannot do 'score'; name an hf/... model for this role")
        engine = await self._engine("embed" if request.task == "embed" else "text")
        if request.task == "embed":
            return [await engine.embed(request.prompt)]
        if request.task == "logprobs":
            return [await engine.logprobs(request)]
        ids = engine.prompts.encode(request)
        return await asyncio.gather(*(engine.sample(request, ids, sample) for sample in range(request.n)))

    async def render(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        """The text that the tokenizer's chat template makes of `messages`."""
        return (await self._engine("text")).prompts.render(messages, add_generation_prompt)

    async def close(self) -> None:
        """End vLLM, unless another model of this process still uses it."""
        held, self._held = self._held, {}
        for setting, _ in held.values():
            await asyncio.to_thread(_ENGINES.release, setting)

    async def _engine(self, kind: Literal["text", "embed"]) -> Engine:
        """The engine, started at the first call; anew where another event loop asks."""
        loop = asyncio.get_running_loop()
        if kind in self._held and self._held[kind][0].loop != id(loop):
            await asyncio.to_thread(_ENGINES.release, self._held.pop(kind)[0])
        if kind not in self._held:
            if kind not in self._loading:
                self._loading[kind] = loop.create_task(self._load(kind, id(loop)))
            try:
                return await asyncio.shield(self._loading[kind])
            finally:
                if kind in self._loading and self._loading[kind].done():
                    del self._loading[kind]
        return self._held[kind][1]

    async def _load(self, kind: Literal["text", "embed"], loop: int) -> Engine:
        setting = Setting(target=self._target, kind=kind, revision=self.config.revision, context=self.config.context,
                          dtype=self.config.dtype, loop=loop,
                          extra=orjson.dumps(self.config.extra, option=orjson.OPT_SORT_KEYS))
        engine = await asyncio.to_thread(_ENGINES.acquire, setting, lambda: Engine(setting))
        self._held[kind] = setting, engine
        return engine


def _start(setting: Setting) -> Any:
    """vLLM's engine, silent and without usage reports."""
    os.environ.update(VLLM_NO_USAGE_STATS="1", VLLM_DO_NOT_TRACK="1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")  # this process has threads: forking it is unsafe
    try:
        from vllm import AsyncEngineArgs
        from vllm.platforms import current_platform
        from vllm.v1.engine.async_llm import AsyncLLM
    except ImportError as error:
        raise UsageError(f'vLLM is not installed ({error}); run: pip install "pica[vllm]"') from error
    on_cpu = current_platform.is_cpu()
    if on_cpu:
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "4")  # vLLM's own default wants most of the memory
    arguments: dict[str, Any] = {
        "model": str(Path(setting.target).expanduser()), "revision": setting.revision or None,
        "dtype": "float32" if on_cpu and setting.dtype == "auto" else setting.dtype, "trust_remote_code": False,
        "max_model_len": setting.context or None, "enforce_eager": on_cpu, "disable_log_stats": True, "seed": 0,
        "runner": "pooling" if setting.kind == "embed" else "generate", **orjson.loads(setting.extra)}
    if setting.kind == "embed":
        arguments["convert"] = "embed"
    if arguments["trust_remote_code"]:
        raise UsageError("extra.trust_remote_code is true; Pica runs no code that comes with a model; leave it out")
    try:
        return AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments))
    except TypeError as error:
        raise UsageError(f"vLLM does not know an argument in extra ({error}); see `vllm serve --help`") from error
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(f"vLLM cannot load {setting.target!r} ({' '.join(str(error).split())[:300]}); give a "
                         "checkpoint folder or a hub id that it knows, and enough memory") from error


def _logprob(token: int, among: Any, keep: int = 20) -> TokenLogprob:
    """A token's log-probability and those of the likeliest `keep` beside it."""
    others = {str(one.decoded_token): float(one.logprob) for one in list(among.values())[:keep]}
    return TokenLogprob(str(among[token].decoded_token), float(among[token].logprob), others)
