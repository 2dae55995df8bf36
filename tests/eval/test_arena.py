"""`pica eval arena`, end to end: known orders are found again, nothing is asked twice, and bad input has a clear line."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from arenas import LENGTHS, by_length, evaluate, given, lines, manifest, words
from small import Scripted, data, stored

from pica.cli import main
from pica.eval.battle_rows import battles_of
from pica.eval.connected import comparable, groups
from pica.synth.errors import BadRequest, LedgerError
from pica.synth.models.base import Request
from pica.synth.source import open_source

LONG = "judge=fake/judge?prefers=long"


def labels(board: list[dict[str, Any]]) -> list[str]:
    return [entry["model"] for entry in board]


def told(out: Path) -> str:
    """What a person reads first in the report."""
    page = (out / "report.html").read_text(encoding="utf-8")
    return page.split('<p class="verdict">')[1].split("</p>")[0]


# what a leaderboard is ----------------------------------------------------------------------------------------------------------


def test_a_known_order_is_found_in_spite_of_noise(tmp_path: Path) -> None:
    board = evaluate(tmp_path / "e", "judge=fake/judge?prefers=long&noise=0.2", *given(tmp_path, by_length(), 30))
    assert labels(board) == list(LENGTHS)
    for better, worse in pairwise(board):
        assert better["lower"] > worse["upper"], (better, worse)
    assert [entry["n"] for entry in board] == [2 * 3 * 30] * 4
    other = evaluate(tmp_path / "other", "judge=fake/judge?prefers=short&noise=0.2", *given(tmp_path, by_length(), 30))
    assert labels(other) == list(LENGTHS)[::-1]


def test_the_leaderboard_by_hand(tmp_path: Path) -> None:
    """x and y win one task each and tie on one: they are equal; no task tells them apart."""
    lengths = {"x": [12, 11, 10, 10], "y": [11, 12, 10, 10]}
    settings = given(tmp_path, {label: lambda number, own=own: "x" * own[number] for label, own in lengths.items()}, 4)
    board = evaluate(tmp_path / "e", LONG, *settings)
    entry = {"score": pytest.approx(1000), "n": 8, "unscored": 0, "missing": 0, "wins": 1, "ties": 2, "losses": 1,
             "mean_length": 10.8, "unbounded": None}
    ends = {label: (one["lower"], one["upper"]) for label, one in zip(labels(board), board, strict=True)}
    assert board == [{"model": label, **entry, "lower": ends[label][0], "upper": ends[label][1]} for label in ("x", "y")]
    assert ends["x"][0] < 1000 < ends["x"][1]
    notes = manifest(tmp_path / "e")["notes"]
    assert notes["leaderboard"] == board
    assert notes["metric"] == "Bradley-Terry rating, 400 points are odds of ten to one"
    assert notes["warnings"] == []
    assert told(tmp_path / "e") == "x leads 2 models"


def test_an_anchor_and_a_strong_verdict(tmp_path: Path) -> None:
    settings = given(tmp_path, {"x": lambda number: words(number, 30 if number else 4), "y": lambda number: words(number, 10)}, 4)
    plain = evaluate(tmp_path / "e", LONG, *settings, "anchor=y", "anchor_rating=500")
    assert plain[1]["model"] == "y"
    assert plain[1]["score"] == plain[1]["lower"] == plain[1]["upper"] == 500
    assert plain[0]["score"] == pytest.approx(500 + 400 * 0.47712125)  # 3 to 1
    strong = evaluate(tmp_path / "s", LONG, *settings, "anchor=y", "anchor_rating=500", "strong=3")
    assert strong[0]["score"] == pytest.approx(plain[0]["score"])  # every verdict is `much better`


# what it costs ------------------------------------------------------------------------------------------------------------------


def begun(out: Path) -> bool:
    """Whether there are answers in the ledger, which may be in the making."""
    try:
        return stored(out) > 5
    except LedgerError:
        return False


def test_a_killed_evaluation_goes_on_without_asking_again(tmp_path: Path) -> None:
    settings = [f"{LONG}&latency=0.1", *given(tmp_path, by_length(), 10)]  # alone it would take six seconds, two calls at a time
    calls = 10 * 6 * 2
    out = tmp_path / "e"
    child = subprocess.Popen([sys.executable, "-m", "pica", "eval", "arena", *settings, "concurrency=2", "--quiet",
                              "--out", str(out)])
    try:
        while child.poll() is None and not begun(out):
            time.sleep(0.02)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    before = stored(out)
    assert 0 < before < calls
    board = evaluate(out, *settings)
    found = manifest(out)["calls"]
    assert stored(out) == calls
    assert found["made"] == calls - before
    whole = evaluate(tmp_path / "whole", *settings)
    assert board == whole
    assert data(out) == data(tmp_path / "whole")


def test_one_more_model_costs_its_own_calls_alone(tmp_path: Path, scripted: Scripted) -> None:
    asked = {name: scripted(name, lambda request, sample, count=count: words(1, count))[1]
             for name, count in (("x", 30), ("y", 20), ("z", 10))}
    _, judge = scripted("judge", first_wins)
    settings = [given(tmp_path, {}, 5)[0], "judge=scripted/judge", "audit=0", "durability=normal", "rounds=200"]
    out = tmp_path / "e"
    evaluate(out, *settings, "models=[scripted/x,scripted/y]")
    assert {name: len(model.requests) for name, model in asked.items()} == {"x": 5, "y": 5, "z": 0}
    assert len(judge.requests) == 10
    assert main(["eval", "arena", *settings, "models=[scripted/x,scripted/y,scripted/z]", "--quiet", "--out", str(out)]) != 0
    board = evaluate(out, *settings, "models=[scripted/x,scripted/y,scripted/z]", "--update")
    assert sorted(labels(board)) == ["scripted/x", "scripted/y", "scripted/z"]
    assert {name: len(model.requests) for name, model in asked.items()} == {"x": 5, "y": 5, "z": 5}
    assert len(judge.requests) == 10 + 2 * 2 * 5
    assert stored(out) == 15 + 30


def first_wins(request: Request, sample: int) -> str:
    """A judge that always says the first place."""
    assert request.schema is not None
    return json.dumps({"reason": "the first", "verdict": request.schema["properties"]["verdict"]["enum"][1]})


# bad input ----------------------------------------------------------------------------------------------------------------------


def test_models_that_answered_different_tasks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lengths = by_length({"x": 30, "y": 20, "z": 10})
    lengths["z"] = lambda number: words(number, 60 if number == 2 else 10) if number < 4 else None
    settings = given(tmp_path, lengths, 6)
    board = {entry["model"]: entry for entry in evaluate(tmp_path / "e", LONG, *settings, "prior=1")}
    assert {label: (entry["n"], entry["missing"]) for label, entry in board.items()} == {"x": (20, 2), "y": (20, 2), "z": (16, 4)}
    found = manifest(tmp_path / "e")
    assert found["rows"]["rejected"] == {"no answer of z": 4}
    assert (found["rows"]["in"], found["rows"]["out"]) == (18, 14)
    warning = ("models were judged on different tasks (z on 4, of 6); `pica eval compare` and the report's neighbours use those "
               "that are shared")
    assert found["notes"]["warnings"] == [warning]
    assert capsys.readouterr().out.splitlines()[0] == f"warning: {warning}"
    page = (tmp_path / "e" / "report.html").read_text(encoding="utf-8")
    assert "4 of 18 judgments could not be made (no answer of z: 4)" in page


def test_a_judge_that_always_says_the_first_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    board = evaluate(tmp_path / "e", "judge=fake/judge?prefers=first", *given(tmp_path, by_length(), 6))
    assert [entry["score"] for entry in board] == pytest.approx([1000] * 4)
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("warning: the judge favours the first place: the first one won 100% (95% to 100%, n=72) of the games")
    assert f"warning: {told(tmp_path / 'e')}" == first
    evaluate(tmp_path / "s", "judge=fake/judge?prefers=second", *given(tmp_path, by_length(), 6))
    assert told(tmp_path / "s").startswith("the judge favours the second place: the first one won 0% (0% to 5%, n=72)")


def test_a_judge_without_verdicts_leaves_a_leaderboard_without_scores(
        tmp_path: Path, scripted: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    scripted("judge", lambda request, sample: "I would rather not say.")
    board = evaluate(tmp_path / "e", "judge=scripted/judge", "tries=2", *given(tmp_path, by_length({"x": 9, "y": 5}), 3))
    assert board == [{"model": label, "score": None, "lower": None, "upper": None, "n": 0, "unscored": 6, "missing": 0, "wins": 0,
                      "ties": 0, "losses": 0, "mean_length": length, "unbounded": None}
                     for label, length in (("x", board[0]["mean_length"]), ("y", board[1]["mean_length"]))]
    first = ("nobody can be ranked: none of the 6 games has a verdict that can be read; raise judging.max_tokens or tries, or "
             "take another judge")
    assert told(tmp_path / "e") == first
    assert capsys.readouterr().out.splitlines()[0] == f"warning: {first}"
    page = (tmp_path / "e" / "report.html").read_text(encoding="utf-8")
    assert "no game has a verdict" in page
    assert {row["games"][0]["problem"].split(":")[0] for row in open_source(str(tmp_path / "e"))} == {"no verdict in 2 tries"}


def test_a_model_without_verdicts_is_listed_without_a_score(tmp_path: Path, scripted: Scripted) -> None:
    def judge(request: Request, sample: int) -> str:
        return "hm" if "SILENCE" in request.messages[-1]["content"] else first_wins(request, sample)

    scripted("judge", judge)
    texts = {**by_length({"x": 9, "y": 5}), "mute": lambda number: "SILENCE"}
    board = evaluate(tmp_path / "e", "judge=scripted/judge", "tries=1", *given(tmp_path, texts, 3))
    assert [(entry["model"], entry["score"], entry["n"], entry["unscored"]) for entry in board] == [
        ("x", pytest.approx(1000), 6, 6), ("y", pytest.approx(1000), 6, 6), ("mute", None, 0, 12)]
    warnings = manifest(tmp_path / "e")["notes"]["warnings"]
    assert "no rating of mute: no game with a verdict against the others" in warnings


def test_a_model_that_won_everything_has_no_bound(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lengths = by_length({"best": 60, "x": 20, "y": 20})
    lengths["y"] = lambda number: words(number, 18 if number % 2 else 26)
    board = evaluate(tmp_path / "e", LONG, *given(tmp_path, lengths, 6))
    assert [(entry["model"], entry["score"], entry["unbounded"]) for entry in board][:1] == [
        ("best", None, "won every game against the rest")]
    assert all(entry["score"] is not None for entry in board[1:])
    warning = "best won every game against the rest: no finite rating; prior=1 gives every model one"
    out = capsys.readouterr().out
    assert f"warning: {warning}" in out.splitlines()
    assert "best   unbounded" in out
    page = (tmp_path / "e" / "report.html").read_text(encoding="utf-8")
    assert "Not in the plot: best (won every game against the rest)." in page
    prior = evaluate(tmp_path / "p", LONG, *given(tmp_path, lengths, 6), "prior=1")
    assert prior[0]["model"] == "best"
    assert prior[0]["score"] > prior[1]["score"]
    assert [entry["unbounded"] for entry in prior] == [None, None, None]


def test_an_order_without_any_upset_is_kept(tmp_path: Path) -> None:
    lengths = {"d": 10, "c": 60, "b": 40, "a": 20}
    board = evaluate(tmp_path / "e", LONG, *given(tmp_path, {label: lambda number, count=count: words(number, count)
                                                            for label, count in lengths.items()}, 4))
    assert labels(board) == ["c", "b", "a", "d"]
    bounded = [entry for entry in board if entry["unbounded"] is None]
    assert len(bounded) == 1
    assert {(entry["score"], entry["lower"], entry["upper"]) for entry in board if entry not in bounded} == {(None, None, None)}


def test_one_task_has_no_interval(tmp_path: Path) -> None:
    board = evaluate(tmp_path / "e", "judge=fake/judge?prefers=none", *given(tmp_path, by_length({"x": 9, "y": 5}), 1))
    assert [(entry["score"], entry["lower"], entry["upper"]) for entry in board] == [(1000, None, None), (1000, None, None)]
    assert manifest(tmp_path / "e")["notes"]["warnings"] == [
        "only one task has a verdict, so there are no intervals; judge more tasks"]


def answer_twice(folder: Path) -> None:
    file = folder / "answers.jsonl"
    file.write_text(file.read_text(encoding="utf-8") * 2, encoding="utf-8")


def ask_twice(folder: Path) -> None:
    file = folder / "tasks.jsonl"
    file.write_text(file.read_text(encoding="utf-8") * 2, encoding="utf-8")


def answer_others(folder: Path) -> None:
    lines(folder / "answers.jsonl", [{"id": "u1", "model": "x", "answer": "a"}, {"id": "u1", "model": "y", "answer": "b"}])


@pytest.mark.parametrize(("lengths", "spoil", "more", "line"), [
    ({"x": 9}, None, (), "an arena needs two models or more, and there is x; give models=[NAME,NAME], or answers=DIR with a file "
                         "a model"),
    ({"x": 9, "y": 5}, None, ("anchor=z",), "anchor='z' does not compete; labels: x, y"),
    ({"x": 9, "y": 5}, None, ("categories=[fish]",), "has no task of category 'fish'; known: birds, trees"),
    ({"x": 9, "y": 5}, answer_twice, (), "x has a second answer to 't0'; keep one"),
    ({"x": 9, "y": 5}, ask_twice, (), "the id 't0' stands 2 times; every task needs one of its own"),
    ({"x": 9, "y": 5}, answer_others, (), "no answer of 'x' is to a task of"),
    ({"x": 9, "y": 5}, None, ("models=[{name: local, label: x}]",), "'x' stands in models and in answers"),
])
def test_what_is_wrong_is_said_before_anything_is_asked(
        tmp_path: Path, scripted: Scripted, capsys: pytest.CaptureFixture[str], lengths: dict[str, int],
        spoil: Callable[[Path], None] | None, more: tuple[str, ...], line: str) -> None:
    _, judge = scripted("judge", first_wins)
    settings = given(tmp_path, by_length(lengths), 4)
    if spoil:
        spoil(tmp_path)
    evaluate(tmp_path / "e", "judge=scripted/judge", *settings, *more, code=2)
    error = capsys.readouterr().err
    assert line in error
    assert len(error.strip().splitlines()) == 1
    assert judge.requests == []


def test_no_answers_and_no_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(tmp_path / "e", LONG, given(tmp_path, {}, 2)[0], code=2)
    assert "an arena needs two models or more, and there is none" in capsys.readouterr().err
    evaluate(tmp_path / "e", LONG, *given(tmp_path, {}, 2), code=2)
    assert "answers.jsonl" in capsys.readouterr().err


def test_nothing_that_can_be_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = {"x": lambda number: "a" if number == 0 else None, "y": lambda number: "b" if number == 1 else None}
    evaluate(tmp_path / "e", LONG, *given(tmp_path, texts, 2), code=2)
    assert "nothing to rank: none of the 2 judgments could be made, most because: no answer of y (1)\n" in capsys.readouterr().err


def test_a_model_that_never_answers_is_named_and_asked_again(tmp_path: Path, scripted: Scripted,
                                                             capsys: pytest.CaptureFixture[str]) -> None:
    def reply(request: Request, sample: int) -> str:
        if state["down"]:
            raise BadRequest("the server is down")
        return "an answer that is there"

    state = {"down": True}
    scripted("mute", reply)
    settings = [LONG, "models=[fake/magpie,scripted/mute]", "tasks=pica", "n=8", "audit=3"]  # the audit asks the first alone
    evaluate(tmp_path / "e", *settings, code=1)
    assert capsys.readouterr().err.endswith(
        "pica: nothing to rank: none of the 8 judgments could be made, most because: no answer: bad request (8); 'scripted/mute' "
        "did not answer. Give the same command when it does: it asks for what is missing\n")
    state["down"] = False
    evaluate(tmp_path / "e", *settings)
    assert json.loads((tmp_path / "e" / "manifest.json").read_text())["rows"]["splits"]["train"] == 8


# groups -------------------------------------------------------------------------------------------------------------------------


def row(one: str, other: str, verdict: str | None) -> dict[str, Any]:
    return {"task": "t", "model_a": one, "model_b": other, "games": [{"judge": "j", "order": "ab", "verdict": verdict}]}


def test_models_that_never_met_are_not_rated_together() -> None:
    battles = battles_of([row("a", "b", "a>b"), row("c", "d", "a=b"), row("d", "e", "b>a"), row("a", "c", None),
                          row("f", "a", None)])
    assert groups(battles) == [("c", "d", "e"), ("a", "b"), ("f",)]
    assert comparable(battles) == ("c", "d", "e")
    assert comparable(battles, "b") == ("a", "b")
    assert comparable(battles, "f") == ()
    assert comparable(battles_of([row("a", "b", None)])) == ()


def test_the_smaller_group_has_no_score(tmp_path: Path) -> None:
    texts: dict[str, Callable[[int], str | None]] = {
        "a": lambda number: "aaa" if number < 2 else None, "b": lambda number: "bb" if number < 2 else None,
        "c": lambda number: "ccc" if number >= 2 else None, "d": lambda number: "dd" if number >= 2 else None,
        "e": lambda number: "e" if number >= 2 else None}
    board = evaluate(tmp_path / "e", LONG, *given(tmp_path, texts, 4), "prior=1")
    assert [(entry["model"], entry["score"] is None) for entry in board] == [
        ("c", False), ("d", False), ("e", False), ("a", True), ("b", True)]
    assert "no rating of a, b: no game with a verdict against the others" in manifest(tmp_path / "e")["notes"]["warnings"]


# the real model -----------------------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_the_embedded_model_and_two_weaker_variants(tmp_path: Path) -> None:
    """Answers, a limit of 12 tokens, and answers to other tasks compete on shipped tasks."""
    settings = ["n=2", "answer.max_tokens=24", "concurrency=1", "audit=0", "durability=normal", "rounds=200", "prior=1",
                "models=[local,{name: local, label: short, max_tokens: 12}]"]
    out = tmp_path / "e"
    evaluate(out, "judge=fake/judge?prefers=checklist", *settings)
    rows = list(open_source(str(out)))
    own = {row["task"]: row["answer_a"] for row in rows}
    assert all(len(row["answer_b"]) < len(row["answer_a"]) for row in rows)
    order = random.Random(1).sample(list(own), len(own))
    shuffled = lines(tmp_path / "shuffled.jsonl", [
        {"id": task, "answer": own[other][:60]} for task, other in zip(order, order[1:] + order[:1], strict=True)])
    before = stored(out)
    board = evaluate(out, "judge=fake/judge?prefers=checklist", *settings, f"answers={shuffled}", "--update")
    assert sorted(labels(board)) == ["local", "short", "shuffled"]
    assert labels(board)[-1] == "shuffled"
    assert stored(out) - before == 2 * 2 * 2
    assert (out / "report.html").is_file()
    judged = evaluate(tmp_path / "j", "judge=local", *settings[1:], "n=1", "orders=ab", "tries=1", "judging.max_tokens=24")
    games = [game for row in open_source(str(tmp_path / "j")) for game in row["games"]]
    assert len(games) == 1
    assert games[0]["text"]
    assert sorted(labels(judged)) == ["local", "short"]
