"""Judgments of one answer: a score from 1 to 10, or yes and no for each item of a checklist; by one judge or a jury.

Each judgment keeps what the judge wrote, the prompt's hash, the parser's version and the ledger's key. What cannot be read is
unscored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Annotated, Any

import msgspec

from pica.eval.battle import Asking, Panel
from pica.eval.neutral import neutralise
from pica.synth.models.base import Message, ModelConfig, conversation_text
from pica.synth.prompts import TooLong
from pica.synth.run import Draft, derive_seed, together


@dataclass(frozen=True)
class Answered:
    """An answer to a conversation. `key` names it for seeds: the same whatever else is judged."""

    key: str
    conversation: Sequence[Message]
    answer: str
    notes: str = ""


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What every judgment keeps."""

    judge: Annotated[str, "model that judged"]
    reason: Annotated[str, "the judge's reason"] = ""
    text: Annotated[str, "all that the judge wrote"] = ""
    prompt: Annotated[str, "hash of the judge's prompt file"] = ""
    parser: Annotated[str, "version of the parser"] = ""
    call: Annotated[str, "ledger key of the call"] = ""
    problem: Annotated[str, "why it is unscored"] = ""


class Grade(Written, frozen=True, kw_only=True):
    """One judge's score."""

    score: Annotated[float | None, "1 to 10; none: unscored"]


class Check(Written, frozen=True, kw_only=True):
    """One judge's verdict on one item."""

    item: Annotated[str, "the requirement"]
    met: Annotated[bool | None, "whether the answer meets it; none: unscored"]


async def grade(draft: Draft, answered: Answered, panel: Panel) -> list[Grade]:
    """Every judge's score, in the order of the panel. Errors of the calls pass through, but for what a judge refuses to read."""
    texts = {"conversation": conversation_text(answered.conversation), "notes": answered.notes or "none",
             "answer": neutralise(answered.answer).text}
    found = await together(*(_judged(draft, panel, judge, f"score_{number + 1}", (answered.key, number), texts)
                             for number, judge in enumerate(panel.judges)))
    return [Grade(score=verdict.scores[0] if verdict else None, **kept) for verdict, kept in found]


async def check(draft: Draft, answered: Answered, items: Sequence[str], panel: Panel) -> list[Check]:
    """Every judge's verdict on every item, item by item. Each item is a call of its own (TICK)."""
    texts = {"conversation": conversation_text(answered.conversation), "answer": neutralise(answered.answer).text}
    asked = [(place, item, number, judge) for place, item in enumerate(items) for number, judge in enumerate(panel.judges)]
    found = await together(*(_judged(draft, panel, judge, f"check_{place + 1}_{number + 1}", (answered.key, item, number),
                                     {**texts, "requirement": item}) for place, item, number, judge in asked))
    return [Check(item=item, met=verdict.met if verdict else None, **kept)
            for (_, item, _, _), (verdict, kept) in zip(asked, found, strict=True)]


async def _judged(draft: Draft, panel: Panel, judge: ModelConfig, step: str, key: tuple[object, ...],
                  texts: dict[str, str]) -> Any:
    """(the verdict or None, what a judgment keeps)."""
    kept = {"judge": judge.name, "prompt": panel.kind.prompt.hash, "parser": panel.kind.parser}
    try:
        prompt = panel.kind.fill(texts)
    except TooLong as error:
        return None, {**kept, "problem": str(error)}
    verdict, written = await Asking(draft, judge, panel, step, derive_seed(panel.seed, *key)).verdict(prompt)
    return verdict, {**kept, **written, "reason": verdict.reason if verdict else ""}


def agreed_score(grades: Sequence[Grade]) -> float | None:
    """The jury's score: the median, where more than half of all members gave one."""
    scores = [grade.score for grade in grades if grade.score is not None]
    return float(median(scores)) if 2 * len(scores) > len(grades) else None


def agreed_items(checks: Sequence[Check]) -> dict[str, bool | None]:
    """The jury's verdict by item: what more than half of all members say, None where no half does."""
    found: dict[str, bool | None] = {}
    for item in dict.fromkeys(one.item for one in checks):
        given = [one.met for one in checks if one.item == item]
        found[item] = True if 2 * given.count(True) > len(given) else False if 2 * given.count(False) > len(given) else None
    return found
