"""The OpenAI wire format: requests as bodies, bodies as answers. No network here.

Tokens of a call with n > 1: the server counts the prompt once and all samples together. The first answer carries the
prompt's tokens and the others none; the completion tokens are shared out in proportion to each text's length, so that
summed over the answers both are what the server counted. Where log-probabilities came along and count at least as many
tokens, they are the count: llama.cpp's usage leaves samples out.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from pica.synth.errors import BadRequest, Malformed
from pica.synth.models.base import Answer, Request, Sampling, TokenLogprob

Json = dict[str, Any]

PATHS = {"complete": "/completions", "chat": "/chat/completions", "embed": "/embeddings", "score": "/pooling",
         "logprobs": "/completions"}
#: Finish reasons of other servers, in the words of `Answer.finish`.
FINISH = {"eos_token": "stop", "stop_sequence": "stop", "end_turn": "stop", "eos": "stop", "max_tokens": "length"}
#: Sampling fields that are no part of OpenAI's API: sent only where they change something.
EXTENSIONS = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
PENALTIES = ("frequency_penalty", "presence_penalty")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Dialect(NamedTuple):
    """How a hosted service differs: the name of the token limit in chats, most stop strings, defaults left out, schema keywords
    that it refuses."""

    limit: str = "max_tokens"
    stops: int = 0
    sparse: bool = False
    refuses: tuple[str, ...] = ()


#: (host, pattern of model names) -> dialect; the first that fits. Models that reason refuse sampling parameters.
_HOSTED = Dialect("max_completion_tokens", 4, refuses=("minLength", "maxLength", "uniqueItems"))
_REASONING = _HOSTED._replace(sparse=True)
DIALECTS: tuple[tuple[str, str, Dialect], ...] = (
    ("api.openai.com", r"o\d|gpt-([5-9]|\d\d)|codex", _REASONING),
    ("api.openai.com", "", _HOSTED),
    (".openai.azure.com", r"o\d|gpt-([5-9]|\d\d)|codex", _REASONING),
    (".openai.azure.com", "", _HOSTED),
)


def dialect_of(host: str, model: str) -> Dialect:
    """The dialect of `model` at `host`: plain for every server not listed in `DIALECTS`."""
    for end, pattern, dialect in DIALECTS:
        if (host == end or (end.startswith(".") and host.endswith(end))) and re.match(pattern, model):
            return dialect
    return Dialect()


def encode(request: Request, model: str, dialect: Dialect, extra: Mapping[str, Any]) -> bytes:
    """The body of `request`. Raises `BadRequest` for text that is no Unicode and for what the dialect cannot carry."""
    body: Json = {"model": model}
    match request.task:
        case "complete":
            body["prompt"] = request.prompt.removeprefix(request.bos)  # the server puts its own in front
        case "chat":
            body["messages"] = request.messages
        case "score":
            body |= {"messages": request.messages, "use_activation": False}  # raw values instead of probabilities
        case "embed":
            body["input"] = request.prompt
            body["encoding_format"] = "base64"
        case "logprobs":
            body |= {"prompt": request.prompt.removeprefix(request.bos) + request.continuation, "max_tokens": 1,
                     "echo": True, "logprobs": 1, "temperature": 0}
    if request.task in ("complete", "chat"):
        _sampled(body, request, dialect)
    if extra:
        body.update(extra)
    try:
        return orjson.dumps(body)
    except TypeError as error:
        raise _unsendable(request, error) from None


def _sampled(body: Json, request: Request, dialect: Dialect) -> None:
    """Add sampling parameters, seed, n and schema."""
    sampling = request.sampling
    chat = request.task == "chat"
    body.update(_fields(sampling, sparse=dialect.sparse))
    body[dialect.limit if chat else "max_tokens"] = sampling.max_tokens
    body["n"] = request.n
    if sampling.stop:
        if dialect.stops and len(sampling.stop) > dialect.stops:
            raise BadRequest(f"{len(sampling.stop)} stop strings {list(sampling.stop)} are more than this service "
                             f"takes ({dialect.stops}); give fewer in `stop`")
        body["stop"] = sampling.stop
    if request.seed is not None:
        body["seed"] = request.seed
    if sampling.logprobs:
        body.update({"logprobs": True, "top_logprobs": sampling.logprobs} if chat else {"logprobs": sampling.logprobs})
    if request.schema is not None:
        body["response_format"] = {"type": "json_schema",
                                   "json_schema": {"name": "answer", "strict": True,
                                                   "schema": _without(request.schema, dialect.refuses)}}


def _without(schema: Any, keywords: tuple[str, ...]) -> Any:
    """A schema without these keywords, which the answer is still checked for. A property may bear the name of one."""
    if isinstance(schema, list):
        return [_without(item, keywords) for item in schema]
    if not keywords or not isinstance(schema, dict):
        return schema
    return {key: {name: _without(inner, keywords) for name, inner in value.items()} if key == "properties"
            else _without(value, keywords) for key, value in schema.items() if key not in keywords}


def _fields(sampling: Sampling, *, sparse: bool) -> Json:
    fields: Json = {"temperature": sampling.temperature, "top_p": sampling.top_p,
                    "frequency_penalty": sampling.frequency_penalty, "presence_penalty": sampling.presence_penalty}
    if sparse:
        fields = {key: value for key, value in fields.items() if value != (0 if key in PENALTIES else 1)}
    for key, default in EXTENSIONS.items():
        value = getattr(sampling, key)
        if value != default:
            fields[key] = value
    return fields


def _unsendable(request: Request, error: TypeError) -> BadRequest:
    """Names the lone surrogate that kept the request from being JSON, or says what else did."""
    said = (m["content"] for m in request.messages)
    for text in (request.prompt, request.continuation, *request.sampling.stop, *said):
        found = _SURROGATE.search(text)
        if found:
            return BadRequest(f"the text holds a lone surrogate {found.group()!a} at character {found.start()}, which "
                              "is no Unicode and cannot be sent; remove or replace it")
    return BadRequest(f"the request cannot be written as JSON: {error}")


def decode(raw: bytes) -> Any:
    """The JSON in `raw`. Lone surrogates and broken UTF-8 become U+FFFD. Raises `ValueError` where it is no JSON."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        loaded = json.loads(raw.decode("utf-8", "replace"), strict=False)
        return _repaired(loaded)


