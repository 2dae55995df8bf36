"""A small language of prompts and answers with a reward that a program states.

A prompt asks for three things of a kind; an answer is a bare list, a sentence, or a sentence with a courtesy.
The reward goes from 1 to 10:

    1  +  3 for a sentence, or 6 for a sentence with a courtesy  +  the number of different right words, 3 at most
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

KINDS = {
    "birds": "heron magpie robin owl", "drinks": "tea milk cocoa cider", "fish": "trout cod eel carp",
    "fruit": "apple pear fig cherry", "metals": "iron tin zinc gold", "tools": "hammer saw chisel drill",
}
REQUESTS = ("Name three {}.", "Can you name three {}?", "List three {}, please.", "I need the names of three {}.",
            "Which three {} come to mind?", "Tell me three {} that you know.", "Give me any three {}.", "Three {}, if you can.")
FORMS = ("{}, {}, {}", "They are {}, {} and {}.", "Gladly! They are {}, {} and {}.")
SHAPES = (re.compile(r"\w+ , \w+ , \w+"), re.compile(r"They are \w+ , \w+ and \w+ \."),
          re.compile(r"Gladly ! They are \w+ , \w+ and \w+ \."))
SCALE = (1.0, 10.0)
WORDS = {kind: tuple(words.split()) for kind, words in KINDS.items()}
EVERY_WORD = tuple(word for words in WORDS.values() for word in words)


@dataclass(frozen=True)
class Habits:
    """How answers are written: shares of the three forms, and how likely a word is right."""

    forms: tuple[float, float, float] = (0.4, 0.4, 0.2)
    right: float = 0.6


def prompts() -> list[str]:
    """Every prompt there is, in a fixed order."""
    return [request.format(kind) for request, kind in product(REQUESTS, KINDS)]


def right_words(prompt: str) -> set[str]:
    """The words that answer `prompt`."""
    return {word for kind in tokens(prompt) if kind in WORDS for word in WORDS[kind]}


def answer(prompt: str, habits: Habits, rng: random.Random) -> str:
    """An answer as the corpus has it."""
    right = right_words(prompt)
    pools = sorted(right), [word for word in EVERY_WORD if word not in right]
    words = [rng.choice(pools[rng.random() >= habits.right]) for _ in range(3)]
    return rng.choices(FORMS, habits.forms)[0].format(*words)


def reward(prompt: str, text: str) -> float:
    """The reward of an answer, from 1 to 10. What has none of the three forms gets 1."""
    place = form(text)
    return SCALE[0] if place is None else SCALE[0] + 3 * place + len(right_words(prompt) & set(tokens(text)))


def form(text: str) -> int | None:
    """Which of `FORMS` an answer has, or None."""
    said = " ".join(tokens(text))
    return next((place for place, shape in enumerate(SHAPES) if shape.fullmatch(said)), None)


def tokens(text: str) -> list[str]:
    """Words and marks, as the tokenizer of the small model splits them."""
    return re.findall(r"\w+|[^\w\s]+", text)


def vocabulary(texts: Sequence[str]) -> list[str]:
    """Every word of the language and of `texts`, in a fixed order."""
    every = [*texts, *prompts(), *(one.replace("{}", "") for one in FORMS), *EVERY_WORD]
    return sorted({word for text in every for word in tokens(text)})
