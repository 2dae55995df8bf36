"""A judge whose taste is known: `fake/judge?prefers=long`. Part of the fake models.

It reads a judge's prompt as such prompts are laid out here: each text stands between two lines that bear one mark, under a line
that says what it is (`Answer K:`, `The answer:`, `The author's notes:`, `The requirement:`). The names of the answers and the
form of the verdict are those of the JSON schema that comes with the request. The same prompt has the same verdict.

| prefers | which answer is better |
|---|---|
| `long`, `short` | the one with more, or fewer, characters; much better from twice as many on |
| `first`, `second` | the one that stands there, whatever it says |
| `none` | neither, ever |
| `checklist` | the one in which more words of the author's notes occur; much better where a third more of them do. |
| `random` | drawn |

For `checklist` no word occurs in an answer that says none beyond the conversation: the request again is no answer.

Of a single answer, `long` gives a point more for each doubling of its length, `short` a point less, `checklist` a point more for
every ninth of the words of the notes, or of the requirement, that occur, `random` any score, and the others 5. A requirement is
met where the score is 6 or more, by `first` always, by `second` and `none` never. `noise=0.2` draws every fifth verdict.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from pica.synth.errors import BadRequest
from pica.synth.models.base import Request
from pica.synth.models.fake_words import COMMON

PREFERENCES = ("long", "short", "first", "second", "none", "checklist", "random")
LOWEST, MIDDLE, HIGHEST = 1, 5, 10
MET = 6  # score from which on a requirement is met
ANSWER = ("answer", "response")    # how a heading may end, colon aside
ASKED = ("conversation", "request")
WANTED = ("notes", "requirement")

_FENCED = re.compile(r"<(data-[0-9a-f]{12})>\n(.*?)\n</\1>", re.DOTALL)
_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]{3,}")


@dataclass(frozen=True)
class _Text:
    """A fenced text, and the last line before it."""

    heading: str
    text: str

    def is_a(self, *names: str) -> bool:
        """Whether the heading ends with one of these names."""
        return self.heading.rstrip(" :").endswith(names)


def judged(request: Request, prefers: str, noise: float, rng: random.Random) -> str | None:
    """The verdict as JSON, by the request's schema. None where the request is not to judge answers.

    Raises `BadRequest` where the schema asks for a verdict on answers that the prompt does not hold.
    """
    properties: Mapping[str, Any] = (request.schema or {}).get("properties", {})
    texts = _fenced(request.messages[-1]["content"]) if request.messages else []
    judging = _form(properties, texts)
    if judging is None:
        return None
    taste = _Taste("random" if rng.random() < noise else prefers, _said(texts, WANTED), _said(texts, ASKED), rng)
    return orjson.dumps(judging(properties, texts, taste)).decode()


def _form(properties: Mapping[str, Any], texts: Sequence[_Text]) -> _Form | None:
    """How to fill in these properties; None where they are no verdict on an answer."""
    if "verdict" in properties:
        return _outcome
    if "met" in properties:
        return _requirement
    if "score" in properties:
        return _score if any(text.is_a(*ANSWER) for text in texts) else None
    letters = [name for name in properties if len(name) == 1]
    return _scores if len(letters) == 2 else None


def _fenced(prompt: str) -> list[_Text]:
    """The fenced texts of a prompt, in order."""
    found, end = [], 0
    for match in _FENCED.finditer(prompt):
        lines = prompt[end:match.start()].rstrip().splitlines()
        found.append(_Text(lines[-1] if lines else "", match[2]))
        end = match.end()
    return found


def _named(texts: Sequence[_Text], *names: str) -> str:
    """The text under the line that ends with one of these names."""
    for text in texts:
        if text.is_a(*names):
            return text.text
    raise BadRequest(f"the fake judge finds no fenced text under a line that ends with {' or '.join(map(repr, names))}; it has: "
                     f"{', '.join(repr(text.heading[-60:]) for text in texts) or 'none'}")


def _said(texts: Sequence[_Text], names: tuple[str, ...]) -> frozenset[str]:
    """The words under lines that end with one of these names."""
    return _words(" ".join(text.text for text in texts if text.is_a(*names)))


def _words(text: str) -> frozenset[str]:
    """Numbers, and words of three letters or more that mean something."""
    return frozenset(_WORD.findall(text.lower())) - COMMON


@dataclass(frozen=True)
class _Taste:
    """What is preferred in a call. `wanted`: the words that `checklist` looks for; `asked`: those of the conversation."""

    prefers: str
    wanted: frozenset[str]
    asked: frozenset[str]
    rng: random.Random

    def compare(self, first: str, second: str) -> tuple[int, str]:
        """(2, 1, 0, -1 or -2, by how much the first answer is better; the reason)."""
        match self.prefers:
            case "random":
                return self.rng.randint(-2, 2), "drawn"
            case "first" | "second" as place:
                return (1 if place == "first" else -1), f"the {place} one"
            case "none":
                return 0, "no answer is better than another"
            case "checklist":
                one, other = self.share(first), self.share(second)
                much = abs(one - other) > 1 / 3
                reason = f"{one:.0%} and {other:.0%} of {len(self.wanted)} words occur"
                return ((one > other) - (one < other)) * (2 if much else 1), reason
        long, short = max(len(first), len(second)), min(len(first), len(second))
        longer = ((len(first) > len(second)) - (len(first) < len(second))) * (2 if long >= 2 * short else 1)
        return (longer if self.prefers == "long" else -longer), f"{len(first)} and {len(second)} characters"

    def score(self, answer: str) -> tuple[int, str]:
        """(1 to 10, the reason)."""
        match self.prefers:
            case "random":
                return self.rng.randint(LOWEST, HIGHEST), "drawn"
            case "checklist":
                share = self.share(answer)
                return LOWEST + round((HIGHEST - LOWEST) * share), f"{share:.0%} of {len(self.wanted)} words occur"
            case "long" | "short":
                doublings = min(int(math.log2(1 + len(answer) / 32)), HIGHEST - LOWEST)
                return (LOWEST + doublings if self.prefers == "long" else HIGHEST - doublings), f"{len(answer)} characters"
        return MIDDLE, "no answer is better than another"

    def share(self, answer: str) -> float:
        """The share of the wanted words that occur in an answer; 0 where none are wanted, or where all that it says was asked."""
        words = _words(answer)
        return len(self.wanted & words) / len(self.wanted) if self.wanted and not words <= self.asked else 0.0


def _outcome(properties: Mapping[str, Any], texts: Sequence[_Text], taste: _Taste) -> dict[str, Any]:
    """One of five labels; the schema lists them, the best for the first answer first."""
    labels = properties["verdict"].get("enum", [])
    if len(labels) != 5:
        raise BadRequest(f"the fake judge knows five labels from best to worst, and the schema has {len(labels)}")
    first, second = labels[1].split(">")
    better, why = taste.compare(_named(texts, f" {first}"), _named(texts, f" {second}"))
    return {"reason": f"{first} and {second}: {why}", "verdict": labels[2 - better]}


def _scores(properties: Mapping[str, Any], texts: Sequence[_Text], taste: _Taste) -> dict[str, Any]:
    """A score for each of two answers, which differ as the answers do."""
    first, second = (name for name in properties if len(name) == 1)
    better, why = taste.compare(_named(texts, f" {first}"), _named(texts, f" {second}"))
    return {"reason": f"{first} and {second}: {why}", first: MIDDLE + better, second: MIDDLE - better}


def _score(properties: Mapping[str, Any], texts: Sequence[_Text], taste: _Taste) -> dict[str, Any]:
    """A score for one answer; every other property is the reason."""
    score, why = taste.score(_named(texts, *ANSWER))
    low, high = properties["score"].get("minimum", LOWEST), properties["score"].get("maximum", HIGHEST)
    scaled = low + round((score - LOWEST) / (HIGHEST - LOWEST) * (high - low))
    return {name: scaled if name == "score" else why for name in properties}


def _requirement(properties: Mapping[str, Any], texts: Sequence[_Text], taste: _Taste) -> dict[str, Any]:
    """Whether a requirement is met."""
    if taste.prefers in {"first", "second", "none"}:
        return {"reason": "as always", "met": "yes" if taste.prefers == "first" else "no"}
    score, why = taste.score(_named(texts, *ANSWER))
    return {"reason": why, "met": "yes" if score >= MET else "no"}


_Form = Callable[[Mapping[str, Any], Sequence[_Text], _Taste], dict[str, Any]]
