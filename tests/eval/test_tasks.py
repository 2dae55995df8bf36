"""Tasks out of every format: official files, our own, any prompts; and what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pica.eval.tasks import Task, hash_of, read_tasks, task_of
from pica.synth.errors import UsageError
from pica.synth.formats import BadRow
from pica.synth.models.base import Message, assistant, system, user

TALK = [{"role": "user", "content": "Hi", "language": "English", "toxic": False}, {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Sky?"}]


def file(folder: Path, *rows: dict[str, Any]) -> str:
    path = folder / "tasks.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def read(folder: Path, *rows: dict[str, Any], **options: Any) -> list[Task]:
    return read_tasks(file(folder, *rows), **options)


class TestFormats:
    @pytest.mark.parametrize(("row", "task"), [
        pytest.param({"question_id": "q1", "category": "arena-hard-v0.1", "cluster": "ABC", "turns": [{"content": "Why?"}]},
                     Task("q1", (user("Why?"),), "arena-hard-v0.1"), id="arena-hard-v0.1"),
        pytest.param({"uid": "u1", "category": "hard_prompt", "subcategory": "coding", "prompt": "Why?"},
                     Task("u1", (user("Why?"),), "coding", ("hard_prompt",)), id="arena-hard-v2"),
        pytest.param({"session_id": "s1", "id": "", "conversation_input": TALK, "references": {"gpt-4": " Rayleigh. "},
                      "length": 3, "checklist": ["Names scattering?", " "], "intent": "know", "primary_tag": "Reasoning",
                      "secondary_tags": ["Math", "Reasoning"]},
                     Task("s1", (user("Hi"), assistant("Hello."), user("Sky?")), "Reasoning", ("Math", "Reasoning"), "Rayleigh.",
                          ("Names scattering?",)), id="wildbench"),
        pytest.param({"question_id": 81, "category": "writing", "prompt": "Why?", "reference": ["one", "two"]},
                     Task("81", (user("Why?"),), "writing", (), "one\n\ntwo"), id="mt-bench"),
        pytest.param({"instruction": "Why?", "output": "So.", "generator": "m", "dataset": "d"},
                     Task(hash_of([user("Why?")]), (user("Why?"),)), id="alpaca-eval"),
        pytest.param({"question": "Why?", "reference_answer": "So."},
                     Task(hash_of([user("Why?")]), (user("Why?"),), "", (), "So."), id="question"),
        pytest.param({"id": 7, "prompt": [system("Be brief."), user("Why?")], "category": " x ", "tags": "y"},
                     Task("7", (system("Be brief."), user("Why?")), "x", ("y",)), id="own"),
        pytest.param({"messages": [user("Why?"), assistant("So.")]},
                     Task(hash_of([user("Why?")]), (user("Why?"),)), id="messages"),
    ])
    def test_each_is_recognised(self, tmp_path: Path, row: dict[str, Any], task: Task) -> None:
        assert read(tmp_path, row) == [task]

    @pytest.mark.parametrize(("row", "reason"), [
        ({"id": "1"}, "no conversation: it has id"), ({"id": "1", "prompt": 5}, "not messages: prompt is a number"),
        ({"turns": [{"content": "a"}, {"content": "b"}]}, "turns: one turn with a text under `content` is expected"),
        ({"turns": []}, "turns: one turn with a text under `content` is expected"),
        ({"turns": [{"content": None}]}, "turns: one turn with a text under `content` is expected"),
        ({"conversation_input": []}, "no messages: prompt is an empty list"),
        ({"conversation_input": [{"role": "tool", "content": "x"}]}, "unknown role"),
        ({"prompt": "a", "checklist": [1]}, "not a list of texts: checklist is [1]"),
        ({"prompt": "a", "tags": {"a": 1}}, "not a list of texts: tags is {'a': 1}"),
        ({"prompt": "a", "reference": 4}, "not a list of texts: reference is 4"),
        ({"messages": [assistant("alone")]}, "no prompt: no user's turn before the answer"),
    ])
    def test_a_row_that_cannot_be_read_is_named(self, tmp_path: Path, row: dict[str, Any], reason: str) -> None:
        with pytest.raises(BadRow):
            task_of(row, 1)
        with pytest.raises(UsageError) as caught:
            read(tmp_path, {"prompt": "fine"}, row)
        assert f"tasks.jsonl, row 2: {reason}" in str(caught.value)
        assert "\n" not in str(caught.value)


class TestReading:
    ROWS = ({"id": "a", "prompt": "1", "category": "Math", "tags": ["Reasoning"]},
            {"id": "b", "prompt": "2", "category": "Planning"}, {"id": "c", "prompt": "3", "category": "Reasoning"})

    def test_the_first_n_of_the_categories(self, tmp_path: Path) -> None:
        def ids(**options: Any) -> list[str]:
            return [task.id for task in read(tmp_path, *self.ROWS, **options)]

        assert ids() == ids(n=9) == ["a", "b", "c"]
        assert ids(n=2) == ["a", "b"]
        assert ids(categories=["Reasoning"]) == ["a", "c"]
        assert ids(categories=["Reasoning", "Planning"], n=2) == ["a", "b"]

    def test_a_category_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="has no task of category 'Maths'; known: Math, Planning, Reasoning"):
            read(tmp_path, *self.ROWS, categories=["Math", "Maths"])
        with pytest.raises(UsageError, match="known: none"):
            read(tmp_path, {"prompt": "x"}, categories=["Math"])

    def test_an_id_that_stands_twice(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="the id 'a' stands 2 times; every task needs one of its own"):
            read(tmp_path, *self.ROWS, {"id": "a", "prompt": "4"})

    def test_a_folder_and_a_file_are_the_same(self, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        Path(file(tmp_path, *self.ROWS)).rename(tmp_path / "folder" / "train.jsonl")
        assert read_tasks(str(tmp_path / "folder")) == read_tasks(str(tmp_path / "folder" / "train.jsonl"))

    def test_a_name_that_is_nothing(self) -> None:
        with pytest.raises(UsageError, match="nowhere"):
            read_tasks("nowhere.jsonl")


class TestNotes:
    def test_what_a_judge_is_told(self) -> None:
        task = Task("1", (user("x"),), reference="42", checklist=("Says 42", "Is short"))
        assert task.notes == "Reference:\n42\n\nA good answer:\n- Says 42\n- Is short"
        assert Task("1", (user("x"),), reference="42").notes == "Reference:\n42"
        assert Task("1", (user("x"),), checklist=("Says 42",)).notes == "A good answer:\n- Says 42"
        assert Task("1", (user("x"),)).notes == ""


TALKS = st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.text(max_size=5)), min_size=1, max_size=3)


@settings(deadline=None)


@given(TALKS, TALKS)
def test_a_task_without_an_id_is_known_by_its_conversation(one: list[tuple[str, str]], other: list[tuple[str, str]]) -> None:
    first, second = ([Message(role=role, content=text) for role, text in talk] for talk in (one, other))
    assert (hash_of(first) == hash_of(second)) == (one == other)


def test_no_text_of_a_message_passes_for_two() -> None:
    assert hash_of([user("a"), user("b")]) != hash_of([user('a"], ["user", "b')]) != hash_of([user("a\x00user\x01b")])
    assert len(hash_of([user("\ud800")])) == 16
