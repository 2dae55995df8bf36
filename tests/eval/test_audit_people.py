"""A judge beside people: agreement, corrected win rates, its own family."""

from __future__ import annotations

from pathlib import Path

import pytest
from audits import TASKS, audit, fair, judge_by, tried_with, write
from small import Scripted

from pica.cli import main
from pica.eval.audit.families import family_by


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    """Settings: tasks and honest answers to them."""
    return tried_with(tmp_path)


def test_people_and_families(tmp_path: Path, scripted: Scripted, given: list[str]) -> None:
    def taste(first: str, second: str, number: int) -> int:  # its own kind, but for the last two tasks
        mine, other = ("twigs" in first) - ("twigs" in second), ("sticks" in first) - ("sticks" in second)
        return mine if number < 6 else other

    scripted("smol-judge", judge_by(taste))
    texts = {"smol-2": "A roof of twigs.", "big-1": "A roof of sticks."}
    write(tmp_path / "answers.jsonl", [{"id": f"t{number}", "model": model, "answer": f"{text} Number {number}."}
                                       for model, text in texts.items() for number in range(TASKS)])
    outcomes = ["a", "a", "b", "tie", "a", "b", "b"]
    labels = write(tmp_path / "labels.jsonl", [
        *({"task": f"t{number}", "model_a": "smol-2", "model_b": "big-1", "outcome": outcome}
          for number, outcome in enumerate(outcomes[:4])),
        *({"task": f"t{number + 4}", "model_a": "big-1", "model_b": "smol-2", "outcome": {"a": "b", "b": "a"}[outcome]}
          for number, outcome in enumerate(outcomes[4:])),
        {"task": "elsewhere", "model_a": "x", "model_b": "y", "outcome": "tie"}])
    found = audit(tmp_path / "a", "judge=scripted/smol-judge", "attacks=[empty]", f"labels={labels}", *given)
    people = found["people"]
    assert {key: people[key] for key in ("n", "unscored", "unmatched", "counts")} == {
        "n": 7, "unscored": 0, "unmatched": 1, "counts": [
            {"judge": "a", "people": "a", "battles": 3}, {"judge": "a", "people": "b", "battles": 2},
            {"judge": "a", "people": "tie", "battles": 1}, {"judge": "b", "people": "b", "battles": 1}]}
    assert people["agreement"] == pytest.approx(4 / 7)
    assert people["kappa"] == pytest.approx((4 / 7 - 21 / 49) / (1 - 21 / 49))
    smol, big = people["models"]
    assert (smol["model"], smol["judge"], smol["labelled"], smol["people"]) == ("smol-2", 0.75, 7, None)
    assert "needs 2 or more items of both kinds" in smol["note"]  # one battle only has no label
    assert (big["model"], big["judge"], big["battles"]) == ("big-1", 0.25, 8)
    own = next(one for one in found["leanings"] if "own family" in one["name"])
    assert (own["name"], own["count"], own["n"], own["verdict"]) == ("scripted/smol-judge prefers its own family", 12, 16, None)


def test_corrected_win_rates(tmp_path: Path, scripted: Scripted, given: list[str]) -> None:
    scripted("judge", judge_by(lambda first, second, number: (("A" in first) - ("A" in second)) * (1 if number % 4 else -1)))
    write(tmp_path / "answers.jsonl", [{"id": f"t{number}", "model": model, "answer": f"{text} Number {number}."}
                                       for model, text in (("m", "A"), ("n", "b")) for number in range(TASKS)])
    labels = write(tmp_path / "labels.jsonl", [{"task": f"t{number}", "model_a": "m", "model_b": "n", "outcome": outcome}
                                               for number, outcome in enumerate(["b", "a", "a", "b"])])
    found = audit(tmp_path / "a", "judge=scripted/judge", "attacks=[]", f"labels={labels}", *given)
    m = found["people"]["models"][0]
    assert (m["model"], m["judge"], m["people"], m["wins_judge"]) == ("m", 0.75, 0.5, 0.75)
    assert m["wins_corrected"] == pytest.approx((0.75 + 0.5 - 1) / (1 + 0.5 - 1))  # finds all wins, half of the others
    assert m["corrected_lower"] < m["corrected"] < m["corrected_upper"]
    assert m["corrected"] < m["judge"]


@pytest.mark.parametrize(("row", "line"), [
    ({"task": "t1", "model_a": "m", "model_b": "n"}, "row 1: outcome must be text; a label has task, model_a, model_b, outcome"),
    ({"task": "t1", "model_a": "m", "model_b": "n", "outcome": "A"}, "row 1: outcome 'A'; allowed: a, tie, b"),
    ({"task": "x", "model_a": "m", "model_b": "n", "outcome": "a"}, "no label is of a battle that is fought here")])
def test_labels_that_do_not_fit(tmp_path: Path, scripted: Scripted, given: list[str], capsys: pytest.CaptureFixture[str],
                                row: dict[str, str], line: str) -> None:
    scripted("judge", judge_by(fair))
    write(tmp_path / "answers.jsonl", [{"id": "t1", "model": model, "answer": "x"} for model in "mn"])
    labels = write(tmp_path / "labels.jsonl", [row])
    assert main(["audit", "judge=scripted/judge", f"labels={labels}", *given, "--quiet", "--out", str(tmp_path / "a")]) == 2
    said = capsys.readouterr().err
    assert line in said and said.count("\n") == 1


def test_families() -> None:
    family = family_by({"mine": "smollm"})
    names = ("mine", "local", "hf/HuggingFaceTB/SmolLM2-135M", "openai/gpt-4o@http://x/v1", "fake/a?b=c/d", "hf/./7b")
    assert [family(name) for name in names] == ["smollm", "smollm", "smollm", "gpt", "a", "7b"]
