"""`pica eval compare A B`, on folders whose every verdict is known."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from arenas import battle, evaluate, given, words
from hypothesis import given as for_all
from hypothesis import strategies as st

from pica.cli import main
from pica.eval.compare import compare, holm, task_scores
from pica.eval.distributions import t_quantile
from pica.eval.power import detectable

N = 6


def folder(path: Path, rows: list[dict[str, Any]], config: dict[str, Any], recipe: str = "arena") -> Path:
    """A finished evaluation with these rows."""
    path.mkdir()
    (path / "data").mkdir()
    (path / "data" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (path / "leaderboard.json").write_text("[]", encoding="utf-8")
    (path / "manifest.json").write_text(json.dumps({"recipe": recipe, "config": config, "files": {}}), encoding="utf-8")
    return path


@pytest.fixture
def both(tmp_path: Path) -> tuple[Path, Path]:
    """x lost to y on all tasks but the first, then wins all but the last; z is in the first alone, w in the second alone."""
    first = [battle(f"t{number}", "x", "y", ["b>a", "b>a"] if number else ["a>b", "a>b"]) for number in range(N)]
    second = [battle(f"t{number}", "x", "y", ["a>b", "a>b"] if number < N - 1 else ["a=b", "b>a"]) for number in range(N)]
    return (folder(tmp_path / "A", [*first, battle("t0", "x", "z", ["b>a", "b>a"])], {"n": 6, "seed": 0}),
            folder(tmp_path / "B", [*second, battle("t0", "w", "y", ["a>b", "a>b"])], {"n": 6, "seed": 1}))


def test_what_changed(both: tuple[Path, Path]) -> None:
    found = compare(*both)
    change = [0, 1, 1, 1, 1, 0.25]  # of x, task by task; that of y is the opposite
    mean, spread = sum(change) / N, math.sqrt(sum((one - sum(change) / N) ** 2 for one in change) / (N - 1))
    half = t_quantile(0.975, N - 1) * spread / math.sqrt(N)
    visible = detectable(spread, N).difference
    told = found.to_json()
    p = 2 / 2 ** 5  # of 32 patterns of signs, all plus and all minus
    shared = {"p_value": p, "equal": 1, "prompts": N, "only_first": 0, "only_second": 0, "level": 0.95, "seed": 0,
              "p_adjusted": 2 * p, "spread": pytest.approx(spread), "visible": pytest.approx(visible)}
    assert told == {
        "first": str(both[0]), "second": str(both[1]), "settings": ["seed: 0 -> 1"],
        "changes": [
            {"model": "x", "difference": pytest.approx(mean), "lower": pytest.approx(mean - half),
             "upper": pytest.approx(mean + half), "better": 5, "worse": 0, **shared},
            {"model": "y", "difference": pytest.approx(-mean), "lower": pytest.approx(-mean - half),
             "upper": pytest.approx(-mean + half), "better": 0, "worse": 5, **shared}],
        "only_first": ["z"], "only_second": ["w"], "apart": [],
        "outcomes": [{"first": "a", "second": "a", "battles": 1}, {"first": "b", "second": "a", "battles": 4},
                     {"first": "b", "second": "tie", "battles": 1}],
    }
    lines = found.text().splitlines()
    assert lines[:4] == [f"{both[0]} -> {both[1]}", "  setting seed: 0 -> 1", f"  only in {both[0]}: z",
                         f"  only in {both[1]}: w"]
    assert lines[4] == "model    change            interval  p (Holm)  tasks  visible from"
    assert lines[5] == f"x        +0.708    {mean - half:+.3f} to {mean + half:+.3f}     0.125      6  {visible:.3f}"
    assert lines[-1] == "outcomes: 5 of 6 shared battles changed (b -> a: 4; b -> tie: 1)"
    assert len(lines) == 8


def test_the_command_prints_text_or_json(both: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "compare", *map(str, both)]) == 0
    assert capsys.readouterr().out == compare(*both).text() + "\n"
    assert main(["eval", "compare", *map(str, both), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == compare(*both).to_json()


def test_one_task_has_a_difference_but_no_interval(tmp_path: Path) -> None:
    sides = [folder(tmp_path / name, [battle("t", "x", "y", verdicts)], {}) for name, verdicts in
             (("A", ["a>b", "a>b"]), ("B", ["b>a", "b>a"]))]
    found = compare(*sides)
    told = found.to_json()["changes"][0]
    assert (told["difference"], told["p_adjusted"], told["visible"], told["lower"]) == (-1.0, 1.0, None, None)
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert found.text().splitlines()[1:4] == [
        "  the same settings", "model    change            interval  p (Holm)  tasks  visible from",
        "x        -1.000                   -     1.000      1  -"]


@pytest.mark.parametrize(("rows", "recipe", "told"), [
    ([battle("t", "p", "q", ["a>b"])], "arena", "have no model in common: x, y; p, q"),
    ([battle("t", "x", "y", ["a>b"])], "wildbench", "B of wildbench; compare evaluations of one benchmark"),
    ([battle("u", "x", "y", ["a>b"])], "arena", "no model was scored on a task that both have"),
    ([battle("t", "x", "y", [None])], "arena", "no model was scored on a task that both have"),
])
def test_what_cannot_be_compared(tmp_path: Path, rows: list[dict[str, Any]], recipe: str, told: str,
                                 capsys: pytest.CaptureFixture[str]) -> None:
    first = folder(tmp_path / "A", [battle("t", "x", "y", ["a>b"])], {})
    second = folder(tmp_path / "B", rows, {}, recipe)
    assert main(["eval", "compare", str(first), str(second)]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert len(error.splitlines()) == 1


def test_folders_that_are_no_evaluations(tmp_path: Path, both: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "compare", str(both[0]), str(tmp_path / "none")]) == 2
    assert f"{tmp_path / 'none'} is no finished evaluation" in capsys.readouterr().err
    (both[1] / "manifest.json").unlink()
    assert main(["eval", "compare", *map(str, both)]) == 1
    assert "is not complete (no manifest.json)" in capsys.readouterr().err
    assert main(["eval", "compare", str(both[0])]) == 2
    assert "compare takes two folders of evaluations, not 1" in capsys.readouterr().err


def test_evaluations_of_ours_compare(tmp_path: Path) -> None:
    texts = {"x": lambda number: words(number, 12), "y": lambda number: words(number, 14)}
    settings = given(tmp_path, texts, 6)
    evaluate(tmp_path / "A", "judge=fake/judge?prefers=long", *settings)
    evaluate(tmp_path / "B", "judge=fake/judge?prefers=short", *settings)
    found = compare(tmp_path / "A", tmp_path / "B").to_json()
    assert [(one["model"], one["difference"], one["p_adjusted"]) for one in found["changes"]] == [
        ("x", 1.0, 2 * 2 / 2 ** 6), ("y", -1.0, 2 * 2 / 2 ** 6)]
    assert found["outcomes"] == [{"first": "b", "second": "a", "battles": 6}]
    assert len(found["settings"]) == 1
    assert "judge" in found["settings"][0]


def test_models_without_a_shared_task_are_named(tmp_path: Path) -> None:
    first = folder(tmp_path / "A", [battle("t", "x", "y", ["a>b"]), battle("u", "x", "z", ["a>b"])], {})
    second = folder(tmp_path / "B", [battle("t", "x", "y", ["a>b"]), battle("t", "x", "z", ["a>b"])], {})
    found = compare(first, second)
    assert [change.model for change in found.changes] == ["x", "y"]
    assert found.to_json()["apart"] == ["z"]
    assert "  scored on no task that both have: z" in found.text().splitlines()


def test_scores_by_task() -> None:
    rows = [battle("t", "x", "y", ["a>b", "b>a"]), battle("t", "x", "z", ["a>b", "a>b"]), battle("u", "x", "y", [None, None])]
    assert task_scores(rows, {"x", "y", "z"}) == {
        "x": {"t": 0.75, "u": None}, "y": {"t": 0.5, "u": None}, "z": {"t": 0.0}}
    assert task_scores(rows, {"x", "y"})["x"] == {"t": 0.5, "u": None}  # z is no rival of both evaluations
    scored = [{"contestant": "x", "task": "t", "score": 3.0}, {"contestant": "x", "task": "u", "score": None}]
    assert task_scores(scored, set()) == {"x": {"t": 3.0, "u": None}}


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


@for_all(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_as_its_steps_do(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    for level in (0.01, 0.05, 0.3):
        rejected = set[int]()
        for rank, place in enumerate(order):
            if (len(p_values) - rank) * p_values[place] > level:
                break
            rejected.add(place)
        assert {place for place, p in enumerate(adjusted) if p <= level} == rejected
