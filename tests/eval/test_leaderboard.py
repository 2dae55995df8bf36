"""Leaderboards: the order, and what stands in JSON, CSV, a terminal and a report."""

from __future__ import annotations

import json
import math

from pica.eval.leaderboard import Entry, Leaderboard
from pica.synth.report import Intervals, Table

BOARD = Leaderboard.ranked([
    Entry("quiet", None, None, None, 0, 4, 1, {"wins": 0, "unbounded": None}),
    Entry("weak", 900.04, 800.0, 1000.0, 10, 0, 0, {"wins": 1, "unbounded": None}),
    Entry("best", math.inf, 1100.0, math.inf, 10, 1, 0, {"wins": 9, "unbounded": "won every game against the rest"}),
    Entry("also", 900.04, 700.0, math.inf, 8, 0, 2, {"wins": 2, "unbounded": None}),
    Entry("apart", math.nan, math.nan, math.nan, 2, 0, 0, {"wins": 1, "unbounded": "no chain"}),
    Entry("worst", -math.inf, -math.inf, 800.0, 10, 0, 0, {"wins": 0, "unbounded": "lost every game against the rest"}),
], "rating", "By hand.", warnings=["mind the gap"])
ROWS = [
    {"model": "best", "score": None, "lower": 1100.0, "upper": None, "n": 10, "unscored": 1, "missing": 0, "wins": 9,
     "unbounded": "won every game against the rest"},
    {"model": "also", "score": 900.04, "lower": 700.0, "upper": None, "n": 8, "unscored": 0, "missing": 2, "wins": 2,
     "unbounded": None},
    {"model": "weak", "score": 900.04, "lower": 800.0, "upper": 1000.0, "n": 10, "unscored": 0, "missing": 0, "wins": 1,
     "unbounded": None},
    {"model": "worst", "score": None, "lower": None, "upper": 800.0, "n": 10, "unscored": 0, "missing": 0, "wins": 0,
     "unbounded": "lost every game against the rest"},
    {"model": "apart", "score": None, "lower": None, "upper": None, "n": 2, "unscored": 0, "missing": 0, "wins": 1,
     "unbounded": "no chain"},
    {"model": "quiet", "score": None, "lower": None, "upper": None, "n": 0, "unscored": 4, "missing": 1, "wins": 0,
     "unbounded": None},
]


def test_the_file_for_programs() -> None:
    assert json.loads(BOARD.to_json()) == ROWS
    assert BOARD.to_json().endswith("]\n")
    assert BOARD.to_csv() == (
        "model,score,lower,upper,n,unscored,missing,wins,unbounded\n"
        "best,,1100.0,,10,1,0,9,won every game against the rest\n"
        "also,900.04,700.0,,8,0,2,2,\n"
        "weak,900.04,800.0,1000.0,10,0,0,1,\n"
        "worst,,,800.0,10,0,0,0,lost every game against the rest\n"
        "apart,,,,2,0,0,1,no chain\n"
        "quiet,,,,0,4,1,0,\n")


def test_columns_that_only_some_models_have() -> None:
    board = Leaderboard([Entry("a", 1.0, None, None, 1, more={"x": 1}),
                         Entry("b, c", 0.5, None, None, 1, more={"y": "é"})], "m", "h")
    assert board.to_csv() == 'model,score,lower,upper,n,unscored,missing,x,y\na,1.0,,,1,0,0,1,\n"b, c",0.5,,,1,0,0,,é\n'
    assert "é" in board.to_json()


def test_a_terminal_says_warnings_first_and_what_has_no_bound() -> None:
    told = [
        "warning: mind the gap",
        "model      score          95% interval        n  unscored",
        "best   unbounded           1100.0 to -       10  1",
        "also       900.0            700.0 to -        8  0",
        "weak       900.0       800.0 to 1000.0       10  0",
        "worst  unbounded            - to 800.0       10  0",
        "apart  unbounded                - to -        2  0",
        "quiet          -                     -        0  4",
        "score: rating",
    ]
    assert BOARD.text().splitlines() == told
    again = Leaderboard.of(json.loads(BOARD.to_json()), "rating", "By hand.", 0.95, ["mind the gap"])
    assert again.text().splitlines() == told
    assert again.to_list() == ROWS


def test_a_report_plots_what_has_a_score_and_names_the_rest() -> None:
    plot, table = BOARD.sections()
    assert plot == Intervals("Leaderboard", [("also", 900.04, 700.0, math.inf), ("weak", 900.04, 800.0, 1000.0)], note=(
        "rating. By hand. Not in the plot: best (won every game against the rest), worst (lost every game against the rest), "
        "apart (no chain), quiet (no score)."))
    assert isinstance(table, Table)
    assert list(table.header) == list(ROWS[0])
    assert [row[0] for row in table.rows] == ["best", "also", "weak", "worst", "apart", "quiet"]
