"""What the fake models and `pica serve-fake` answer: a pure function of request, sample number and seed.

`answer(request, sample, Brain("magpie"))` never looks at a clock, a file or shared state, so the same request has the
same answer in this process and behind the fake server. A token is four characters here, for counting, for `max_tokens`
and for `logprobs`. With temperature 0 neither the seed nor the sample number changes the answer.
"""

from __future__ import annotations

import itertools
import math
import random
import re
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from zlib import crc32

import orjson
from msgspec.structs import replace

from pica.synth.models.base import Answer, Message, Request, TokenLogprob
from pica.synth.models.fake_json import instance
from pica.synth.models.fake_judge import judged
from pica.synth.models.fake_words import (
    COMMON,
    FOLLOW_UPS,
    HOSTILE,
    MULTILINE,
    OPENERS,
    REFUSAL,
    SENTENCES,
    TAILS,
    TASKS,
    TOPICS,
)

CHARS_PER_TOKEN = 4
DIMENSIONS = 64

_WORD = re.compile(r"[^\W\d_]{2,}")
_ALL_DOMAINS = tuple(TOPICS)


@dataclass(frozen=True)
class Brain:
    """A way to answer: its name (a key of `BRAINS`), the text of `fixed`, a seed that changes every answer, what `judge` prefers
    (one of `PREFERENCES`) and the share of its verdicts that are drawn."""

    name: str = "magpie"
    text: str = "A fixed answer."
    seed: int = 0
    prefers: str = "long"
    noise: float = 0.0


def answer(request: Request, sample: int, brain: Brain) -> Answer:
    """The answer to sample number `sample` of `request`. Raises `BadRequest` for a schema that cannot be followed."""
    if request.task == "embed":
        return Answer(vector=embedding(request.prompt), prompt_tokens=tokens_in(request.prompt))
    if request.task == "score":
        return Answer(values=(reward(request.messages, brain.seed),), prompt_tokens=tokens_in(render(request.messages)))
    if request.task == "logprobs":
        return Answer(logprobs=_scored(request.prompt, request.continuation, 0), completion_tokens=0,
                      prompt_tokens=tokens_in(request.prompt + request.continuation))
    text, finish = _finish(_written(request, sample, brain), request)
    logprobs = _scored(request.prompt, text, request.sampling.logprobs) if request.sampling.logprobs else ()
    return Answer(text=text, finish=finish, prompt_tokens=prompt_tokens(request), completion_tokens=tokens_in(text),
                  model=f"fake/{brain.name}", logprobs=logprobs)


def answers(request: Request, brain: Brain) -> list[Answer]:
    """All samples. The first carries the prompt's tokens and the others none, so that their sum is what was read."""
    first = [answer(request, 0, brain)]
    return first + [replace(answer(request, sample, brain), prompt_tokens=0) for sample in range(1, request.n)]


def tokens_in(text: str) -> int:
    """How many tokens of four characters `text` has, the last perhaps shorter."""
    return -(-len(text) // CHARS_PER_TOKEN)


def prompt_tokens(request: Request) -> int:
    """Tokens of the prompt, or of the rendered messages."""
    return tokens_in(request.prompt if request.task == "complete" else render(request.messages))


def render(messages: Sequence[Message], *, add_generation_prompt: bool = True) -> str:
    """The fake models' chat template: ChatML, without a default system block."""
    text = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)
    return text + "<|im_start|>assistant\n" if add_generation_prompt else text


def embedding(text: str) -> bytes:
    """A unit vector (64 little-endian float32) of the words and word pairs in `text`: similar texts are near."""
    vector = [0.0] * DIMENSIONS
    words = re.findall(r"\w+", text[:20_000].lower())
    for term in (*words, *map(" ".join, itertools.pairwise(words))):
        place = crc32(term.encode())
        vector[place % DIMENSIONS] += 1.0 if place & 0x10000 else -1.0
    norm = math.sqrt(sum(x * x for x in vector))
    unit = array("f", [x / norm for x in vector] if norm else [1.0] + [0.0] * (DIMENSIONS - 1))
    return unit.tobytes()


