"""Sections of an evaluation's report, from battles whose every verdict is known."""

from __future__ import annotations

import random
from math import inf, isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arenas import battle, evaluate, given, words

from pica.eval.bias import leanings
from pica.eval.compare import visible
from pica.eval.leaderboard import Entry, Leaderboard
from pica.eval.paired import compare as paired
from pica.eval.report import battle_sections, first_line, neighbours, warnings_of
from pica.eval.style_effects import style_effects
from pica.synth.report import Intervals, Matrix, Table
from pica.synth.report.charts import draw

BY_WORTH = {1.0: "a>b", 0.5: "a=b", 0.0: "b>a"}


def table(sections: list[Any], title: str) -> Table:
    found = [section for section in sections if section.title == title]
    assert len(found) == 1
    assert isinstance(found[0], Table)
    return found[0]


# the first line -----------------------------------------------------------------------------------------------------------------


def test_the_first_line_is_a_warning_or_who_leads() -> None:
    board = Leaderboard([Entry("x", 1.0, None, None, 1), Entry("y", None, None, None, 0)], "m", "h")
    assert first_line(board, ["careful"]) == "careful"
    assert first_line(board, []) == "x leads 2 models"
    assert first_line(Leaderboard([Entry("y", None, None, None, 0)], "m", "h"), []) == "Nobody has a score"


def test_what_could_not_be_judged_is_warned_of_last() -> None:
    facts: dict[str, Any] = {"rows": {"in": 1200, "rejected": {"no answer of x": 1000, "cut": 1}},
                             "notes": {"warnings": ["first"]}}
    assert warnings_of(facts) == ["first", "1,001 of 1,200 judgments could not be made (no answer of x: 1,000, cut: 1)"]
    assert facts["notes"]["warnings"] == ["first"]
    assert warnings_of({"rows": {"in": 1, "rejected": {}}, "notes": {}}) == []


# categories and who beats whom --------------------------------------------------------------------------------------------------

ROWS = [battle("t1", "x", "y", ["a>b", "a>b"]), battle("t2", "x", "y", ["a>b", "b>a"]),
        battle("t3", "x", "y", ["b>a", "b>a"], category="trees"), battle("t3", "x", "z", ["a=b", "a=b"], category="trees"),
        battle("t4", "y", "z", [None, None], category="trees")]


def test_shares_by_category_and_by_rival() -> None:
    sections = battle_sections(ROWS, ["x", "y", "z"], leanings(ROWS))
    found = table(sections, "By category")
    assert list(found.header) == ["model", "birds", "trees"]
    assert [row[0] for row in found.rows] == ["x", "y", "z"]
    assert found.rows[0][1].startswith("75 (")
    assert [row[2] for row in found.rows] == ["25 (1 task)", "100 (1 task)", "50 (1 task)"]
    assert found.rows[2][1] == "-"
    matrix = next(section for section in sections if isinstance(section, Matrix))
    assert list(matrix.labels) == ["x", "y", "z"]
    assert matrix.columns == ()
    assert matrix.values == [[None, 50.0, 50.0], [50.0, None, None], [50.0, None, None]]


def test_a_matrix_of_many_models_numbers_its_columns() -> None:
    models = [f"organisation/model-{number}" for number in range(45)]
    rows = [battle("t", models[0], models[number], ["a>b", "a>b"]) for number in range(1, 45)]
    matrix = next(section for section in battle_sections(rows, models, leanings(rows)) if isinstance(section, Matrix))
    assert list(matrix.columns) == [str(number) for number in range(1, 41)]
    assert matrix.labels[1] == "2 organisation/model-1"
    assert matrix.values[0] == [None, *[100] * 39]
    assert matrix.values[1] == [0, *[None] * 39]
    assert "the first 40 of 45 models" in matrix.note


def test_more_categories_than_models_stand_below_each_other() -> None:
    rows = [battle("t", "x", "y", ["a>b", "a>b"], category=name) for name in "pqr"]
    found = table(battle_sections(rows, ["x", "y"], leanings(rows)), "By category")
    assert (list(found.header), found.rows) == (["category", "x", "y"], [[name, "100 (1 task)", "0 (1 task)"] for name in "pqr"])


