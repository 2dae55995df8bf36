"""One loaded GGUF file: llama.cpp's own batching server, called without a network, and a thread for each slot."""

from __future__ import annotations

import http.client
import os
import secrets
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
import orjson

from pica.synth.errors import BadRequest, Malformed, ModelError, ServerFault, UsageError
from pica.synth.models.base import Answer, Message, Request, Sampling, TokenLogprob
from pica.synth.models.gguf import gguf_metadata
from pica.synth.models.seeds import sample_seed

_MOST_CONTEXT = 4096
_SAMPLERS = ["penalties", "temperature", "top_k", "top_p", "min_p"]


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine is made of. `context` is tokens a slot (0: the model's own, at most 4096); `threads` 0 is the
    machine's; `gpu_layers` -1 is all that fit; `embedding`: for vectors instead of text; `cache`: what a prompt shares
    with the slot's last one is not computed again."""

    path: Path
    slots: int
    context: int = 0
    threads: int = 0
    gpu_layers: int = -1
    embedding: bool = False
    cache: bool = True


class Engine:
    """A loaded model. `answer` and `embed` block; they are meant to run in `pool`, one call a slot."""

    quiet: ClassVar[int] = 0

    def __init__(self, setting: Setting) -> None:
        meta = gguf_metadata(setting.path)
        self.path, self._cache = setting.path, setting.cache
        self.context = _context(setting, meta)
        self.has_template = bool(meta.get("tokenizer.chat_template"))
        self._key = secrets.token_hex(16)
        self._server = self._start(setting)
        self.pool = ThreadPoolExecutor(setting.slots, thread_name_prefix="llama.cpp")
        self._bos = ""
        if not setting.embedding and self._post("/tokenize", {"content": "", "add_special": True})["tokens"]:
            self._bos = str(self._post("/props")["bos_token"])

    def _start(self, setting: Setting) -> Any:
        xllamacpp = _imported()
        params = xllamacpp.CommonParams()
        params.model.path = str(setting.path)
        params.model_alias = {setting.path.stem}
        params.n_parallel, params.n_ctx = setting.slots, self.context * setting.slots
        params.kv_unified, params.ctx_shift, params.cache_prompt, params.cache_ram_mib = False, False, setting.cache, 0
        params.prefill_assistant, params.use_jinja = False, True
        params.n_gpu_layers, params.verbosity, params.ui = setting.gpu_layers, self.quiet, False
        params.api_keys, params.warmup = [self._key], False  # it listens on this machine: nobody else may use it
        if setting.threads:
            params.cpuparams.n_threads = params.cpuparams_batch.n_threads = setting.threads
        if setting.embedding:
            params.embedding, params.n_batch, params.n_ubatch = True, self.context, self.context
            if params.pooling_type == xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_UNSPECIFIED:
                params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
        try:
            return xllamacpp.Server(params)
        except RuntimeError as error:
            raise UsageError(f"llama.cpp cannot load {str(setting.path)!r}: the file is damaged, of an unknown kind, "
                             f"or does not fit in memory with {setting.slots} slots of {self.context} tokens; fetch it "
                             "anew, or set context= or extra.slots= lower") from error

    def answer(self, request: Request, sample: int, stop: threading.Event) -> Answer:
        """One sample of a `complete` or `chat` request. Gives up with whatever there is once `stop` is set."""
        body = self._body(request, sample)
        chunks: list[bytes] = []

        def take(chunk: bytes) -> bool:
            chunks.append(chunk)
            return stop.is_set()

        handle = self._server.handle_chat_completions if request.task == "chat" else self._server.handle_completions
        handle(orjson.dumps(body), take)
        return _joined([orjson.loads(chunk) for chunk in chunks], request.task == "chat", self.path.stem)

    def embed(self, text: str) -> Answer:
        """The normalised vector of `text`, pooled as the file says, else by the mean over its tokens."""
        reply = self._server.handle_embeddings({"input": text})
        _raise_error(reply)
        vector = np.asarray(reply["data"][0]["embedding"], dtype="<f4").ravel()
        tokens = int(reply.get("usage", {}).get("prompt_tokens", 0))
        return Answer(vector=vector.tobytes(), prompt_tokens=tokens, model=self.path.stem)

    def render(self, messages: Sequence[Message], add_generation_prompt: bool) -> str:
        """The text that the chat template makes."""
        self._need_template()
        body = {"messages": list(messages), "add_generation_prompt": add_generation_prompt}
        return str(self._post("/apply-template", body)["prompt"])

    def close(self) -> None:
        """Wait for the calls in flight and free the weights."""
        self.pool.shutdown(wait=True)
        del self._server

    def _need_template(self) -> None:
        if not self.has_template:
            raise BadRequest(f"{self.path.name} has no chat template; use a file that has one, or raw completions")

    def _body(self, request: Request, sample: int) -> dict[str, Any]:
        body = _sampling(request.sampling, self.context) | {
            "seed": sample_seed(request, sample), "cache_prompt": self._cache, "stream": True,
            "stream_options": {"include_usage": True}}
        if request.schema is not None:
            body["json_schema"] = request.schema
        if request.task == "chat":
            self._need_template()
            body["messages"] = list(request.messages)
            if request.sampling.logprobs:
                body |= {"logprobs": True, "top_logprobs": request.sampling.logprobs}
            return body
        body["prompt"] = request.prompt.removeprefix(self._bos) if self._bos else request.prompt
        if request.sampling.logprobs:
            body["logprobs"] = request.sampling.logprobs
        return body

    def _post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """What llama.cpp offers only over its local socket: templates and tokens."""
        line = http.client.HTTPConnection(self._server.listening_address.removeprefix("http://"), timeout=600)
        try:
            headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
            line.request("GET" if body is None else "POST", path, None if body is None else orjson.dumps(body), headers)
            reply = orjson.loads(line.getresponse().read())
        finally:
            line.close()
        _raise_error(reply)
        return reply


def _imported() -> Any:
    """The package. Its threads wait for each other by spinning, which stalls on a machine that does other work too, unless
    OpenMP is told to spin briefly before its library loads. Measured on two cores, tokens a second idle and beside two
    busy processes: 105 and 3 as it comes, 80 and 51 without spinning, 89 and 43 with this."""
    mine = "OMP_WAIT_POLICY" not in os.environ and "GOMP_SPINCOUNT" not in os.environ
    if mine:
        os.environ["GOMP_SPINCOUNT"] = "1000"
    try:
        import xllamacpp
    except ImportError as error:
        raise UsageError('llama.cpp is not installed; run: pip install "pica[local]"') from error
    finally:
        if mine:
            del os.environ["GOMP_SPINCOUNT"]
    return xllamacpp


def _context(setting: Setting, meta: dict[str, Any]) -> int:
    """Tokens a slot, at most what the model was trained with."""
    own = int(meta.get(f"{meta.get('general.architecture')}.context_length", _MOST_CONTEXT))
    if setting.context > own:
        raise UsageError(f"context={setting.context} is more than the {own} tokens that {setting.path.name} was "
                         "trained with; set it lower")
    return setting.context or min(own, _MOST_CONTEXT)


def _sampling(sampling: Sampling, context: int) -> dict[str, Any]:
    """llama.cpp's fields. Everything that it would fill in by itself is stated."""
    return {
        "max_tokens": sampling.max_tokens, "stop": list(sampling.stop), "samplers": _SAMPLERS,
        "temperature": sampling.temperature, "top_k": sampling.top_k, "top_p": sampling.top_p, "min_p": sampling.min_p,
        "repeat_penalty": sampling.repetition_penalty, "repeat_last_n": context,
        "frequency_penalty": sampling.frequency_penalty, "presence_penalty": sampling.presence_penalty,
        "typical_p": 1.0, "xtc_probability": 0.0, "dry_multiplier": 0.0, "mirostat": 0, "dynatemp_range": 0.0,
        "top_n_sigma": -1.0, "ignore_eos": False,
    }


def _joined(chunks: list[dict[str, Any]], chat: bool, model: str) -> Answer:
    """One answer from the pieces of a stream."""
    text, reasoning, logprobs, finish = "", "", [], ""
    usage: dict[str, int] = {}
    for chunk in chunks:
        _raise_error(chunk)
        usage = chunk.get("usage") or usage
        for choice in chunk["choices"]:
            delta = choice["delta"] if chat else choice
            text += (delta.get("content") if chat else delta["text"]) or ""
            reasoning += delta.get("reasoning_content") or ""
            logprobs += [_logprob(token) for token in (choice.get("logprobs") or {}).get("content", [])]
            finish = choice.get("finish_reason") or finish
    if not finish:
        raise Malformed(f"{model} ended without a reason to finish; run again")
    if not usage.get("prompt_tokens", 1):
        raise BadRequest("the prompt has no tokens; give a prompt with text")
    return Answer(text=text, finish=finish, reasoning=reasoning, logprobs=tuple(logprobs), model=model,
                  prompt_tokens=usage.get("prompt_tokens", 0), completion_tokens=usage.get("completion_tokens", 0))


def _logprob(token: dict[str, Any]) -> TokenLogprob:
    return TokenLogprob(token["token"], token["logprob"], {t["token"]: t["logprob"] for t in token["top_logprobs"]})


def _raise_error(reply: dict[str, Any]) -> None:
    """Raise what llama.cpp reports, as the error that says what to do."""
    error = reply.get("error")
    if error is None:
        return
    if error.get("type") == "exceed_context_size_error":
        raise BadRequest(f"the prompt has {error['n_prompt_tokens']} tokens and the context is {error['n_ctx']}; "
                         "shorten it, or set context= on this model")
    kind: type[ModelError] = BadRequest if 400 <= int(error.get("code", 500)) < 500 else ServerFault
    raise kind(f"llama.cpp refused the request: {' '.join(str(error.get('message', error)).split())[:300]}")