def reward(messages: Sequence[Message], seed: int) -> float:
    """A reward between about -8 and 8 for the last message: mostly its content, a little its length."""
    conversation = render(messages, add_generation_prompt=False)
    length = len(messages[-1]["content"]) if messages else 0
    return round(_rng(conversation, str(seed)).gauss(0, 2) + math.log1p(length) - 4, 4)


def _rng(*parts: str) -> random.Random:
    key = "\0".join(parts).encode("utf-8", "surrogatepass")
    return random.Random(int.from_bytes(blake2b(key, digest_size=8).digest()))


def _written(request: Request, sample: int, brain: Brain) -> str:
    """The whole text before stop strings and `max_tokens`."""
    if brain.name == "fixed":
        return brain.text
    sampling = request.sampling
    drawn = ("greedy",) if sampling.greedy else (str(request.seed), str(sample), str(sampling.temperature))
    about = request.prompt if request.task == "complete" else orjson.dumps(request.messages).decode()
    rng = _rng(request.task, about, str(brain.seed), *drawn)
    if brain.name == "judge" and (verdict := judged(request, brain.prefers, brain.noise, rng)) is not None:
        return verdict
    if request.schema is not None and brain.name not in ("nonsense", "echo", "empty"):
        return orjson.dumps(instance(request.schema, rng, WRITERS)).decode()
    return BRAINS[brain.name](request, rng)


def _finish(text: str, request: Request) -> tuple[str, str]:
    """Cut at the first stop string, then at `max_tokens`."""
    for stop in request.sampling.stop:
        if stop:
            text = text.partition(stop)[0]
    limit = request.sampling.max_tokens * CHARS_PER_TOKEN
    return (text[:limit], "length") if len(text) > limit else (text, "stop")


def _last(request: Request) -> str:
    return request.prompt if request.task == "complete" else request.messages[-1]["content"] if request.messages else ""


def _magpie(request: Request, rng: random.Random) -> str:
    """An instruction after a user header, an answer everywhere else."""
    if request.task == "complete" and not _asks_for_answer(request.prompt):
        return instruction(request.prompt, rng)
    return essay(_last(request), rng)


def _asks_for_answer(prompt: str) -> bool:
    """Whether a raw prompt ends where an assistant would speak, in any family's template."""
    tail = prompt[-48:].lower()
    spoken = max(tail.rfind(word) for word in ("assistant", "model", "answer:", "response:", "[/inst]"))
    return spoken > max(tail.rfind(word) for word in ("user", "human", "instruction", "[inst]"))


def instruction(prompt: str, rng: random.Random) -> str:
    """A user's instruction; popular ones recur, some have many lines, and one in fifty never ends."""
    if _has_answer(prompt):
        return rng.choice(FOLLOW_UPS).format(t=topic_of(prompt[-2000:-40]))
    near = prompt[:2000].lower()
    named = [domain for domain in _ALL_DOMAINS if domain in near]
    draw = rng.random()
    if draw < 0.03:  # a few questions that everybody asks: exact and near duplicates
        rng = random.Random(rng.randrange(12))
        return _plain(named, rng) + rng.choice(TAILS)
    text = rng.choice(OPENERS) + _plain(named, rng) + rng.choice(TAILS)
    if draw < 0.13:
        text += rng.choice(MULTILINE)
    elif draw < 0.15:
        text += " And another thing:" + " and then again" * 2000
    return text


def _plain(named: list[str], rng: random.Random) -> str:
    domain = rng.choice(named or _ALL_DOMAINS)
    return rng.choice(TASKS[domain]).format(t=rng.choice(TOPICS[domain]))