def test_what_the_judge_leans_to() -> None:
    sections = battle_sections(ROWS, ["x", "y", "z"], leanings(ROWS))
    assert [row[:3] for row in table(sections, "The judge in figures").rows] == [
        ["first place wins", 4, 6], ["longer answer wins", 3, 6], ["winner changes with the order", 1, 4],
        ["games without a verdict", 2, 10]]
    plot = next(section for section in sections if isinstance(section, Intervals))
    assert (plot.items[0][0], plot.items[0][1]) == ("first place wins", pytest.approx(100 * 4 / 6))
    assert battle_sections([], [], leanings([])) == []


# neighbours and power -----------------------------------------------------------------------------------------------------------


def test_neighbours_say_what_so_many_tasks_can_show() -> None:
    worths = [1, 1, 1, 0.5, 0, 1, 1]
    rows = [battle(f"t{number}", "x", "y", [BY_WORTH[worth]] * 2) for number, worth in enumerate(worths)]
    found = table(neighbours(rows, ["x", "y", "unknown"]), "Neighbours compared")
    test = paired({f"t{n}": 1 - worth for n, worth in enumerate(worths)}, {f"t{n}": worth for n, worth in enumerate(worths)})
    assert found.rows == [["x", "y", f"{test.difference:+.3f}", f"{test.lower:+.3f} to {test.upper:+.3f}", f"{test.p_value:.3f}",
                           7, f"{visible(test):.3f}"]]
    assert test.difference == pytest.approx(sum(2 * worth - 1 for worth in worths) / 7)
    assert isfinite(visible(test))
    assert neighbours(rows, ["x"]) == []


def test_neighbours_of_scores_and_without_shared_tasks() -> None:
    rows = [{"contestant": model, "task": task, "score": score} for model, task, score in
            (("x", "t1", 9.0), ("x", "t2", 7.0), ("y", "t1", 5.0), ("y", "t2", 5.0), ("z", "t3", 1.0))]
    found = table(neighbours(rows, ["x", "y", "z"]), "Neighbours compared")
    assert [row[:3] for row in found.rows] == [["x", "y", "+3.000"], ["y", "z", "-"]]
    assert found.rows[0][4:6] == ["0.500", 2]  # Holm over the pairs that could be tested
    assert found.rows[1][3:] == ["-", "-", 0, "-"]


# style --------------------------------------------------------------------------------------------------------------------------


def styled(tasks: int, *, effect: float, seed: int = 0) -> list[dict[str, Any]]:
    """Battles of three equal models whose judge likes length by `effect` logits for a whole difference; other features vary."""
    rng = random.Random(seed)
    own = {"x": 1.5, "y": 1.0, "z": 0.7}
    rows = []
    for task in range(tasks):
        texts = {}
        for model, factor in own.items():
            text = "word " * round(factor * rng.randint(20, 60))
            text += "\n# head" * rng.randint(0, 2) + "\n- item" * rng.randint(0, 3) + " **bold**" * rng.randint(0, 3)
            texts[model] = text
        for one, other in (("x", "y"), ("x", "z"), ("y", "z")):
            a, b = len(texts[one]), len(texts[other])
            chance = 1 / (1 + np.exp(-effect * (a - b) / (a + b)))
            verdicts = ["a>b" if rng.random() < chance else "b>a" for _ in range(2)]
            rows.append(battle(f"t{task}", one, other, verdicts, answer_a=texts[one], answer_b=texts[other]))
    return rows


def test_a_judge_that_likes_length_is_found_out() -> None:
    found = style_effects(styled(250, effect=5))
    assert (found.problem, found.games, found.rounds, found.same, found.together) == ("", 1500, 200, [], [])
    effects = {effect.feature: effect for effect in found.effects}
    assert list(effects) == ["length", "headers", "lists", "bold"]
    assert effects["length"].lower is not None
    assert effects["length"].lower > 0.5
    for feature in ("headers", "lists", "bold"):
        lower, upper = effects[feature].lower, effects[feature].upper
        assert lower is not None and upper is not None
        assert lower < 0.15
        assert upper > -0.15
    plain = {one.model: one.plain for one in found.moved}
    assert plain["x"] > plain["y"] > plain["z"]
    assert plain["x"] - plain["z"] > 200
    equal = [one.equal for one in found.moved]
    assert max(equal) - min(equal) < 100  # alike, but for their length
    plot, board = found.sections()
    assert isinstance(plot, Intervals)
    assert [item[0] for item in plot.items] == ["length", "headers", "lists", "bold"]
    assert isinstance(board, Table)
    assert sorted(row[0] for row in board.rows) == ["x", "y", "z"]
    assert sorted(row[6] for row in board.rows) == [1, 2, 3]
    assert {row[0]: row[6] for row in board.rows} == {"x": 1, "y": 2, "z": 3}


