"""The audit beside every leaderboard: its verdict first, its battles apart, its calls durable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from audits import TASKS, fair, first_line, honest, judge_by, tried_with, verdicts, write
from hard import judged
from small import Scripted, stored

from pica.cli import main
from pica.eval import EVALUATIONS, load_evaluation
from pica.eval.audit.attacks import BESIDE
from pica.eval.audit.beside import Audited
from pica.synth.config import load_config
from pica.synth.rows import arrow_schema, columns
from pica.synth.source import open_source


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    """Settings: tasks and honest answers to them."""
    return tried_with(tmp_path)


def evaluate(out: Path, *words: str, benchmark: str = "arena") -> dict[str, Any]:
    assert main(["eval", benchmark, *words, "--quiet", "--out", str(out)]) == 0
    found: dict[str, Any] = json.loads((out / "audit.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture
def arena(tmp_path: Path, given: list[str]) -> list[str]:
    """Settings of an arena of two models with given answers."""
    write(tmp_path / "answers.jsonl", [{"id": f"t{number}", "model": model, "answer": honest(number)[:length]}
                                       for model, length in (("honest", None), ("short", 60)) for number in range(TASKS)])
    return given


def test_a_leaderboard_says_first_that_its_judge_fails(tmp_path: Path, arena: list[str],
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    found = evaluate(tmp_path / "e", "judge=fake/judge?prefers=first", *arena)
    assert [found[key] for key in ("verdict", "of", "honest", "tasks", "battles")] == ["fails", "arena", "honest", 8, 48]
    assert found["sentence"].startswith("The judge fails its audit: it favours the first place: the first one won 100%")
    assert capsys.readouterr().out.splitlines()[0] == f"warning: {found['sentence']}"
    assert first_line(tmp_path / "e") == found["sentence"]
    manifest = json.loads((tmp_path / "e" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["notes"]["warnings"][0] == found["sentence"]
    assert manifest["rows"]["splits"] == {"train": TASKS, "audit": 6 * TASKS}


def test_the_battles_of_the_audit_are_apart(tmp_path: Path, scripted: Scripted, arena: list[str]) -> None:
    scripted("judge", judge_by(fair))
    found = evaluate(tmp_path / "e", "judge=scripted/judge", *arena)
    assert (found["verdict"], found["sentence"]) == ("passes", "The judge passes all 9 checks of its audit")
    assert verdicts(found) == dict.fromkeys(BESIDE, "passes")
    evaluate(tmp_path / "plain", "judge=scripted/judge", "audit=0", *arena)
    boards = [json.loads((tmp_path / name / "leaderboard.json").read_text(encoding="utf-8")) for name in ("e", "plain")]
    assert boards[0] == boards[1]
    assert {entry["model"] for entry in boards[0]} == {"honest", "short"}
    rows, plain = (list(open_source(str(tmp_path / name))) for name in ("e", "plain"))
    assert [{key: row[key] for key in plain[0]} for row in rows] == plain
    tried = list(open_source(str(tmp_path / "e"), split="audit"))
    assert {(row["attack"], row["model_b"], row["recipe"]) for row in tried} == {(name, "honest", "audit") for name in BESIDE}
    page = (tmp_path / "e" / "report.html").read_text(encoding="utf-8")
    assert "Audit of the judge: what attacks win" in page
    told = json.loads((tmp_path / "plain" / "audit.json").read_text(encoding="utf-8"))
    assert (told["verdict"], told["sentence"], told["attacks"]) == ("not audited", "The judge was not audited: audit.tasks=0", [])
    assert "The judge was not audited: audit.tasks=0" in (tmp_path / "plain" / "report.html").read_text(encoding="utf-8")


def test_an_audit_goes_on_with_the_leaderboard(tmp_path: Path, scripted: Scripted, arena: list[str]) -> None:
    _, judge = scripted("judge", judge_by(fair))
    words = ["judge=scripted/judge", "audit.tasks=3", "audit.attacks=[echo,shuffled]", *arena]
    assert main(["eval", "arena", *words, "budget.calls=20", "--quiet", "--out", str(tmp_path / "e")]) == 3
    assert evaluate(tmp_path / "e", *words)["battles"] == 6
    assert len(judge.requests) == stored(tmp_path / "e") == 2 * (TASKS + 6)


def test_given_judgments_are_not_audited_but_their_answers_are_looked_at(tmp_path: Path) -> None:
    found = evaluate(tmp_path / "e", f"judgments={judged(tmp_path / 'j')}", benchmark="arena-hard")
    assert (found["verdict"], found["attacks"], found["leanings"]) == ("not audited", [], [])
    assert found["sentence"] == "The judge was not audited: judgments are given, and no judge is asked"
    assert {(one["detector"], one["model"]) for one in found["detectors"]} >= {("one answer for many prompts", "strong")}
    assert found["sentence"] in (tmp_path / "e" / "report.html").read_text(encoding="utf-8")


def test_checklists_are_audited_by_their_own_judge(tmp_path: Path, arena: list[str]) -> None:
    found = evaluate(tmp_path / "e", "judge=fake/judge?prefers=first", *arena, benchmark="checklist")  # every requirement is met
    assert (found["kind"], found["verdict"]) == ("checklist", "fails")
    assert found["sentence"] == ("The judge fails its audit: 'empty' scores 100% (63% to 100%, n=8); 'constant' scores 100% (63% "
                                 "to 100%, n=8); 'echo' scores 100% (63% to 100%, n=8); and 3 more")
    rows = list(open_source(str(tmp_path / "e"), split="audit"))
    assert {(row["contestant"], row["outcome"], row["share_a"]) for row in rows if row["attack"] == "empty"} == {(None, "a", 1.0)}
    good = evaluate(tmp_path / "good", "judge=fake/judge?prefers=checklist", *arena, benchmark="checklist")
    assert verdicts(good)["empty"] == "passes"


@pytest.mark.parametrize("name", EVALUATIONS)
def test_every_benchmark_has_room_for_an_audit(name: str, given: list[str]) -> None:
    benchmark = load_evaluation(name)
    evaluation = benchmark(load_config(benchmark.config_class, words=["judge=fake/judge", "models=[fake/magpie]"]))
    whole = evaluation.whole
    assert isinstance(whole, Audited)
    names = [column.name for column in columns(whole.row_class)]
    assert len(arrow_schema(columns(whole.row_class))) == len(names) == len(set(names))
    assert {"attack", "task", "answer_a", "answer_b", "games", "outcome", "share_a"} <= set(names)