def _has_answer(prompt: str) -> bool:
    """Whether an assistant has already spoken in this raw prompt: then the user follows up."""
    return any(mark in prompt for mark in ("<|im_start|>assistant", "<|start_header_id|>assistant", "<|assistant|>",
                                           "<start_of_turn>model", "[/INST]", "\nASSISTANT:"))


def topic_of(text: str) -> str:
    """Up to three content words of `text`, the longest ones, in their order."""
    words = [w for w in dict.fromkeys(_WORD.findall(text[:600].lower())) if w not in COMMON and len(w) > 2]
    longest = sorted(words, key=len, reverse=True)[:3]
    return " ".join(w for w in words if w in longest) or "this question"


def essay(question: str, rng: random.Random) -> str:
    """One to five paragraphs that mention the topic of `question`; now and then a list, or a refusal."""
    topic = topic_of(question)
    draw = rng.random()
    if draw < 0.01:
        return REFUSAL.format(t=topic)
    parts = [" ".join(rng.sample(SENTENCES, rng.randint(2, 4))) for _ in range(rng.randint(1, 5))]
    if draw < 0.2:
        parts.append("\n".join(f"{i}. {s}" for i, s in enumerate(rng.sample(SENTENCES, 3), 1)))
    return f"Here is an answer about {topic}. " + "\n\n".join(parts).format(t=topic)


#: properties of a structured answer that are written as such
WRITERS: dict[str, Callable[[random.Random], str]] = {
    "instruction": lambda rng: rng.choice(OPENERS) + _plain([], rng) + rng.choice(TAILS),
    "response": lambda rng: essay(rng.choice(TOPICS[rng.choice(_ALL_DOMAINS)]), rng),
    "name": lambda rng: rng.choice(TOPICS[rng.choice(_ALL_DOMAINS)]).capitalize(),
}


def _nonsense(request: Request, rng: random.Random) -> str:
    """Something that looks like JSON and is none."""
    return rng.choice(('{"score": ', "{'quality': good}", '```json\n{"a": 1,}\n```', "Sure! Here is the JSON:", "[1,"))


def _hostile(request: Request, rng: random.Random) -> str:
    return f"{_magpie(request, rng)} {rng.choice(HOSTILE)}"


def _guard(request: Request, rng: random.Random) -> str:
    """The verdict of a guard model: one in twenty is unsafe."""
    return "safe" if rng.random() > 0.05 else f"unsafe\nS{rng.randint(1, 13)}"


#: name -> how it writes. `fixed` answers its own text and needs no function of its own; `judge` judges where it is asked to.
BRAINS: dict[str, Callable[[Request, random.Random], str]] = {
    "magpie": _magpie,
    "echo": lambda request, rng: _last(request),
    "empty": lambda request, rng: "",
    "fixed": lambda request, rng: "",
    "nonsense": _nonsense,
    "hostile": _hostile,
    "guard": _guard,
    "judge": _magpie,
}


@lru_cache(maxsize=4096)
def _alternatives(token: str, count: int) -> tuple[tuple[str, float], ...]:
    rng = _rng("alternatives", token)
    own = -0.05 - 3 * rng.random() ** 2
    rest = math.log(-math.expm1(own))
    words = rng.sample(("the", " a", " of", "I", " to", "\n", " and", "A", "B", "Yes", "No", ".", ",", " is", "1", "2",
                        "3", "4", "5", " in", "C"), count)
    return ((token, own), *((w, rest - 0.7 * (i + 1)) for i, w in enumerate(words) if w != token))


def _scored(prompt: str, text: str, top: int) -> tuple[TokenLogprob, ...]:
    """Four-character tokens of `text` with log-probabilities, and `top` alternatives each (the token itself first)."""
    found = []
    for start in range(0, len(text), CHARS_PER_TOKEN):
        ranked = _alternatives(text[start:start + CHARS_PER_TOKEN], top)
        found.append(TokenLogprob(token=ranked[0][0], logprob=ranked[0][1], top=dict(ranked[:top]) if top else {}))
    return tuple(found)