def test_features_that_never_differ_or_go_together_have_no_effect_of_their_own() -> None:
    rng = random.Random(0)
    rows = []
    for task in range(60):
        texts = [("- **item**\n" * count) + "w" * (200 - 11 * count) for count in (rng.randint(0, 5), rng.randint(0, 5))]
        rows.append(battle(f"t{task}", "x", "y", [rng.choice(["a>b", "b>a"])] * 2, answer_a=texts[0], answer_b=texts[1]))
    found = style_effects(rows)
    assert (found.effects, found.same, found.together) == ([], ["length", "headers"], ["lists", "bold"])
    plot = found.sections()[0]
    assert "The answers do not differ in length, headers" in plot.note
    assert "lists and bold go together; their effects cannot be told apart" in plot.note


@pytest.mark.parametrize(("rows", "why"), [
    ([], "there are no battles"),
    ([{**battle("t", "x", "y", ["a>b"]), "answers_known": False}], "the answers are not known"),
    ([battle("t", "x", "y", [None])], "no game has a verdict"),
    ([battle(f"t{number}", *pair, [verdict] * 2, answer_a="x" * (9 if verdict == "a>b" else 5), answer_b="x" * 7)
      for number in range(8) for pair in (("x", "y"), ("y", "x")) for verdict in ("a>b", "b>a")],
     "style alone tells the outcome of these battles, so its effect has no finite value; use more battles or rate without style "
     "control"),
])
def test_it_says_why_style_cannot_be_taken_out(rows: list[dict[str, Any]], why: str) -> None:
    assert style_effects(rows).sections() == [Table("Style effects", ["why there are none"], [[why]])]


def test_one_task_has_effects_without_intervals() -> None:
    rows = [row | {"task": "t"} for row in styled(40, effect=1)]
    found = style_effects(rows)
    assert found.rounds == 0
    assert {(effect.lower, effect.upper) for effect in found.effects} == {(None, None)}
    assert "without intervals, which need two tasks or more" in found.sections()[0].note


def test_models_apart_are_left_out() -> None:
    rows = [*styled(30, effect=1), battle("t0", "p", "q", ["a>b", "a>b"])]
    assert sorted(one.model for one in style_effects(rows).moved) == ["x", "y", "z"]


# intervals without an end -------------------------------------------------------------------------------------------------------


def test_an_interval_without_an_end_reaches_the_edge() -> None:
    drawn = draw(Intervals("t", [("up", 5.0, 0.0, inf), ("down", 5.0, -inf, 10.0), ("none", 5.0, nan, nan)]))
    assert drawn.count('class="whisker') == 2
    assert 'x1="0%" x2="100%"' in drawn
    assert [text in drawn for text in ("[0, ∞]", "[\N{MINUS SIGN}∞, 10]")] == [True, True]


# the page -----------------------------------------------------------------------------------------------------------------------


def test_a_report_has_every_section(tmp_path: Path) -> None:
    def text(number: int, extra: int) -> str:
        rng = random.Random(f"{number} {extra}")
        return words(number, 10 + extra + rng.randint(0, 20)) + "\n- one" * rng.randint(0, 3) + " **b**" * rng.randint(0, 2)

    texts = {label: lambda number, extra=extra: text(number, extra) for label, extra in (("x", 0), ("y", 3), ("z", 6))}
    settings = [setting for setting in given(tmp_path, texts, 12) if setting != "audit=0"]
    evaluate(tmp_path / "e", "judge=fake/judge?prefers=long&noise=0.3", *settings, "audit.tasks=3")
    page = (tmp_path / "e" / "report.html").read_text(encoding="utf-8")
    titles = ["Leaderboard", "All figures", "Neighbours compared", "By category", "Who beats whom", "What the judge leans to",
              "Style effects", "Audit of the judge: what attacks win"]
    places = [page.index(f"<h3>{title}</h3>") for title in titles]
    assert places == sorted(places)
    assert "http-equiv=\"Content-Security-Policy\"" in page
    assert "src=\"http" not in page
