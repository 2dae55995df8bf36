"""The prompts of the tiny campaign: their kinds, that they are all different, and what their checklists want."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pica import recipes
from pica.eval.tasks import read_tasks
from pica.synth.models.base import Request, Sampling
from pica.synth.models.fake_brain import Brain, answer, topic_of

PROMPTS = Path(recipes.__path__[0]) / "flywheel" / "prompts" / "tiny.jsonl"
CATEGORIES = ["advice", "cooking", "history", "language", "nature", "numbers"]


def words(text: str) -> set[str]:
    return set("".join(char if char.isalpha() else " " for char in text.lower()).split())


def test_prompts_are_of_six_categories_and_all_different() -> None:
    tasks = read_tasks(str(PROMPTS))
    assert Counter(task.category for task in tasks) == dict.fromkeys(CATEGORIES, 27)
    texts = [task.conversation[0]["content"] for task in tasks]
    assert len({" ".join(text.lower().split()[:6]) for text in texts}) == len(texts)
    near = [(one, other) for number, one in enumerate(texts) for other in texts[:number]
            if len(words(one) & words(other)) > 0.5 * len(words(one) | words(other))]
    assert near == []


def runs(text: str, length: int) -> set[tuple[str, ...]]:
    """Every `length` words in a row."""
    said = text.lower().split()
    return {tuple(said[place:place + length]) for place in range(len(said) - length + 1)}


def test_prompts_are_not_those_of_the_benchmark() -> None:
    held = set[tuple[str, ...]]().union(*(runs(message["content"], 5) for task in read_tasks("pica")
                                          for message in task.conversation))
    assert [task.id for task in read_tasks(str(PROMPTS)) if runs(task.conversation[0]["content"], 5) & held] == []


def test_checklists_want_the_topic_and_the_opening() -> None:
    """The words that the fake judge looks for, but for `good` of the heading, are those the fake writer opens with."""
    for task in read_tasks(str(PROMPTS)):
        asked = task.conversation[0]["content"]
        said = answer(Request(task="chat", messages=task.conversation, sampling=Sampling(temperature=0.0, max_tokens=24)), 0,
                      Brain("magpie")).text
        if said.startswith("I'm sorry"):  # the writer refuses now and then
            continue
        assert said.startswith(f"Here is an answer about {topic_of(asked)}."), task.id
        assert words(topic_of(asked)) <= words(task.notes), task.id