def _repaired(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_repaired(item) for item in value]
    if isinstance(value, dict):
        return {_repaired(key): _repaired(item) for key, item in value.items()}
    return value


def answers(request: Request, data: Any, url: str) -> list[Answer]:
    """The answers in a decoded body. Raises `Malformed` that names what is missing, and `BadRequest` where the server
    does not know how to do what was asked."""
    try:
        match request.task:
            case "embed":
                return _embedding(data) * request.n
            case "score":
                return _scores(data) * request.n
            case "logprobs":
                return _echoed(request, data, url) * request.n
        return _choices(request, data, url)
    except (KeyError, TypeError, IndexError, AttributeError, ValueError, struct.error) as error:
        raise Malformed(f"{url} answered with JSON that is no answer to {request.task!r} "
                        f"({type(error).__name__}: {str(error)[:100]!a})") from None


def _choices(request: Request, data: Json, url: str) -> list[Answer]:
    choices: list[Json] = data["choices"]
    if len(choices) != request.n:
        raise Malformed(f"asked for {request.n} choices, got {len(choices)} from {url}; if this server does not know "
                        "`n`, ask for one sample a call")
    if request.n > 1:
        choices = sorted(choices, key=lambda choice: choice.get("index", 0))
    chat = request.task == "chat"
    read = [_text(choice, chat=chat) for choice in choices]
    scored = [_logprobs(choice.get("logprobs")) if request.sampling.logprobs else () for choice in choices]
    usage = data.get("usage") or {}
    prompt, total = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
    if request.n == 1:
        shares = [total]
    else:
        exact = [len(tokens) for tokens in scored]
        shares = exact if sum(exact) >= total else shared(total, [len(text) + len(why) for text, why, _ in read])
    model = data.get("model") or ""
    return [Answer(text=text, reasoning=why, finish=finish, prompt_tokens=0 if i else prompt,
                   completion_tokens=shares[i], model=model, logprobs=scored[i])
            for i, (text, why, finish) in enumerate(read)]


