"""Answers that look as if nobody had read the request, found without a judge: they only warn.

- One answer for many prompts: equal texts, blanks and case aside.
- The same answer by several models.
- Answers unrelated to their prompt. The measure: how near an answer is to its own prompt, beside all other prompts, by the
  cosine of their words, rare ones weighing more. 1: every answer is nearest to its own prompt. 0.5: no nearer than to any other,
  as with one answer for all, or answers that were shuffled.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from pica.eval.battles import Floats, Ints
from pica.eval.means import mean

SHARE = 0.2     # of a model's answers that may be one and the same, or another model's
SEVERAL = 3     # answers, at least, of which that is said
ENOUGH = 5      # tasks, at least, from which nearness to the prompts says something
MOST = 400      # prompts, at most, that nearness is measured on
NEAR = 0.75     # nearness below which answers count as unrelated
UNRELATED = "answers unrelated to their prompt"
TOLD = 3        # models that a detector speaks of in a line of their own
LONGEST = 20_000  # characters of a text whose words are looked at

#: columns of a row: (who wrote, what)
SIDES = (("model_a", "answer_a"), ("model_b", "answer_b"), ("contestant", "answer"))
_WORD = re.compile(r"\w{3,}|\d+")


@dataclass(frozen=True)
class Detection:
    """What a detector says of a model. `value`: of its measure, with its interval where there is one; `n`: answers."""

    detector: str
    model: str
    value: float | None
    lower: float | None
    upper: float | None
    n: int
    warning: str = ""

    def to_json(self) -> dict[str, Any]:
        """Flat, for `audit.json`."""
        return asdict(self)


@dataclass(frozen=True)
class Answered:
    """Texts by label and task id, and the prompts by task id."""

    answers: Mapping[str, Mapping[str, str]]
    prompts: Mapping[str, str]

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]]) -> Answered:
        """What the rows of an evaluation hold, of battles or of single answers."""
        answers: dict[str, dict[str, str]] = defaultdict(dict)
        prompts: dict[str, str] = {}
        for row in rows:
            prompt = "\n".join(message["content"] for message in row.get("prompt") or ())
            if prompt.strip():  # results made elsewhere may come without their prompts
                prompts.setdefault(row["task"], prompt)
            sides = [(who, what) for who, what in SIDES if isinstance(row.get(who), str) and isinstance(row.get(what), str)]
            for who, what in sides:
                if row.get("answers_known", True):
                    answers[row[who]].setdefault(row["task"], row[what])
        return cls(answers, prompts)


def detect(answered: Answered) -> list[Detection]:
    """Everything that the detectors say, a line a model and detector; `warning` is empty where there is nothing to say. Pairs of
    models without an equal answer are left out."""
    evened = {label: {task: plain(text) for task, text in texts.items()} for label, texts in answered.answers.items()}
    found = [repeated(label, texts) for label, texts in evened.items()]
    found += [detection for one, other in combinations(evened, 2)
              if (detection := copied(one, other, evened[one], evened[other])).value]
    nearness = Nearness(answered.prompts)
    found += [unrelated(label, texts, nearness) for label, texts in answered.answers.items()]
    return [detection for detection in found if detection.n]


def plain(text: str) -> str:
    """A text with blanks and case evened out."""
    return " ".join(text.split()).casefold()


def repeated(label: str, texts: Mapping[str, str]) -> Detection:
    """How large a share of a model's answers, evened out, is one and the same text."""
    counts = Counter(texts.values())
    text, count = counts.most_common(1)[0] if counts else ("", 0)
    share = count / len(texts) if texts else None
    much = count >= SEVERAL and count > SHARE * len(texts)
    shown = f"{text[:57]}..." if len(text) > 60 else text
    return Detection("one answer for many prompts", label, share, None, None, len(texts),
                     f"{label} gives one and the same answer to {count:,} of {len(texts):,} tasks: {shown!r}" if much else "")


def copied(one: str, other: str, texts: Mapping[str, str], others: Mapping[str, str]) -> Detection:
    """How often the answers of two models, evened out, are the same."""
    shared = [task for task in texts if task in others]
    count = sum(texts[task] == others[task] for task in shared)
    share = count / len(shared) if shared else None
    much = count >= SEVERAL and count > SHARE * len(shared)
    return Detection("the same answer by two models", f"{one}, {other}", share, None, None, len(shared),
                     f"{one} and {other} give the same answer to {count:,} of {len(shared):,} tasks" if much else "")


class Nearness:
    """How near texts are to their own prompts, beside the others. Of many prompts, `MOST` are taken, evenly spread."""

    def __init__(self, prompts: Mapping[str, str]) -> None:
        taken = list(prompts)[::-(-len(prompts) // MOST) or 1]
        self.place = {task: number for number, task in enumerate(taken)}
        bags = [_words(prompts[task]) for task in taken]
        known = Counter(word for bag in bags for word in bag)
        self._place = {word: number for number, word in enumerate(known)}
        self._rarity = np.array([math.log(1 + len(bags) / count) for count in known.values()], dtype=np.float64)
        self._prompts = np.zeros((len(known), len(bags)))  # a column a prompt, of length 1
        for number, bag in enumerate(bags):
            places, weights = self._weighed(bag)
            self._prompts[places, number] = weights / (np.linalg.norm(weights) or 1.0)

    def _weighed(self, bag: Counter[str]) -> tuple[Ints, Floats]:
        """The places of the words that are known, and their weights."""
        places = np.array([self._place[word] for word in bag if word in self._place], dtype=np.int64)
        counts = np.array([count for word, count in bag.items() if word in self._place], dtype=np.float64)
        return places, (1 + np.log(counts)) * self._rarity[places]

    def of(self, task: str, text: str) -> float:
        """The share of other prompts from which the text is farther than from its own, equally far ones by half."""
        places, weights = self._weighed(_words(text))  # its own length is the same for all prompts
        nearness = weights @ self._prompts[places]
        own = self.place[task]
        apart = np.delete(nearness, own) - nearness[own]
        same = 1e-9 * (1 + abs(nearness[own]))
        return float(np.mean((apart < -same) + 0.5 * (np.abs(apart) <= same)))


def unrelated(label: str, texts: Mapping[str, str], nearness: Nearness) -> Detection:
    """How near a model's answers are to their prompts, beside the other prompts."""
    tasks = [task for task in texts if task in nearness.place]
    if len(tasks) < ENOUGH:
        return Detection(UNRELATED, label, None, None, None, 0)
    estimate = mean([nearness.of(task, texts[task]) for task in tasks], bounds=(0, 1))
    far = (f"the answers of {label} are hardly nearer to their own prompts than to others ({estimate.value:.2f}; 0.5 is chance, "
           "1 is best): unread, shuffled, or in another language")
    return Detection(UNRELATED, label, estimate.value, estimate.lower, estimate.upper, len(tasks),
                     far if estimate.value < NEAR else "")


def _words(text: str) -> Counter[str]:
    return Counter(_WORD.findall(text[:LONGEST].casefold()))


def warnings_of(found: Sequence[Detection]) -> list[str]:
    """What a reader must know of the answers: a line a detector and model; of more than `TOLD` models, the others by name."""
    by_detector: dict[str, list[Detection]] = defaultdict(list)
    for detection in found:
        if detection.warning:
            by_detector[detection.detector].append(detection)
    lines = []
    for detector, ones in by_detector.items():
        lines += [one.warning for one in ones[:TOLD]]
        if len(ones) > TOLD:
            lines.append(f"{detector}, likewise: {'; '.join(one.model for one in ones[TOLD:])}")
    return lines
