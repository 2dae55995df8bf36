"""Contestants: labels, answers made elsewhere in every official form, and the call that answers a task."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from small import Scripted, running

from pica.eval.contestants import answer, check_labels, read_answers
from pica.eval.judging_config import Contestant
from pica.eval.tasks import Task, hash_of
from pica.synth.errors import UsageError
from pica.synth.models.base import Request, Sampling, system, user

TASK = Task("t1", (system("Be brief."), user("Why?")))
GREEDY = Sampling(temperature=0.0, max_tokens=64)


def file(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


class TestLabels:
    def test_title_and_model(self) -> None:
        plain, named = Contestant(name="local"), Contestant(name="local", label="warm", temperature=0.7)
        assert (plain.title, named.title) == ("local", "warm")
        assert named.model.model_dump() == {**plain.model.model_dump(), "temperature": 0.7}
        assert type(named.model).__name__ == "ModelConfig"
        assert named.model is named.model  # one object, so that what is known of it is looked up and not made anew

    def test_a_bare_name_is_a_contestant(self) -> None:
        assert Contestant.model_validate("fake/echo") == Contestant(name="fake/echo")

    def test_two_of_one_name(self) -> None:
        local, other = Contestant(name="local"), Contestant(name="local", label="b")
        check_labels([local, other], {"c": {}})
        with pytest.raises(UsageError, match=r"the label 'local' stands 2 times in models; .*\{name: local, label: second\}"):
            check_labels([local, local], {})
        with pytest.raises(UsageError, match="'b' stands in models and in answers"):
            check_labels([local, other], {"b": {}})


class TestAnswersMadeElsewhere:
    @pytest.mark.parametrize(("row", "label", "key", "text"), [
        pytest.param({"question_id": "q1", "answer_id": "x", "model_id": "m1", "tstamp": 1.0,
                      "choices": [{"index": 0, "turns": [{"content": "first", "token_len": 1}, {"content": "last"}]}]},
                     "m1", "q1", "last", id="arena-hard-v0.1"),
        pytest.param({"uid": "u1", "ans_id": "x", "model": "m2", "messages": [
            {"role": "user", "content": "Why?"}, {"role": "assistant", "content": {"answer": "So.", "thought": "Hm."}}]},
                     "m2", "u1", "So.", id="arena-hard-v2"),
        pytest.param({"session_id": "s1", "chat_history": ["Why?"], "output": ["So."], "generator": "m3"}, "m3", "s1", "So.",
                     id="wildbench"),
        pytest.param({"instruction": "Why?", "output": "So.", "generator": "m4"}, "m4", hash_of([user("Why?")]), "So.",
                     id="alpaca-eval"),
        pytest.param({"id": 5, "answer": ""}, "mine", "5", "", id="own, empty"),
        pytest.param({"task_id": "t", "response": "So.", "model": ""}, "mine", "t", "So.", id="label of the file"),
        pytest.param({"id": "", "uid": "u", "completion": "So."}, "mine", "u", "So.", id="an empty id is none"),
        pytest.param({"id": "p", "messages": [user("Why?"), {"role": "assistant", "content": "So."}]}, "mine", "p", "So.",
                     id="messages"),
    ])
    def test_forms(self, tmp_path: Path, row: dict[str, Any], label: str, key: str, text: str) -> None:
        assert read_answers(str(file(tmp_path / "mine.jsonl", row))) == {label: {key: text}}

    @pytest.mark.parametrize("row", [
        {"id": "1", "answer": None}, {"id": "1", "output": [None]}, {"id": "1", "choices": [{"turns": [{"content": None}]}]},
        {"id": "1", "messages": [{"role": "assistant", "content": {"answer": None}}]},
        {"id": "1", "messages": [{"role": "assistant", "content": {"thought": "cut"}}]},
    ])
    def test_null_is_a_missing_answer_and_not_an_empty_one(self, tmp_path: Path, row: dict[str, Any]) -> None:
        found = read_answers(str(file(tmp_path / "m.jsonl", row, {"id": "2", "answer": "So."})))
        assert found == {"m": {"2": "So."}}

    @pytest.mark.parametrize(("row", "reason"), [
        ({"answer": "So."}, "it names no task: one of id, uid, question_id, session_id, task_id is expected"),
        ({"id": "2"}, "it has no answer: one of answer, output, response, completion, messages or choices is expected"),
        ({"id": "2", "answer": 5}, "the answer is no text: answer holds 5"),
        ({"id": "2", "output": ["a", "b"]}, "the answer is no text: output holds ['a', 'b']"),
        ({"id": "2", "choices": ["a"]}, "the answer is no text: choices holds ['a']"),
        ({"id": "2", "choices": [{"turns": []}]}, "the answer is no text: choices holds [{'turns': []}]"),
        ({"id": "2", "choices": [{"turns": [{"content": ["x"]}]}]}, "the answer is no text: choices holds ['x']"),
        ({"id": "1", "answer": "again"}, "m has a second answer to '1'; keep one"),
    ])
    def test_what_is_wrong_is_said_with_file_and_row(self, tmp_path: Path, row: dict[str, Any], reason: str) -> None:
        path = file(tmp_path / "m.jsonl", {"id": "1", "answer": "So."}, row)
        with pytest.raises(UsageError) as caught:
            read_answers(str(path))
        assert str(caught.value) == f"{path}, row 2: {reason}"

    def test_a_folder_holds_a_file_a_model(self, tmp_path: Path) -> None:
        file(tmp_path / "two.jsonl", {"id": "1", "answer": "b"})
        file(tmp_path / "deep" / "one.jsonl", {"id": "1", "answer": "a"}, {"id": "2", "answer": "c"})
        (tmp_path / "notes.md").write_text("not an answer", encoding="utf-8")
        assert read_answers(str(tmp_path)) == {"one": {"1": "a", "2": "c"}, "two": {"1": "b"}}

    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"answers=.*none: no such file or folder"):
            read_answers(str(tmp_path / "none"))
        with pytest.raises(UsageError, match=r"holds no \.jsonl, \.json or \.parquet file; give one file a model"):
            read_answers(str(tmp_path))


class TestAnswering:
    def asked(self, folder: Path, *contestants: Contestant, sampling: Sampling = GREEDY, seed: int = 0) -> list[str]:
        async def all_of(run: Any) -> list[str]:
            return [(await answer(run.draft(str(number)), one, TASK, sampling, seed)).text
                    for number, one in enumerate(contestants)]

        with running(folder) as (run, _):
            return asyncio.run(all_of(run))

    def script(self, scripted: Scripted) -> list[Request]:
        def shown(request: Request, sample: int) -> str:
            return f"{request.sampling.temperature:g} {request.sampling.max_tokens}"

        return scripted("m", shown)[1].requests

    def test_the_conversation_is_asked_as_it_stands(self, scripted: Scripted, tmp_path: Path) -> None:
        requests = self.script(scripted)
        assert self.asked(tmp_path, Contestant(name="scripted/m")) == ["0 64"]
        assert requests[0].messages == TASK.conversation
        assert (requests[0].task, requests[0].seed, requests[0].sampling) == ("chat", None, GREEDY)

    def test_settings_of_a_contestant_win_and_tell_its_calls_apart(self, scripted: Scripted, tmp_path: Path) -> None:
        """Two labels of one model that differ in a limit alone have different calls, though both are greedy."""
        requests = self.script(scripted)
        made = self.asked(tmp_path, Contestant(name="scripted/m"), Contestant(name="scripted/m", label="short", max_tokens=8),
                          Contestant(name="scripted/m", label="warm", temperature=0.7, top_p=0.9))
        assert made == ["0 64", "0 8", "0.7 64"]
        assert [json.loads(request.sampling.canonical)["max_tokens"] for request in requests] == [64, 8, 64]
        assert (requests[2].sampling.top_p, requests[2].seed is None) == (0.9, False)

    def test_the_same_answer_whoever_it_meets(self, scripted: Scripted, tmp_path: Path) -> None:
        requests = self.script(scripted)
        warm = Contestant(name="scripted/m", temperature=0.7)
        assert len(set(self.asked(tmp_path, warm, warm, Contestant(name="scripted/m", label="twin", temperature=0.7)))) == 1
        assert len(requests) == 1
        self.asked(tmp_path, warm, seed=1)
        assert len({request.seed for request in requests}) == 2
