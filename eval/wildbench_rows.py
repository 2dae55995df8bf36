"""The rows of a WildBench evaluation, and how given results become rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec

from pica.eval.battle import Contest, Game, Order
from pica.eval.battle_rows import BattleRow
from pica.eval.contestants import Answers
from pica.eval.judge import Label
from pica.eval.scoring import Grade
from pica.eval.tasks import Task
from pica.eval.wildbench_files import EMPTY, TRUNCATED, Compared, Scored, said
from pica.eval.wildbench_parts import RULE
from pica.eval.wildbench_setup import Match
from pica.synth.report import Column as Shown
from pica.synth.report import Pane, Side
from pica.synth.rows import Messages, Provenance

PARSER = "wildbench-stored"
SCORE_COLUMNS = (
    Shown("task", "text", "id of the task"), Shown("category", "category", "category of the task"),
    Shown("contestant", "category", "who answered"), Shown("score", "number", "the jury's score, 1 to 10"),
    Shown("length", "number", "characters of the answer"), Shown("judged", "category", "here, or before", shown=False))
ANSWER = Pane((Side("answer", "Answer", name="contestant", score="score"),), title="Answer")


class ScoreRow(Provenance, kw_only=True):
    """One answer and its score."""

    task: Annotated[str, "id of the task"]
    category: Annotated[str, "category of the task", "category"]
    tags: Annotated[list[str], "all its categories"]
    prompt: Annotated[Messages, "the conversation that was answered"]
    contestant: Annotated[str, "who answered", "category"]
    answer: Annotated[str, "the answer"]
    score: Annotated[float | None, "the jury's score, 1 to 10; none: unscored"]
    grades: Annotated[list[Grade], "every judge's score"]
    empty: Annotated[bool, "whether the answer has no word"] = False
    left_out: Annotated[bool, "whether official groups leave it out: the answer is empty or was cut"] = False
    length: Annotated[int, "characters of the answer"] = 0
    judged: Annotated[Literal["here", "given"], "whether it was judged in this evaluation or before"] = "here"
    answers_known: Annotated[bool, "whether the answer is known"] = True
    flags: Annotated[list[str], "what was broken up or noticed in the answer"] = msgspec.field(default_factory=list)


class RewardRow(BattleRow, kw_only=True):
    """A model's answer (b) against a baseline's (a)."""

    tags: Annotated[list[str], "all categories of the task"] = msgspec.field(default_factory=list)
    empty_a: Annotated[bool, "whether answer a has no word"] = False
    empty_b: Annotated[bool, "whether answer b has no word"] = False
    left_out: Annotated[bool, "whether official counts leave it out: an answer is empty or was cut"] = False
    judged: Annotated[Literal["here", "given"], "whether it was judged in this evaluation or before"] = "here"
    answers_known: Annotated[bool, "whether both answers are known"] = True


def tags_of(task: Task) -> list[str]:
    """All categories of a task, the first one first."""
    return [tag for tag in dict.fromkeys((task.category, *task.tags)) if tag]


def by_rule(empty: tuple[bool, bool], orders: Sequence[Order]) -> list[Game]:
    """The games of two answers of which one at least has no word, in every order."""
    label: Label = "a=b" if all(empty) else "b>>a" if empty[0] else "a>>b"
    reason = "both answers are empty" if all(empty) else f"answer {'a' if empty[0] else 'b'} is empty"
    return [Game(judge=RULE, order=order, verdict=label, reason=reason) for order in orders]


def given_score(match: Match, given: Answers) -> dict[str, Any]:
    """What the row of a given score holds. `given`: answers, for records that do not hold theirs."""
    one = match.results[0]
    assert isinstance(one, Scored)
    made = Grade(judge=one.judge, score=one.score, reason=one.reason, text=said(one.record), parser=PARSER, problem=one.problem)
    text = one.answer if one.answer is not None else given.get(match.label, {}).get(match.task.id)
    left_out = text is not None and (not text or text.endswith(TRUNCATED))
    return {"text": text or "", "grades": [made], "judged": "given", "answers_known": text is not None, "empty": _is_empty(text),
            "left_out": left_out}


def given_reward(match: Match, given: Answers) -> tuple[Contest, list[Game], dict[str, Any]]:
    """What the row of given verdicts on a pair holds."""
    made = [one for one in match.results if isinstance(one, Compared)]
    games = [Game(judge=one.judge, order=one.order, verdict=one.verdict, reason=one.reason, text=said(one.record), first="A",
                  second="B", parser=PARSER, problem=one.problem) for one in made]
    stored = ((match.baseline, [one.baseline_answer for one in made]), (match.label, [one.answer for one in made]))
    texts = [next((text for text in (*shown, given.get(label, {}).get(match.task.id)) if text is not None), None)
             for label, shown in stored]
    left_out = any(text is not None and (text == EMPTY or text.endswith(TRUNCATED)) for text in texts)
    return Contest("", match.task.conversation, texts[0] or "", texts[1] or ""), games, {
        "empty_a": _is_empty(texts[0]), "empty_b": _is_empty(texts[1]), "left_out": left_out, "judged": "given",
        "answers_known": None not in texts}


def _is_empty(text: str | None) -> bool:
    """Whether an answer in an official file is known and says nothing."""
    return text is not None and text.strip() in {"", EMPTY}
