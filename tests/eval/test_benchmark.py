"""The benchmark that comes with Pica: complete, varied, without repeats, and right wherever something can be calculated."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from benchmark_answers import COMPUTED, TASKS, asked, blocks
from hypothesis import given, settings
from hypothesis import strategies as st

import pica.eval.tasks as module
from pica.eval.neutral import SUSPICIOUS
from pica.eval.shipped import SHIPPED
from pica.eval.tasks import read_tasks
from pica.synth.filters.minhash import near_duplicates

CATEGORIES = ("Information seeking", "Advice seeking", "Creative Writing", "Editing", "Brainstorming", "Role playing", "Others",
              "Coding & Debugging", "Reasoning", "Planning", "Math", "Data Analysis")
ROWS: list[dict[str, Any]] = [json.loads(line) for line in SHIPPED["pica"].read_text(encoding="utf-8").splitlines()]


class TestShape:
    def test_sixty_tasks_five_a_category(self) -> None:
        assert Counter(task.category for task in TASKS.values()) == dict.fromkeys(CATEGORIES, 5)
        assert list(TASKS) == [f"pica-{number:03d}" for number in range(1, 61)]

    def test_every_field_of_every_row_is_known_and_kept(self) -> None:
        for row in ROWS:
            assert list(row) == ["id", "category", "tags", "prompt", "reference", "checklist"]
            task = TASKS[row["id"]]
            assert (list(task.tags), task.reference, list(task.checklist)) == (row["tags"], row["reference"], row["checklist"])
            assert set(task.tags) <= set(CATEGORIES) - {task.category}

    def test_lengths_vary_and_stay_within_reason(self) -> None:
        words = sorted(sum(len(message["content"].split()) for message in task.conversation) for task in TASKS.values())
        assert 25 < words[0] < 40 and 80 < words[30] < 110 and 180 < words[-1] < 300
        assert all(40 <= len(task.reference.split()) <= 210 for task in TASKS.values())

    def test_checklists(self) -> None:
        for task in TASKS.values():
            assert 4 <= len(task.checklist) <= 7
            assert len(set(task.checklist)) == len(task.checklist)
            assert all(10 <= len(item) <= 140 and not item.endswith(("?", ".")) for item in task.checklist)
        items = [item for task in TASKS.values() for item in task.checklist]
        assert len(near_duplicates(items, threshold=0.8, verify="exact")) > 0.95 * len(items)

    def test_conversations(self) -> None:
        several = {task.id: [message["role"] for message in task.conversation] for task in TASKS.values()
                   if len(task.conversation) > 1}
        assert len(several) == 10
        assert sum("system" in roles for roles in several.values()) == 4
        assert sum("assistant" in roles for roles in several.values()) == 8
        assert all(roles[-1] == "user" for roles in several.values())

    def test_no_two_prompts_are_alike(self) -> None:
        groups = near_duplicates([asked(task) for task in TASKS], threshold=0.3, verify="exact")
        assert len(groups) == 60

    def test_nothing_in_it_looks_like_an_attack(self) -> None:
        """So that no flag in a report comes from the tasks themselves."""
        texts = [message["content"] for task in TASKS.values() for message in task.conversation]
        texts += [task.notes for task in TASKS.values()]
        assert not [(name, text[:80]) for text in texts for name, pattern in SUSPICIOUS.items() if pattern.search(text)]

    def test_categories_and_a_limit(self) -> None:
        assert [task.id for task in read_tasks("pica", n=3)] == ["pica-001", "pica-002", "pica-003"]
        math_tasks = read_tasks("pica", categories=["Math"])
        assert {"pica-051", "pica-004"} <= {task.id for task in math_tasks}
        assert all("Math" in {task.category, *task.tags} for task in math_tasks)

    def test_it_lies_beside_the_module(self) -> None:
        assert SHIPPED["pica"] == Path(module.__file__).parent / "benchmark" / "tasks.jsonl"


@pytest.mark.parametrize("task", COMPUTED)
def test_the_reference_holds_what_is_calculated_here(task: str) -> None:
    text = TASKS[task].reference + ("\n" + asked(task) if task == "pica-019" else "")
    values = COMPUTED[task]()
    assert values and not [value for value in values if value not in text]


def test_every_task_with_a_result_is_calculated() -> None:
    exact = {task.id for task in TASKS.values() if task.category in {"Coding & Debugging", "Math", "Data Analysis"}}
    assert exact <= set(COMPUTED)


SPANS = st.lists(st.tuples(st.integers(-30, 30), st.integers(1, 12)).map(lambda pair: (pair[0], sum(pair))), max_size=8)


@settings(deadline=None)


@given(SPANS, st.integers(0, 4))
def test_the_reference_code_of_the_intervals_is_right(spans: list[tuple[int, int]], gap: int) -> None:
    """Against a naive one: paint every point, and every gap that is small enough."""
    space: dict[str, Any] = {}
    exec(blocks(TASKS["pica-038"].reference)[0], space)
    painted = {point for start, end in spans for point in range(start, end)}
    for start in sorted({end for _, end in spans}):
        for length in range(1, gap + 1):
            between = set(range(start, start + length))
            if start + length in {begin for begin, _ in spans} and not painted & between:
                painted |= between
    runs: list[list[int]] = []
    for point in sorted(painted):
        if runs and point == runs[-1][1]:
            runs[-1][1] = point + 1
        else:
            runs.append([point, point + 1])
    before = list(spans)
    assert space["merge"](spans, gap=gap) == [tuple(run) for run in runs]
    assert spans == before



def test_words_that_a_reference_corrects_are_in_the_prompt() -> None:
    """The editing task's mistakes stand in its text as the reference names them."""
    for wrong in ("Since two years", "My boss have", "five employee,", "he give me", "we has built", "a old house", "near of",
                  "proud for", "customer were"):
        assert wrong in asked("pica-017")
    corrected = TASKS["pica-017"].reference.split("Mistakes:")[0]
    assert not [wrong for wrong in ("boss have", "five employee,", "he give ", "we has", "a old", "near of", "proud for", "were")
                if wrong in corrected]


def test_the_shipped_text_keeps_to_its_own_limits() -> None:
    """The first part of the bedtime story, which the user has seen, follows the system message."""
    story = TASKS["pica-015"].conversation[2]["content"]
    sentences = re.split(r"(?<=[.?!])[\"]?\s+", story)
    assert max(len(sentence.split()) for sentence in sentences) <= 10
    assert len(story.split()) <= 150