def _text(choice: Json, *, chat: bool) -> tuple[str, str, str]:
    """Text, reasoning and finish reason of one choice."""
    finish = choice.get("finish_reason") or "unknown"
    finish = FINISH.get(finish, finish)
    if not chat:
        text = choice["text"]
        if not isinstance(text, str):
            raise TypeError(f"text is {text!r}")
        return text, "", finish
    message = choice["message"]
    text = message["content"]
    if isinstance(text, list):
        text = "".join(part.get("text", "") for part in text)
    if text is None:
        text = message.get("refusal") or ""
        finish = "refusal" if text else finish
    if not isinstance(text, str):
        raise TypeError(f"content is {text!r}")
    return text, message.get("reasoning_content") or message.get("reasoning") or "", finish


def shared(total: int, sizes: Sequence[int]) -> list[int]:
    """`total` in whole parts proportional to `sizes`; the parts add up to `total` (largest remainders)."""
    whole = sum(sizes)
    if not whole:
        sizes, whole = [1] * len(sizes), len(sizes)
    parts = [total * size // whole for size in sizes]
    order = sorted(range(len(sizes)), key=lambda i: -(total * sizes[i] % whole))
    for i in order[:total - sum(parts)]:
        parts[i] += 1
    return parts


def _logprobs(given: Json | None) -> tuple[TokenLogprob, ...]:
    """Log-probabilities in the shape of chats (`content`; llama.cpp's for everything) or of completions (`tokens`)."""
    if not given:
        return ()
    if "content" in given:
        return tuple(TokenLogprob(token=t["token"], logprob=t["logprob"],
                                  top={o["token"]: o["logprob"] for o in t.get("top_logprobs") or ()})
                     for t in given.get("content") or ())
    tops = given.get("top_logprobs") or [None] * len(given["tokens"])
    return tuple(TokenLogprob(token=token, logprob=value, top=top or {})
                 for token, value, top in zip(given["tokens"], given["token_logprobs"], tops, strict=True)
                 if value is not None)


def _embedding(data: Json) -> list[Answer]:
    vector = data["data"][0]["embedding"]
    packed = _base64(vector) if isinstance(vector, str) else struct.pack(f"<{len(vector)}f", *vector)
    return [Answer(vector=packed, prompt_tokens=_prompt_tokens(data), model=data.get("model") or "")]


def _base64(text: str) -> bytes:
    try:
        packed = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"embedding is no base64: {error}") from None
    if len(packed) % 4:
        raise ValueError(f"embedding of {len(packed)} bytes is no float32")
    return packed


def _scores(data: Json) -> list[Answer]:
    """The values of vLLM's pooling endpoint; of a model that scores every token, the last token's."""
    values = data["data"][0]["data"]
    while isinstance(values, list) and values and isinstance(values[0], list):
        values = values[-1]
    numbers = tuple(map(float, values if isinstance(values, list) else [values]))
    return [Answer(values=numbers, prompt_tokens=_prompt_tokens(data), model=data.get("model") or "")]


def _prompt_tokens(data: Json) -> int:
    return int((data.get("usage") or {}).get("prompt_tokens") or 0)


def _echoed(request: Request, data: Json, url: str) -> list[Answer]:
    """Log-probabilities of the continuation from an echoed prompt.

    Tokens are laid out from the end, since a server may put a BOS token in front. A token across the start of the
    continuation belongs to it; so does one without text of its own (the first bytes of a character that follows). The
    very first token of a text has no log-probability and is left out.
    """
    given = data["choices"][0].get("logprobs") or {}
    used = _prompt_tokens(data)
    tokens = (given.get("tokens") or [])[:used]
    echoed = "".join(tokens)
    if not tokens or not echoed.endswith(request.continuation):
        raise BadRequest(f"{url} does not return log-probabilities of a prompt (`echo` with `logprobs`); "
                         "use a vLLM server, or hf/ID-OR-PATH in this process")
    left = len(request.continuation)  # characters of the continuation not yet reached, from the end
    found: list[TokenLogprob] = []
    for token, value in zip(reversed(tokens), reversed(given["token_logprobs"][:used]), strict=True):
        if left <= 0 and (token or not found):
            break
        if value is not None:
            found.append(TokenLogprob(token=token, logprob=value))
        left -= len(token)
    return [Answer(logprobs=tuple(reversed(found)), prompt_tokens=used, model=data.get("model") or "")]
