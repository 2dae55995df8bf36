"""The endpoints of the fake server: an OpenAI-compatible API over the fake brain, with faults and statistics."""

from __future__ import annotations

import base64
import time
from array import array
from typing import Any

import orjson
from pydantic import ValidationError

from pica.synth.errors import BadRequest
from pica.synth.models.base import Answer, Request, Sampling
from pica.synth.models.fake_brain import Brain, answer, prompt_tokens, render
from pica.synth.models.fake_faults import Faults
from pica.synth.serve_fake.batches import Batches
from pica.synth.serve_fake.http import Call, Refusal, Reply
from pica.synth.serve_fake.options import ServeOptions
from pica.synth.serve_fake.template import detokenized, tokenized

Body = dict[str, Any]
SAMPLED = ("/v1/completions", "/v1/chat/completions")
COUNTED = (*SAMPLED, "/v1/embeddings", "/pooling")
HTML = b"<!doctype html><html><head><title>Gateway</title></head><body><h1>It works!</h1></body></html>"


class Api:
    """Answers HTTP calls. `handle` is what the HTTP server calls; everything is synchronous."""

    def __init__(self, options: ServeOptions) -> None:
        self.options = options
        self.brain = Brain(options.brain, options.text, options.seed, options.prefers, options.noise)
        self._serial = 0
        self._ready: dict[tuple[Any, ...], tuple[bytes, bytes]] = {}
        self.batches = Batches(options, self._worked)
        self.reset()

    def reset(self) -> None:
        """Forget the statistics, and start the faults from their seed again."""
        self._faults = Faults(self.options)
        self._cuts = 0
        self.stats: dict[str, Any] = {"requests": 0, "answered": 0, "refused": 0, "in_flight": 0, "peak_in_flight": 0,
                                      "first": None, "last": None, "faults": {}}

    def handle(self, call: Call) -> Reply:
        """The reply to any call."""
        try:
            if call.path in COUNTED:
                self._check_key(call)
                return self._counted(call)
            if call.path in ("/stats", "/reset"):
                if call.path == "/reset":
                    self.reset()
                return Reply(orjson.dumps(self.stats))
            self._check_key(call)
            return self._other(call)
        except Refusal as refusal:
            return Reply(refusal.body, refusal.status)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            said = f"cannot read the request: {type(error).__name__} {error!s:.200}"
            return Reply(Refusal(400, said).body, 400)

    def _check_key(self, call: Call) -> None:
        if not self.options.key:
            return
        given = call.header("authorization").removeprefix("Bearer ")
        if given != self.options.key:
            raise Refusal(401, f"Incorrect API key provided: {given}.", code="invalid_api_key")

    def _other(self, call: Call) -> Reply:
        """Everything that is neither sampled nor counted."""
        if call.path == "/v1/models":
            names = self.options.names or ("fake",)
            return Reply(orjson.dumps({"object": "list", "data": [{"id": n, "object": "model"} for n in names]}))
        if call.path.startswith(("/v1/files", "/v1/batches")):
            reply = self.batches.handle(call)
            if reply is not None:
                return reply
        known = {"vllm": ("/tokenize", "/detokenize"), "llamacpp": ("/apply-template",), "none": ()}
        if call.method == "POST" and call.path in known[self.options.template]:
            return Reply(orjson.dumps(self._templated(call.path, _json(call.body))))
        raise Refusal(404, f"no such endpoint: {call.method} {call.path[:200]}", "not_found")

    def _templated(self, path: str, body: Body) -> Body:
        if path == "/detokenize":
            return {"prompt": detokenized(body["tokens"])}
        text = body.get("prompt") or render(body["messages"],
                                            add_generation_prompt=body.get("add_generation_prompt", True))
        return {"prompt": text} if path == "/apply-template" else {"tokens": tokenized(text), "count": len(text)}

    def _counted(self, call: Call) -> Reply:
        """An answer of the model, with the faults of the options."""
        stats = self.stats
        now = time.time()
        stats["requests"] += 1
        stats["first"] = stats["first"] or now
        stats["last"] = now
        wait = self._faults.refused()
        kind = "error_429" if wait is not None else self._faults.kind()
        if kind:
            stats["faults"][kind] = stats["faults"].get(kind, 0) + 1
        if kind == "error_429":
            stats["refused"] += 1
            seconds = self.options.retry_after if wait is None else wait
            return Reply(Refusal(429, "Too many requests.", "requests", "rate_limit_exceeded").body, 429,
                         headers=(("Retry-After", f"{seconds:.3f}"),))
        reply = self._broken(kind) if kind in ("error_500", "html", "malformed") else self._answered(call, kind)
        reply.delay = self._faults.delay()
        if kind in ("reset", "hang"):
            self._cuts += 1
            reply.cut = "never" if kind == "hang" else "before" if self._cuts % 2 else "middle"
        if reply.delay or reply.cut:
            self._in_flight(reply)
        else:
            stats["answered"] += 1
        return reply

    def _in_flight(self, reply: Reply) -> None:
        """Count a reply that is not written at once, until it is."""
        stats = self.stats
        stats["in_flight"] += 1
        stats["peak_in_flight"] = max(stats["peak_in_flight"], stats["in_flight"])

        def done() -> None:
            stats["in_flight"] -= 1
            stats["answered"] += 1

        reply.done = done

    def _broken(self, kind: str) -> Reply:
        if kind == "error_500":
            return Reply(Refusal(500, "The server had an error while processing a call.", "server_error").body, 500)
        if kind == "html":
            return Reply(HTML, kind="text/html; charset=utf-8")
        return Reply(b'{"object":"text_completion","result":"ok"}')

    def _answered(self, call: Call, kind: str) -> Reply:
        body = _json(call.body)
        self._check_model(body)
        if call.path == "/v1/embeddings":
            return Reply(orjson.dumps(self._embedded(body)))
        if call.path == "/pooling":
            return Reply(orjson.dumps(self._pooled(body)))
        whole = self._quick(call.path, body) if not kind and self.brain.name == "fixed" else b""
        whole = whole or orjson.dumps(self._completed(call.path, body, kind))
        return Reply(whole[:len(whole) // 2] if kind == "truncate" else whole)

    def _check_model(self, body: Body) -> None:
        names = self.options.names
        if names and body.get("model") not in names:
            raise Refusal(404, f"The model `{body.get('model')}` does not exist.", "NotFoundError", "model_not_found")

    def _worked(self, path: str, body: Body) -> Body:
        """The body of an answer to one request of a batch. Raises `Refusal`."""
        self._check_model(body)
        return self._embedded(body) if path == "/v1/embeddings" else self._completed(path, body)

    def _embedded(self, body: Body) -> Body:
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        answers = [answer(Request(task="embed", prompt=text), 0, self.brain) for text in texts]
        encoded = body.get("encoding_format") == "base64"
        total = sum(a.prompt_tokens for a in answers)
        return {"object": "list", "model": body.get("model", ""),
                "data": [{"object": "embedding", "index": i, "embedding":
                          base64.b64encode(a.vector).decode() if encoded else list(array("f", a.vector))}
                         for i, a in enumerate(answers)],
                "usage": {"prompt_tokens": total, "total_tokens": total}}

    def _pooled(self, body: Body) -> Body:
        scored = answer(Request(task="score", messages=tuple(body["messages"])), 0, self.brain)
        return {"object": "list", "model": body.get("model", ""),
                "data": [{"index": 0, "object": "pooling", "data": list(scored.values)}],
                "usage": {"prompt_tokens": scored.prompt_tokens, "total_tokens": scored.prompt_tokens}}

    def _quick(self, path: str, body: Body) -> bytes:
        """The reply of `--brain fixed` from a rendered one: only the prompt's tokens differ. Empty: render it."""
        if body.get("logprobs") or "prompt_logprobs" in body or body.get("echo"):
            return b""
        key = (path, body.get("model"), body.get("n"), body.get("max_tokens"), str(body.get("stop")))
        ready = self._ready.get(key)
        if ready is None:
            if len(self._ready) > 1000:
                self._ready.clear()
            head, _, tail = orjson.dumps(self._completed(path, body)).rpartition(b'"prompt_tokens":')
            ready = self._ready[key] = (head, b"," + tail.partition(b",")[2].partition(b',"total_tokens"')[0])
        used = (len(body["prompt"]) + 3) // 4 if path == SAMPLED[0] else prompt_tokens(
            Request(task="chat", messages=tuple(body["messages"])))
        if self.options.context and used > self.options.context:
            return b""
        return b'%s"prompt_tokens":%d}}' % (ready[0], used)

    def _completed(self, path: str, body: Body, fault: str = "") -> Body:
        """A completion or chat completion in OpenAI's shape. Raises `Refusal`."""
        chat = path == SAMPLED[1]
        request = _request(body, chat=chat)
        used = prompt_tokens(request)
        if self.options.context and used > self.options.context:
            raise Refusal(400, f"This model's maximum context length is {self.options.context} tokens, but the request "
                               f"has {used}.", "BadRequestError", "context_length_exceeded")
        try:
            answers = [answer(request, sample, self.brain) for sample in range(request.n)]
        except BadRequest as error:
            raise Refusal(400, str(error)) from None
        if fault == "empty":
            answers = [Answer() for _ in answers]
        if fault == "wrong_choices":
            answers = answers[:-1]
        self._serial += 1
        choices = [_choice(i, a, chat=chat) for i, a in enumerate(answers)]
        if body.get("echo") and not chat:
            choices = [_echoed(choice, request.prompt, self.brain) for choice in choices]
        written = sum(a.completion_tokens for a in answers)
        return {"id": f"cmpl-{self._serial}", "object": "chat.completion" if chat else "text_completion",
                "created": int(time.time()), "model": body.get("model") or "fake", "choices": choices,
                "usage": {"total_tokens": used + written, "completion_tokens": written, "prompt_tokens": used}}


def _json(raw: bytes) -> Body:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refusal(400, f"the body is no JSON: {error}") from None
    if not isinstance(body, dict):
        raise Refusal(400, "the body is no JSON object")
    return body


def _request(body: Body, *, chat: bool) -> Request:
    """The request that a body describes. Raises `Refusal` for what OpenAI's API refuses."""
    stop = body.get("stop") or ()
    given = {key: body[key] for key in ("temperature", "top_p", "top_k", "min_p", "repetition_penalty",
                                        "frequency_penalty", "presence_penalty") if body.get(key) is not None}
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or (4096 if chat else 16)
    logprobs = (body.get("top_logprobs") or 1 if body.get("logprobs") else 0) if chat else body.get("logprobs") or 0
    wanted = (body.get("response_format") or {}).get("json_schema", {}).get("schema")
    try:
        sampling = Sampling(**given, max_tokens=limit, stop=(stop,) if isinstance(stop, str) else tuple(stop),
                            logprobs=logprobs)
    except ValidationError as error:
        raise Refusal(400, f"{error.errors()[0]['loc'][0]}: {error.errors()[0]['msg']}") from None
    if (not isinstance(body.get("messages"), list)) if chat else (not isinstance(body.get("prompt"), str)):
        raise Refusal(400, f"{'messages' if chat else 'prompt'} is missing")
    return Request(task="chat" if chat else "complete", prompt="" if chat else body["prompt"],
                   messages=tuple(body["messages"]) if chat else (), sampling=sampling, seed=body.get("seed"),
                   n=body.get("n") or 1, schema=wanted)


def _choice(index: int, given: Answer, *, chat: bool) -> Body:
    choice: Body = {"index": index, "finish_reason": given.finish, "logprobs": None}
    if not chat:
        choice["text"] = given.text
        if given.logprobs:
            choice["logprobs"] = {"tokens": [t.token for t in given.logprobs],
                                  "token_logprobs": [t.logprob for t in given.logprobs],
                                  "top_logprobs": [t.top for t in given.logprobs],
                                  "text_offset": [4 * i for i in range(len(given.logprobs))]}
        return choice
    choice["message"] = {"role": "assistant", "content": given.text}
    if given.logprobs:
        choice["logprobs"] = {"content": [
            {"token": t.token, "logprob": t.logprob, "bytes": None,
             "top_logprobs": [{"token": word, "logprob": value, "bytes": None} for word, value in t.top.items()]}
            for t in given.logprobs]}
    return choice


def _echoed(choice: Body, prompt: str, brain: Brain) -> Body:
    """The choice with the prompt and its log-probabilities in front, as `echo` asks; the first token has none."""
    scored = answer(Request(task="logprobs", continuation=prompt), 0, brain).logprobs
    written = choice["logprobs"] or {"tokens": [choice["text"]], "token_logprobs": [0.0], "text_offset": [0]}
    return {**choice, "text": prompt + choice["text"], "logprobs": {
        "tokens": [t.token for t in scored] + written["tokens"],
        "token_logprobs": [None, *(t.logprob for t in scored[1:])] + written["token_logprobs"],
        "top_logprobs": None,
        "text_offset": [4 * i for i in range(len(scored))] + [len(prompt) + at for at in written["text_offset"]]}}
