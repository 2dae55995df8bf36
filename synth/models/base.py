"""What answers: requests, answers, and the protocol that every provider implements.

A provider turns a `Request` into `Answer`s and knows nothing of ledgers, retries, concurrency or budgets: those live in
`pica.synth.run`, once for all providers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal, Protocol, Self, TypedDict, runtime_checkable

import msgspec
import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pica.synth.models.goal import Goal


class Message(TypedDict):
    """One message of a conversation. `role` is `system`, `user` or `assistant`."""

    role: str
    content: str


def system(content: str) -> Message:
    """A system message."""
    return {"role": "system", "content": content}


def user(content: str) -> Message:
    """A user message."""
    return {"role": "user", "content": content}


def assistant(content: str) -> Message:
    """An assistant message."""
    return {"role": "assistant", "content": content}


def conversation_text(messages: Sequence[Message]) -> str:
    """A conversation for a prompt: the text alone where it is one message, else every message under its role."""
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n\n".join(f"{message['role'].capitalize()}: {message['content']}" for message in messages)


class Sampling(BaseModel):
    """How to sample. Everything here is part of the request, so it is part of the ledger's key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(1.0, ge=0, le=10, description="0 is greedy")
    top_p: float = Field(1.0, gt=0, le=1, description="nucleus: smallest set of tokens with this much probability")
    top_k: int = Field(0, ge=0, description="only the k likeliest tokens; 0 is all")
    min_p: float = Field(0.0, ge=0, le=1, description="only tokens this likely relative to the likeliest; 0 is all")
    max_tokens: int = Field(1024, ge=1, description="tokens an answer may have")
    stop: tuple[str, ...] = Field((), description="strings that end an answer (and are not part of it)")
    repetition_penalty: float = Field(1.0, gt=0, description="multiplicative penalty for repeated tokens; 1 is none")
    frequency_penalty: float = Field(0.0, ge=-2, le=2)
    presence_penalty: float = Field(0.0, ge=-2, le=2)
    logprobs: int = Field(0, ge=0, le=20, description="alternatives per token whose log-probabilities come back")

    @cached_property
    def canonical(self) -> bytes:
        """The JSON that stands for these values in a ledger key."""
        return orjson.dumps(self.model_dump(), option=orjson.OPT_SORT_KEYS)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with some values changed: checked as new ones are, and with a canonical form of its own."""
        return type(self)(**{**self.model_dump(), **(update or {})})

    @property
    def greedy(self) -> bool:
        """Whether every sample would be the same."""
        return self.temperature == 0


class TokenLogprob(msgspec.Struct, frozen=True, omit_defaults=True):
    """A generated token, its natural-log probability, and the likeliest alternatives at its place."""

    token: str
    logprob: float
    top: dict[str, float] = {}


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request to a model.

    `task`: `complete` continues the raw text `prompt`; `chat` answers `messages`; `score` returns a reward model's
    values for the conversation `messages` (which ends with the assistant); `embed` returns a vector of the text
    `prompt`; `logprobs` returns the log-probabilities of `continuation` after `prompt`.
    `seed`: None where the answer does not depend on one. `n`: samples wanted, answered in order.
    `schema`: a JSON schema that the answer must follow, for models that can be held to one. `bos`: the token that begins
    a sequence, as text, if `prompt` starts with it: servers that add one by themselves are sent the prompt without it.
    """

    task: Literal["complete", "chat", "score", "embed", "logprobs"]
    prompt: str = ""
    messages: tuple[Message, ...] = ()
    continuation: str = ""
    sampling: Sampling = Sampling()
    seed: int | None = None
    n: int = 1
    schema: dict[str, Any] | None = None
    bos: str = ""


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a model answered to one sample of a request.

    `finish` is `stop` (it ended, or met a stop string), `length` (it hit `max_tokens`), or the server's own word.
    `model` is the name under which the server says it answered. `values` holds a reward model's numbers, one an
    attribute, in the order of the model's labels; `vector` an embedding as little-endian float32. `reasoning` is what
    a thinking model wrote before its answer, where the server keeps the two apart.
    """

    text: str = ""
    finish: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    model: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()
    reasoning: str = ""
    values: tuple[float, ...] = ()
    vector: bytes = b""

    @property
    def truncated(self) -> bool:
        """Whether the answer was cut by `max_tokens` instead of ending."""
        return self.finish == "length"


class Model(Protocol):
    """What every provider implements.

    `name` is what the user wrote. `identity` stands for the model in ledger keys: it names the weights (a content
    hash for local files, name and server for remote ones), is cheap to compute, and loads nothing. `slots` is how many
    requests are worth having in flight (None: the run decides). Weights load at the first call.
    """

    name: str
    identity: str
    slots: int | None

    async def generate(self, request: Request) -> Sequence[Answer]:
        """Exactly `request.n` answers, in sample order; raises a `ModelError` otherwise. Never retries by itself."""
        ...

    async def close(self) -> None:
        """Free what is held. The model can be used again afterwards."""
        ...


@runtime_checkable
class Renders(Protocol):
    """A model that can show its own chat template at work."""

    async def render(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        """The exact text (special tokens as text) that the model would be given for these messages."""
        ...


class ModelConfig(BaseModel):
    """A model in a role. Written as a bare name (`teacher=local`) or with settings (`teacher.temperature=0.7`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    bare: ClassVar[str] = "name"  # what a bare value sets

    name: str = Field(description="openai/NAME[@URL[|URL...]], vllm/ID-OR-PATH, hf/ID-OR-PATH, llamacpp/FILE.gguf, "
                                  "fake/NAME, or local")
    temperature: float | None = Field(None, description="for every step of this role that does not state its own")
    top_p: float | None = Field(None, description="likewise")
    max_tokens: int | None = Field(None, description="likewise")
    goal: Goal | None = Field(None, description="score that its answers shall have, for a model trained to read one; in "
                                               "every chat of this role")
    revision: str = Field("", description="hub revision of the weights; part of the ledger's key")
    identity: str = Field("", description="name under which calls are remembered; set it when a server has moved")
    max_in_flight: int = Field(0, ge=0, description="calls in flight at most; 0: what the run or the engine allows")
    timeout: float = Field(600, gt=0, description="seconds until a call counts as lost")
    api_key_env: str = Field("", description="environment variable with the key; default OPENAI_API_KEY")
    price_prompt: float | None = Field(None, ge=0, description="US dollars per million prompt tokens")
    price_completion: float | None = Field(None, ge=0, description="US dollars per million completion tokens")
    context: int = Field(0, ge=0, description="context length for engines in this process; 0: the model's own")
    dtype: str = Field("auto", description="dtype of weights for engines in this process")
    batch: bool = Field(False, description="send through the server's Files and Batch API: cheaper and slower")
    extra: dict[str, Any] = Field({}, description="further fields of the request body, or engine arguments")

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, value: Any) -> Any:
        """In a list of models a text is a name."""
        return {cls.bare: value} if isinstance(value, str) else value
