"""`pica eval checklist`: checklists given and written, pass rates with intervals, everything that goes wrong."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from small import Scripted

from pica.cli import main
from pica.eval.checklist import Checklist
from pica.eval.checklist_config import ChecklistConfig
from pica.eval.compare import compare
from pica.eval.means import mean
from pica.synth.config import load_config
from pica.synth.errors import BudgetSpent, UsageError
from pica.synth.models.base import Request
from pica.synth.recipe import make
from pica.synth.rows import read_rows

TASKS = [{"id": f"t{number}", "category": "odd" if number % 2 else "even", "prompt": f"Name the words of list {number}.",
          "checklist": [f"Says word{part}" for part in range(1 + number)]} for number in range(4)]  # 1, 2, 3 and 4 items


def tasks(folder: Path, found: list[dict[str, Any]]) -> str:
    """The setting for tasks in a file."""
    path = folder / "tasks.jsonl"
    path.write_text("".join(json.dumps(task) + "\n" for task in found), encoding="utf-8")
    return f"tasks={path}"


@pytest.fixture
def asked(tmp_path: Path) -> str:
    return tasks(tmp_path, TASKS)


class Judged:
    """Contestants that say some words, and a judge that looks for the word of an item."""

    def __init__(self, scripted: Scripted) -> None:
        self.calls: Counter[str] = Counter()
        self.broken = ""
        self.written: list[str] = ["Says word0", "Says word1"]
        for name, words in (("one", 1), ("two", 2), ("four", 4)):
            scripted(name, self._saying(name, words))
        scripted("judge", self._judge)
        scripted("writer", self._write)

    def _saying(self, name: str, words: int) -> Any:
        def answer(request: Request, sample: int) -> str:
            self.calls[name] += 1
            return " ".join(f"word{number}" for number in range(words))

        return answer

    def _judge(self, request: Request, sample: int) -> str:
        self.calls["judge"] += 1
        answer, _, item = request.messages[-1]["content"].rpartition("The answer:")[2].partition("The requirement:")
        word = item.partition("Says ")[2].split("\n")[0]
        if word == self.broken:
            return "Hard to say."
        return json.dumps({"reason": "r", "met": "yes" if word in answer.split() else "no"})

    def _write(self, request: Request, sample: int) -> str:
        self.calls["writer"] += 1
        return json.dumps({"items": self.written}) if self.written else "No idea."


@pytest.fixture
def judged(scripted: Scripted) -> Judged:
    return Judged(scripted)


QUICK = ("durability=normal", "rounds=200", "judge=scripted/judge")


def run(out: Path, *words: str, update: bool = False, audit: bool = False) -> dict[str, Any]:
    """Evaluate; the manifest."""
    config = load_config(ChecklistConfig, words=[*QUICK, *([] if audit else ["audit=0"]), *words])
    return asyncio.run(make(Checklist(config), out, update=update)).manifest


def rows(out: Path, split: str = "train") -> list[dict[str, Any]]:
    """The rows of an evaluation."""
    return [row for file in sorted(out.glob(f"data/{split}-*.parquet")) for row in read_rows(file)]


def board(out: Path) -> dict[str, dict[str, Any]]:
    """The leaderboard by model."""
    return {entry["model"]: entry for entry in json.loads((out / "leaderboard.json").read_text(encoding="utf-8"))}


def picked(row: dict[str, Any], *names: str) -> Any:
    """Some columns."""
    return tuple(row[name] for name in names)


class TestGiven:
    def test_rates_with_intervals(self, tmp_path: Path, asked: str, judged: Judged) -> None:
        run(tmp_path / "out", asked, "models=[scripted/one, scripted/four, scripted/two]")
        found = board(tmp_path / "out")
        names = ("score", "n", "unscored", "missing", "answers", "pass_rate", "all_met", "mean_length")
        assert {label: picked(entry, *names) for label, entry in found.items()} == {
            "scripted/four": (100.0, 10, 0, 0, 4, 100.0, 100.0, 23.0),
            "scripted/two": (pytest.approx(70), 10, 0, 0, 4, pytest.approx(100 * (1 + 1 + 2 / 3 + 1 / 2) / 4), 50.0, 11.0),
            "scripted/one": (pytest.approx(40), 10, 0, 0, 4, pytest.approx(100 * (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4), 25.0, 5.0)}
        values = [1.0, 1, 0, 1, 0, 0, 1, 0, 0, 0]
        wanted = mean(values, prompt=["t0"] + ["t1"] * 2 + ["t2"] * 3 + ["t3"] * 4, bounds=(0, 1), rounds=200)
        assert picked(found["scripted/one"], "lower", "upper") == pytest.approx((100 * wanted.lower, 100 * wanted.upper))
        assert judged.calls == {"one": 4, "two": 4, "four": 4, "judge": 30}

    def test_rows(self, tmp_path: Path, asked: str, judged: Judged) -> None:
        run(tmp_path / "out", asked, "models=scripted/one", "n=2")
        row = rows(tmp_path / "out")[1]
        assert picked(row, "task", "category", "contestant", "answer", "items", "met", "unmet", "unscored", "score", "all_met",
                      "checklist_by", "length", "flags") == (
            "t1", "odd", "scripted/one", "word0", ["Says word0", "Says word1"], 1, 1, 0, 0.5, False, "the task", 5, [])
        assert [(one["item"], one["met"], one["judge"]) for one in row["checks"]] == [
            ("Says word0", True, "scripted/judge"), ("Says word1", False, "scripted/judge")]

    def test_the_report_names_the_items_that_are_met_least(self, tmp_path: Path, asked: str, judged: Judged) -> None:
        run(tmp_path / "out", asked, "models=[scripted/one, scripted/two]")
        page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
        assert "Items met least" in page and "By category" in page
        assert page.index("Says word2") < page.index("Says word1")

    def test_what_cannot_be_read_is_unscored(self, tmp_path: Path, asked: str, judged: Judged) -> None:
        judged.broken = "word1"
        manifest = run(tmp_path / "out", asked, "models=scripted/two", "tries=1")
        assert picked(board(tmp_path / "out")["scripted/two"], "score", "n", "unscored", "all_met") == (
            pytest.approx(100 * 4 / 7), 7, 3, 100.0)
        assert rows(tmp_path / "out")[1]["all_met"] is None
        assert manifest["notes"]["warnings"][0].startswith("3 of 10 items have no verdict that can be read")

    def test_an_item_that_stands_twice_counts_once(self, tmp_path: Path, judged: Judged) -> None:
        twice = tasks(tmp_path, [{"id": "t", "prompt": "Hi", "checklist": ["Says word0", "Says word1", "Says word0"]}])
        run(tmp_path / "out", twice, "models=scripted/one")
        assert picked(rows(tmp_path / "out")[0], "items", "met", "unmet") == (["Says word0", "Says word1"], 1, 1)
        assert judged.calls["judge"] == 2

    def test_a_jury_decides_by_strict_majority(self, tmp_path: Path, asked: str, judged: Judged, scripted: Scripted) -> None:
        scripted("no", lambda request, sample: '{"reason": "r", "met": "no"}')
        run(tmp_path / "out", asked, "models=scripted/four", "judge=[scripted/judge, scripted/no]")
        assert picked(board(tmp_path / "out")["scripted/four"], "score", "n", "unscored") == (None, 0, 10)
        run(tmp_path / "three", asked, "models=scripted/four", "judge=[scripted/judge, scripted/no, scripted/judge]")
        assert picked(board(tmp_path / "three")["scripted/four"], "score", "n", "unscored") == (100.0, 10, 0)

    def test_answers_made_elsewhere(self, tmp_path: Path, asked: str, judged: Judged) -> None:
        answers = tmp_path / "answers.jsonl"
        answers.write_text("".join(json.dumps({"id": f"t{number}", "model": "old", "answer": "word0 word1"}) + "\n"
                                   for number in range(3)), encoding="utf-8")
        manifest = run(tmp_path / "out", asked, f"answers={answers}")
        assert picked(board(tmp_path / "out")["old"], "score", "n", "missing") == (pytest.approx(100 * 5 / 6), 6, 1)
        assert manifest["rows"]["rejected"] == {"no answer of old": 1}


class TestWritten:
    def test_a_checklist_is_written_once_for_all_models(self, tmp_path: Path, judged: Judged) -> None:
        bare = tasks(tmp_path, [{"id": "a", "prompt": "First?"}, {"id": "b", "prompt": "Second?", "checklist": ["Says word3"]}])
        run(tmp_path / "out", bare, "models=[scripted/one, scripted/four]", "writer=scripted/writer")
        assert judged.calls == {"one": 2, "four": 2, "writer": 1, "judge": 6}
        assert [picked(row, "task", "items", "checklist_by") for row in rows(tmp_path / "out")[::2]] == [
            ("a", ["Says word0", "Says word1"], "scripted/writer"), ("b", ["Says word3"], "the task")]
        run(tmp_path / "anew", bare, "models=scripted/one", "writer=scripted/writer", "rewrite=true")
        assert [row["items"] for row in rows(tmp_path / "anew")] == [["Says word0", "Says word1"]] * 2

    @pytest.mark.parametrize("written", [[], ["one item"], ["   ", "    "]])
    def test_without_a_checklist_there_is_no_row(self, tmp_path: Path, judged: Judged, written: list[str]) -> None:
        judged.written = written
        some = tasks(tmp_path, [{"id": "a", "prompt": "First?"}, {"id": "b", "prompt": "Second?", "checklist": ["Says word0"]}])
        manifest = run(tmp_path / "out", some, "models=scripted/one", "writer=scripted/writer", "tries=2")
        assert manifest["rows"]["rejected"] == {"no checklist": 1}
        assert picked(board(tmp_path / "out")["scripted/one"], "score", "n", "missing") == (100.0, 1, 1)

    def test_a_writer_is_asked_again_otherwise(self, tmp_path: Path, judged: Judged, scripted: Scripted) -> None:
        replies = iter(["Let me think.", '{"items": ["Says word0", "Says word0", "Says word1"]}'])
        _, model = scripted("slow", lambda request, sample: next(replies))
        run(tmp_path / "out", tasks(tmp_path, [{"id": "a", "prompt": "First?"}]), "models=scripted/one", "writer=scripted/slow")
        assert [request.sampling.temperature for request in model.requests] == [0.0, 0.7]
        assert rows(tmp_path / "out")[0]["items"] == ["Says word0", "Says word1"]

    def test_the_first_judge_writes_where_nobody_else_is_named(self, judged: Judged) -> None:
        config = load_config(ChecklistConfig, words=["judge=[scripted/judge, scripted/writer]", "models=scripted/one"])
        assert config.writer is not None and config.writer.name == "scripted/judge"


class TestGoingOn:
    def test_resume_asks_nothing_twice_and_a_model_costs_only_itself(self, tmp_path: Path, asked: str, judged: Judged) -> None:
        out = tmp_path / "out"
        with pytest.raises(BudgetSpent):
            run(out, asked, "models=scripted/one", "budget.calls=6", "concurrency=1")
        assert 0 < judged.calls.total() <= 6
        run(out, asked, "models=scripted/one")
        assert judged.calls == {"one": 4, "judge": 10}
        alone = board(out)["scripted/one"]
        run(out, asked, "models=[scripted/one, scripted/two]", update=True)
        assert judged.calls == {"one": 4, "two": 4, "judge": 20}
        assert board(out)["scripted/one"] == alone

    def test_two_evaluations_compare(self, tmp_path: Path, asked: str, judged: Judged) -> None:
        run(tmp_path / "a", asked, "models=[{name: scripted/one, label: m}]")
        run(tmp_path / "b", asked, "models=[{name: scripted/four, label: m}]")
        (change,) = compare(tmp_path / "a", tmp_path / "b").changes
        assert (change.model, change.paired.prompts) == ("m", 4)
        assert change.paired.difference == pytest.approx((0 + 1 / 2 + 2 / 3 + 3 / 4) / 4)

    def test_the_audit_beside_it(self, tmp_path: Path, judged: Judged) -> None:
        bare = tasks(tmp_path, [{"id": f"t{number}", "prompt": f"Question {number}?"} for number in range(6)])
        manifest = run(tmp_path / "out", bare, "models=scripted/four", "writer=scripted/writer", audit=True)
        assert manifest["notes"]["audit"]["verdict"] in {"passes", "undecided", "fails"}
        attacks = {row["attack"]: row for row in rows(tmp_path / "out", "audit")}
        assert picked(attacks["empty"], "share_a", "outcome") == (0.0, "b")
        assert len(rows(tmp_path / "out")) == 6 and judged.calls["writer"] == 6

    def test_the_plan(self, tmp_path: Path, asked: str, judged: Judged) -> None:
        config = load_config(ChecklistConfig, words=[*QUICK, asked, "models=[scripted/one, scripted/two]"])
        plan = Checklist(config).plan()
        assert (plan.rows, plan.calls) == (8, 8 + 20)
        assert judged.calls.total() == 0


class TestBadInput:
    @pytest.mark.parametrize(("words", "says"), [
        (["judge=[]", "models=scripted/one"], "checklist needs a judge; give judge=SPEC"),
        (["models=[scripted/one, scripted/one]"], "the label 'scripted/one' stands 2 times in models"),
        (["models=scripted/one", "categories=[none]"], "has no task of category 'none'"),
        (["models=scripted/one", "answers=nowhere"], "answers=nowhere: no such file or folder"),
        ([], "nobody competes; give models="),
    ])
    def test_one_line(self, tmp_path: Path, asked: str, judged: Judged, words: list[str], says: str) -> None:
        with pytest.raises(UsageError, match=says) as error:
            run(tmp_path / "out", asked, *words)
        assert "\n" not in str(error.value)

    def test_the_command(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = str(tmp_path / "out")
        assert main(["eval", "checklist", "n=3", "models=fake/magpie", "judge=fake/judge?prefers=checklist", "audit=0",
                     "rounds=100", "--out", out, "--quiet"]) == 0
        assert "share of all items met, in percent (DRFR)" in capsys.readouterr().out
