"""Arena-Hard: scores by all three conventions against hand-worked ones, mixtures of given and new judgments, bad input, and an
evaluation of our own with a scripted judge."""

from __future__ import annotations

import csv
import json
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from goldens import golden_lines, needs_golden
from hard import CREATIVE_BASE, HARD_BASE, V01_BASE, VERDICTS, Pair, judged, v01, v2, write
from hypothesis import given, settings
from hypothesis import strategies as st
from small import Scripted, stored

from pica.cli import main
from pica.eval.arena_hard import ArenaHard
from pica.eval.arena_hard_board import Counting, Style, played, scores_of
from pica.eval.arena_hard_config import ArenaHardConfig
from pica.eval.arena_hard_scores import Convention
from pica.eval.intervals import tails
from pica.eval.judge import LABELS, MUCH, WORTH
from pica.eval.style_control import FEATURES, bootstrap_style, fit_style
from pica.synth.config import load_config
from pica.synth.models.base import Request
from pica.synth.source import open_source
from pica.synth.style import measure

STRONG, WEAK = 100 * 7.5 / 9, 100 * 1.5 / 10


def run(out: Path, *words: str) -> dict[str, dict[str, Any]]:
    """The leaderboard of `pica eval arena-hard ... --out OUT`, by model."""
    assert main(["eval", "arena-hard", *words, "--quiet", "--out", str(out)]) == 0
    return board(out)


def board(out: Path) -> dict[str, dict[str, Any]]:
    return {entry["model"]: entry for entry in json.loads((out / "leaderboard.json").read_text(encoding="utf-8"))}


def warned(out: Path) -> str:
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    return "\n".join(manifest["notes"]["warnings"])


def refused(capsys: pytest.CaptureFixture[str], out: Path, *words: str) -> str:
    """The line with which these settings are refused."""
    capsys.readouterr()
    assert main(["eval", "arena-hard", *words, "--quiet", "--out", str(out)]) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    return said


# official judgments -------------------------------------------------------------------------------------------------------------


def test_v01_judgments_by_each_convention(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = f"judgments={judged(tmp_path / 'gpt-4-1106-preview')}"
    first = run(tmp_path / "1", source, f"baseline={V01_BASE}", "score=v0.1")
    assert [first[name]["score"] for name in (V01_BASE, "strong", "weak")] == pytest.approx([50, STRONG, WEAK], abs=1e-5)
    assert list(first) == ["strong", V01_BASE, "weak"]
    assert (first["strong"]["n"], first["strong"]["unscored"], first["strong"]["level"]) == (5, 1, 0.95)
    assert (first[V01_BASE]["lower"], first[V01_BASE]["upper"], first[V01_BASE]["is_baseline"]) == (50, 50, True)

    second = run(tmp_path / "2", source, "score=v2", "rounds=20000")
    assert [second[name]["score"] for name in ("strong", "weak")] == pytest.approx([100 * 6.5 / 8, WEAK], abs=0.4)
    assert {key: second["strong"][key] for key in ("n", "unscored", "dropped", "prompts", "coverage", "level")} == {
        "n": 4, "unscored": 1, "dropped": 1, "prompts": 2, "coverage": 1.0, "level": 0.9}

    ours = run(tmp_path / "3", source)
    assert [ours[name]["score"] for name in ("strong", "weak")] == pytest.approx([STRONG, WEAK])
    assert {key: ours["strong"][key] for key in ("n", "unscored", "missing", "wins", "ties", "losses", "avg_tokens")} == {
        "n": 5, "unscored": 1, "missing": 0, "wins": 2, "ties": 1, "losses": 0, "avg_tokens": None}
    assert ours["weak"]["mean_length"] == len("weak on q1")
    assert stored(tmp_path / "3") == 0
    assert "1 games are unscored and count for nobody: 1 without a label" in warned(tmp_path / "3")
    printed = capsys.readouterr().out
    assert re.search(r"strong +83\.3 +\S+ to \S+ +5 +1\n", printed)
    assert "90% interval" in printed

    rows = list(csv.DictReader((tmp_path / "3" / "leaderboard.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["model"], float(row["score"])) for row in rows] == [(name, pytest.approx(ours[name]["score"])) for name in ours]
    assert "Neighbours compared" in (tmp_path / "3" / "report.html").read_text(encoding="utf-8")


def test_verdicts_count_as_often_as_strong_says_and_in_the_orders_wanted(tmp_path: Path) -> None:
    source = f"judgments={judged(tmp_path / 'j')}"
    assert run(tmp_path / "1", source, "strong=1")["strong"]["score"] == pytest.approx(100 * 3.5 / 5)
    once = run(tmp_path / "2", source, "orders=ab")["strong"]
    assert (once["score"], once["n"], once["unscored"]) == (pytest.approx(100 * 3 / 4), 2, 1)  # upstream's first game only


def test_rows_keep_the_question_the_answers_and_the_judges_text(tmp_path: Path) -> None:
    run(tmp_path / "e", f"judgments={judged(tmp_path / 'j')}")
    row = next(row for row in open_source(str(tmp_path / "e")) if (row["task"], row["model_b"]) == ("q2", "strong"))
    assert [row[key] for key in ("model_a", "answer_a", "answer_b", "outcome", "share_a", "judged", "category")] == [
        V01_BASE, "baseline on q2", "strong on q2", "tie", 0.75, "given", "arena-hard-v0.1"]
    assert row["prompt"] == [{"role": "user", "content": "ask q2"}]
    assert [(game["order"], game["verdict"], game["text"]) for game in row["games"]] == [
        ("ab", "a>b", "I judge: [[A>B]]"), ("ba", "a=b", "I judge: [[A=B]]")]


def test_stored_texts_can_be_read_again_by_another_parser(tmp_path: Path) -> None:
    row = v01("q1", "m", ("A>B", "A>B"))
    row["games"][0] |= {"score": None, "judgment": "First [[A > B]]. No: [[b>a]]"}
    row["games"][1] |= {"score": "B", "judgment": "[[B>A]] and [[B>A]]"}
    write(tmp_path / "j" / "m.jsonl", [row, v01("q2", "m", ("A=B", "A=B"))])
    found = {}
    for parser in ("stored", "pica", "v0.1", "v2"):
        run(tmp_path / parser, f"judgments={tmp_path / 'j'}", f"parser={parser}")
        rows = {row["task"]: row for row in open_source(str(tmp_path / parser))}
        found[parser] = [game["verdict"] for game in rows["q1"]["games"]]
    assert found == {"stored": [None, None], "pica": ["b>a", "a>b"], "v0.1": [None, "a>b"], "v2": ["b>a", "a>b"]}
    assert "1 without a label, 1 with labels that are no verdict ('B')" in warned(tmp_path / "stored")


def test_two_judges_are_an_ensemble(tmp_path: Path) -> None:
    """By hand: one says won, won and tie, tie; two says lost (3), lost (3) and a null game beside a win: v2 drops the last."""
    folder = tmp_path / "model_judgment"
    write(folder / "gpt-4.1" / "m.jsonl", [v2("q1", "m", ("B>A", "A>B")), v2("q2", "m", ("A=B", "A=B"))])
    write(folder / "gemini-2.5" / "m.jsonl", [v2("q1", "m", ("A>>B", "B>>A"), judge="gemini-2.5"),
                                              v2("q2", "m", ("B>A", None), judge="gemini-2.5", null=[1])])
    each = run(tmp_path / "each", f"judgments={folder}", "score=v2", "rounds=20000")["m"]
    assert each["score"] == pytest.approx(100 * 3 / 10, abs=0.4)
    assert (each["n"], each["unscored"], each["dropped"]) == (6, 1, 1)
    assert run(tmp_path / "pica", f"judgments={folder}")["m"]["score"] == pytest.approx(100 * 4 / 11)
    both = run(tmp_path / "both", f"judgments={folder}", "ensemble=majority")["m"]  # never both of one mind
    assert (both["score"], both["n"], both["unscored"]) == (None, 0, 4)
    assert "Each judge" in (tmp_path / "each" / "report.html").read_text(encoding="utf-8")
    alone = run(tmp_path / "alone", f"judgments={folder / 'gpt-4.1'}", "score=v2", "rounds=20000")["m"]
    assert alone["score"] == pytest.approx(75, abs=0.4)


def test_v2_categories_have_their_own_baselines(tmp_path: Path) -> None:
    creative = {"category": "creative_writing", "baseline": CREATIVE_BASE}
    write(tmp_path / "j" / "m.jsonl", [v2("q1", "m", ("B>A", "A>B")), v2("q2", "m", ("A=B", "A=B")),
                                       v2("c1", "m", ("A>B", "B>A"), **creative)])
    write(tmp_path / "j" / f"{HARD_BASE}.jsonl", [v2("c1", HARD_BASE, ("B>A", "A=B"), **creative)])
    found = run(tmp_path / "e", f"judgments={tmp_path / 'j'}")
    assert {key: found["m"][key] for key in ("score", "score_hard_prompt", "score_creative_writing", "prompts", "coverage")} == {
        "score": 50, "score_hard_prompt": 75, "score_creative_writing": 0, "prompts": 3, "coverage": 1}
    assert [found[HARD_BASE][key] for key in ("score", "score_creative_writing", "is_baseline")] == [75, 75, False]
    assert [found[CREATIVE_BASE][key] for key in ("score", "score_hard_prompt", "score_creative_writing")] == [None, None, 50]
    assert "categories have different baselines" in warned(tmp_path / "e")
    assert "models were judged on different questions (" not in warned(tmp_path / "e")
    one = run(tmp_path / "one", f"judgments={tmp_path / 'j'}", "categories=[creative_writing]", "score=v2", "rounds=5000")
    assert {name: round(entry["score"]) for name, entry in one.items()} == {HARD_BASE: 75, CREATIVE_BASE: 50, "m": 0}


def test_answers_beside_judgments_bring_tokens_and_style(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names, rows = ("long", "short"), dict[str, list[Any]]()
    for name in (*names, V01_BASE):
        texts = [f"{name} {n} " + "**b** " * int(rng.integers(0, 6)) + "word " * int(rng.integers(1, 60)) for n in range(40)]
        write(tmp_path / "answers" / f"{name}.jsonl", [
            {"question_id": f"q{n:02}", "answer_id": "x", "model_id": name, "tstamp": 0.0,
             "choices": [{"index": 0, "turns": [{"content": text, "token_len": len(text.split())}]}]}
            for n, text in enumerate(texts)])
        rows[name] = [len(text.split()) for text in texts]
    for name in names:  # longer answers win more often
        write(tmp_path / "j" / f"{name}.jsonl", [
            v01(f"q{n:02}", name, (("B>A", "A>B") if rows[name][n] + rng.normal(0, 20) > rows[V01_BASE][n] else ("A>B", "B>A")))
            for n in range(40)])
    where = [f"judgments={tmp_path / 'j'}", f"answers={tmp_path / 'answers'}", "rounds=100"]
    plain = run(tmp_path / "plain", *where)
    assert plain["long"]["avg_tokens"] == round(sum(rows["long"]) / 40, 1)
    assert plain[V01_BASE]["avg_tokens"] == round(sum(rows[V01_BASE]) / 40, 1)
    styled = {name: run(tmp_path / name, *where, *words) for name, words in {
        "ours": ["style_control=true"], "length": ["style_control=[length]"], "markdown": ["style_control=[markdown]"],
        "v2": ["score=v2", "style_control=true"], "upstream": ["score=v2", "style_control=v2-unconverged"],
        "v0.1": ["score=v0.1", "style_control=true"]}.items()}
    for found in styled.values():
        assert set(found) == {*names, V01_BASE}
        assert found["long"]["lower"] < found["long"]["score"] < found["long"]["upper"]
    assert styled["ours"]["long"]["score_without_style_control"] == pytest.approx(plain["long"]["score"])
    assert abs(styled["length"]["long"]["score"] - plain["long"]["score"]) > 0.5
    assert styled["upstream"]["long"]["score"] == pytest.approx(styled["v2"]["long"]["score"], abs=2)
    assert [styled[name]["long"]["level"] for name in ("ours", "v2", "v0.1")] == [0.95, 0.9, 0.95]
    page = (tmp_path / "markdown" / "report.html").read_text(encoding="utf-8")
    assert "Style effects" in page
    manifest = json.loads((tmp_path / "markdown" / "manifest.json").read_text(encoding="utf-8"))
    assert "Style control (pica): headers, lists, bold; length is in tokens" in manifest["notes"]["method"]


# bad input ----------------------------------------------------------------------------------------------------------------------


def test_models_judged_on_different_questions_and_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verdicts = {"all": VERDICTS["strong"], "few": {"q1": VERDICTS["weak"]["q1"]}}
    folder = judged(tmp_path / "j", verdicts)
    with (folder / "all.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(v01("q1", "all", ("A>>B", "B>>A"))) + "\n")
    found = run(tmp_path / "e", f"judgments={folder}")
    assert (found["few"]["missing"], found["few"]["coverage"], found["all"]["coverage"]) == (2, 0.3333, 1.0)
    assert found["all"]["score"] == pytest.approx(STRONG)
    said = warned(tmp_path / "e")
    assert "1 judgments of all by gpt-4-1106-preview stand more than once (such as q1); the first of them counts" in said
    assert "models were judged on different questions (few on 1, of 3)" in said
    assert "rejected 2: no judgment of few" in capsys.readouterr().out
    few = tmp_path / "e" / "rejected"
    assert sorted(row["task"] for row in open_source(str(few))) == ["q2", "q3"]


def test_a_model_without_any_verdict_has_no_score(tmp_path: Path) -> None:
    for convention in ("pica", "v0.1", "v2"):
        folder = judged(tmp_path / "j", {**VERDICTS, "mute": {f"q{n}": (None, "C>D") for n in (1, 2, 3)}})
        found = run(tmp_path / convention, f"judgments={folder}", f"score={convention}")
        assert [found["mute"][key] for key in ("score", "lower", "n", "unscored")] == [None, None, 0, 6]
        assert found["strong"]["score"] is not None
        assert "3 with labels that are no verdict ('C>D')" in warned(tmp_path / convention)


def test_a_judge_that_always_says_a_is_named(tmp_path: Path) -> None:
    verdicts = {"m": {f"q{n}": ("A>B", "A>B") for n in range(20)}}
    assert run(tmp_path / "e", f"judgments={judged(tmp_path / 'j', verdicts)}")["m"]["score"] == 50
    assert "the judge favours the first place" in warned(tmp_path / "e")


def test_what_does_not_go_together_is_refused_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = judged(tmp_path / "old"), tmp_path / "e"
    new = write(tmp_path / "new" / "m.jsonl", [v2("q1", "m", ("A>B", "A>B"))]).parent
    odd = write(tmp_path / "odd" / "m.jsonl", [{**v2("q1", "m", ("A>B", "A>B")), "category": "mine", "baseline": ""}]).parent
    alone = judged(tmp_path / "alone", {V01_BASE: VERDICTS["weak"]})
    other = write(tmp_path / "q.jsonl", [{"uid": "z", "category": "hard_prompt", "subcategory": "math", "prompt": "?"}])
    for words, says in [
        ([f"judgments={new}", "baseline=nobody"],
         f"no judgment is against the baseline nobody; they are against: {HARD_BASE} (1)"),
        ([f"judgments={folder}", "categories=[math]"], "no question of category 'math'; it has: arena-hard-v0.1"),
        ([f"judgments={folder}", "baseline={math: x}"], "baseline names the category 'math', and no question has it"),
        ([f"judgments={odd}"], "questions of category 'mine' have no baseline of their own; give baseline=NAME"),
        ([f"judgments={alone}"], f"nobody competes with the baseline {V01_BASE}; give models, answers or judgments of others"),
        ([f"judgments={folder}", f"tasks={other}"], "no judgment is of a question of"),
        ([f"judgments={new}", "style_control=[colour]"], "style_control"),
        ([f"judgments={folder}", "score=v2", "level=0.99"], "score=v2 has intervals of 90%; leave level out, or use score=pica"),
        ([f"judgments={folder}", "score=v3"], "score='v3'"),
        ([f"judgments={tmp_path / 'none'}"], "no such file or folder"),
        (["models=[fake/echo]", "baseline=x"], "needs a judge"),
    ]:
        assert says in refused(capsys, out, *words)
    assert not (out / "manifest.json").exists()


def test_judgments_against_another_baseline_are_left_out_and_told(tmp_path: Path) -> None:
    write(tmp_path / "j" / "m.jsonl", [v2("q1", "m", ("B>A", "B>A")), v2("q2", "m", ("B>A", "A>B"), baseline="other")])
    found = run(tmp_path / "e", f"judgments={tmp_path / 'j'}", "baseline=other")
    assert (found["m"]["score"], found["m"]["missing"]) == (100, 1)
    assert f"1 judgments are against another baseline than other and are left out: {HARD_BASE} (1)" in warned(tmp_path / "e")


def test_judgments_say_which_baseline_they_are_against_and_show_the_question(tmp_path: Path) -> None:
    unshown = v2("q1", "a", ("B>A", "B>A"), baseline="mine")
    for game in unshown["games"]:
        game["prompt"] = []
    write(tmp_path / "j" / "a.jsonl", [unshown])
    write(tmp_path / "j" / "b.jsonl", [v2("q1", "b", ("A>B", "A>B"), baseline="mine")])
    write(tmp_path / "j" / "mine.jsonl", [v2("q1", "mine", ("A=B", "A=B"), baseline="mine")])
    found = run(tmp_path / "e", f"judgments={tmp_path / 'j'}")
    assert {name: entry["is_baseline"] for name, entry in found.items()} == {"a": False, "b": False, "mine": True}
    assert "1 judgments of the baseline against itself (mine) are left out" in warned(tmp_path / "e")
    assert [row["prompt"] for row in open_source(str(tmp_path / "e"))] == [[{"role": "user", "content": "ask q1"}]] * 2


def test_style_control_without_answers_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "j" / "m.jsonl", [{"question_id": "q1", "games": [{"score": "A>B"}, {"score": "A>B"}]}])
    given = f"judgments={tmp_path / 'j'}"
    assert "style control needs the answers" in refused(capsys, tmp_path / "e", given, "style_control=true")
    assert run(tmp_path / "e", given)["m"]["score"] == 50


def test_markup_in_files_stays_text(tmp_path: Path) -> None:
    name = "../<script>alert(1)</script>"
    write(tmp_path / "j" / "m.jsonl", [v01("q1", name, ("A>B", "A>B"), judge="../../judge"), v01("q2", name, ("A=B", "A=B"))])
    assert set(run(tmp_path / "e", f"judgments={tmp_path / 'j'}", "export=v0.1")) == {name, V01_BASE}
    assert "<script>alert" not in (tmp_path / "e" / "report.html").read_text(encoding="utf-8")
    assert not [path for path in tmp_path.rglob("*judge*") if not path.is_relative_to(tmp_path / "e")]
    assert len(list((tmp_path / "e" / "official" / "model_judgment").glob("*/*.jsonl"))) == 2


# statistics ---------------------------------------------------------------------------------------------------------------------


def battle(task: str, model: str, verdicts: Sequence[str | None]) -> dict[str, Any]:
    """A row as statistics need it."""
    games = [{"judge": f"j{n // 2}", "order": ("ab", "ba")[n % 2], "verdict": verdict} for n, verdict in enumerate(verdicts)]
    return {"task": task, "model_a": "base", "model_b": model, "games": games}


verdict_lists = st.dictionaries(
    st.sampled_from(["m1", "m2", "m3"]), st.lists(st.lists(st.sampled_from([*LABELS, None]), min_size=2, max_size=2), min_size=2,
                                                  max_size=8), min_size=1)


def weighted(rows: Sequence[Mapping[str, Any]], model: str) -> float | None:
    """By hand: the mean of what the model won, `much better` three times."""
    games = [(1 - WORTH[game["verdict"]], 3 if game["verdict"] in MUCH else 1) for row in rows if row["model_b"] == model
             for game in row["games"] if game["verdict"] is not None]
    return sum(won * weight for won, weight in games) / sum(weight for _, weight in games) if games else None


@settings(max_examples=60, deadline=None)
@given(verdict_lists)
def test_v01_is_a_weighted_mean_where_all_play_one_baseline(found: dict[str, list[list[str | None]]]) -> None:
    rows = [battle(f"q{n}", model, verdicts) for model, lists in found.items() for n, verdicts in enumerate(lists)]
    expected = {model: value for model in found if (value := weighted(rows, model)) is not None}
    if sum(len(row["games"]) - sum(game["verdict"] is None for game in row["games"]) for row in rows) < 2:
        return  # one game has no interval
    for convention in ("v0.1", "pica"):
        scores = scores_of(rows, Counting(convention, rounds=100)).scores
        assert {model: estimate.value for model, estimate in scores.items()} == pytest.approx(expected, abs=1e-6)
    alone = [row for row in rows if row["model_b"] == min(expected)]
    if len([game for row in alone for game in row["games"] if game["verdict"]]) > 1:  # adding models changes nothing
        assert scores_of(alone, Counting("v0.1", rounds=100)).scores[min(expected)].value == pytest.approx(
            expected[min(expected)], abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.sampled_from(LABELS), min_size=2, max_size=2), min_size=2, max_size=8),
       st.sampled_from(["pica", "v0.1"]))
def test_much_better_counts_as_three_games(lists: list[list[str]], convention: Convention) -> None:
    once = [battle(f"q{n}", "m", verdicts) for n, verdicts in enumerate(lists)]
    thrice = [battle(f"q{n}", "m", [verdict for verdict in verdicts for _ in range(3 if verdict in MUCH else 1)])
              for n, verdicts in enumerate(lists)]
    for row in thrice:
        row["games"] = [{**game, "judge": f"j{n}", "order": "ab"} for n, game in enumerate(row["games"])]
    one = scores_of(once, Counting(convention, rounds=200, strong=3)).scores["m"]
    other = scores_of(thrice, Counting(convention, rounds=200, strong=1)).scores["m"]
    assert (one.value, one.lower, one.upper) == pytest.approx((other.value, other.lower, other.upper), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.sampled_from([*LABELS, None]), min_size=2, max_size=2), min_size=2, max_size=8))
def test_v2_is_the_mean_without_judgments_that_lack_a_verdict(lists: list[list[str | None]]) -> None:
    rows = [battle(f"q{n}", "m", verdicts) for n, verdicts in enumerate(lists)]
    whole = [row for row in rows if all(game["verdict"] for game in row["games"])]
    expected = weighted(whole, "m")
    scores = scores_of(rows, Counting("v2", rounds=4000)).scores
    if expected is None:
        assert scores == {}
    else:
        assert scores["m"].value == pytest.approx(expected, abs=0.04)
        assert scores["m"].n == 2 * len(whole)


def test_single_features_leave_the_others_alone() -> None:
    """Longer wins here and bold is noise: control of bold changes little, that of length takes the lead away."""
    rng, rows = np.random.default_rng(3), []
    for n in range(300):
        mine, base = (int(rng.integers(10, 200)) for _ in range(2))
        bold = "**x** " * int(rng.integers(0, 3))
        wins = rng.random() < 1 / (1 + np.exp(-3 * (mine + 60 - base) / (mine + 60 + base)))
        rows.append({**battle(f"q{n}", "m", ["b>a" if wins else "a>b"] * 2), "answers_known": True, "answer_a": "w" * base,
                     "answer_b": bold + "w" * (mine + 60), "tokens_a": base, "tokens_b": mine + 60})
    plain = scores_of(rows, Counting(rounds=100)).scores["m"].value
    found = {features: scores_of(rows, Counting(rounds=100, style=Style("pica", features)))
             for features in (("length",), ("bold",))}
    assert plain > 0.6
    assert found["length",].scores["m"].value == pytest.approx(0.5, abs=0.06)
    assert found["bold",].scores["m"].value == pytest.approx(plain, abs=0.04)
    effect = found["length",].effects[0]
    assert (effect.feature, effect.lower > 0, effect.lower < effect.value < effect.upper) == ("length", True, True)
    assert [effect.feature for effect in found["bold",].effects] == ["bold"]


def styled(n: int, seed: int, *, longer: int = 0) -> list[dict[str, Any]]:
    """Battles of two answers, of the same length unless one is longer, with bold and headers."""
    rng, rows = np.random.default_rng(seed), []
    for number in range(n):
        bold, heads, tokens = (int(rng.integers(low, high)) for low, high in ((0, 5), (0, 4), (5, 300)))
        wins = rng.random() < 1 / (1 + np.exp(-(bold - 2 + longer / 50) / 2))
        rows.append({**battle(f"q{number}", "m", ["b>a" if wins else "a>b"] * 2), "answers_known": True,
                     "answer_a": "**x** **y**", "answer_b": "**x** " * bold + "\n# h" * heads, "tokens_a": tokens,
                     "tokens_b": tokens + longer})
    return rows


def test_counts_are_taken_per_unit_of_length_whether_length_is_controlled_or_not() -> None:
    rows = styled(200, 1)
    every, markdown = (scores_of(rows, Counting(rounds=100, style=Style("pica", features))) for features in (
        FEATURES, ("headers", "lists", "bold")))
    assert [(effect.feature, effect.value) for effect in markdown.effects] == [
        (effect.feature, pytest.approx(effect.value, abs=1e-6)) for effect in every.effects[1:]]
    assert markdown.scores["m"].value == pytest.approx(every.scores["m"].value, abs=1e-6)


def test_v2_with_style_control_is_the_median_of_its_draws() -> None:
    rows = styled(60, 2, longer=30)
    found = scores_of(rows, Counting("v2", level=0.9, rounds=100, seed=5, style=Style("v2"))).scores["m"]
    sides = [[(row[f"tokens_{side}"], *measure(row[f"answer_{side}"])[2:5]) for row in rows for _ in "12"] for side in "ab"]
    control = fit_style(played(rows, Counting("v2")).battles(rows), *sides, anchor="", convention="v2")
    ends = bootstrap_style(control, by="rows", rounds=100, level=0.9, seed=5)
    draws = 1 / (1 + np.exp(ends.ratings.draws[:, 0] - ends.ratings.draws[:, 1]))
    assert (found.value, found.lower, found.upper) == pytest.approx(
        (np.median(draws), *np.quantile(draws, [0.05, 0.95])), abs=1e-5)
    assert found.value != pytest.approx(control.ratings.against("")[1], abs=1e-9)


def test_a_lower_level_gives_narrower_intervals() -> None:
    wide, narrow = (scores_of(styled(60, 3), Counting(level=level)).scores["m"] for level in (0.95, 0.7))
    assert wide.lower < narrow.lower < narrow.upper < wide.upper


@needs_golden
def test_v01_intervals_are_the_published_ones() -> None:
    """28 models with 1,000 draws each: their ends are the quantiles that score=v0.1 takes."""
    for entry in golden_lines("arena_hard/bootstrap_stats_arena_hard.jsonl"):
        ends = np.quantile(entry["results"], tails(0.95, None))
        assert list(ends) == pytest.approx([entry["lower"], entry["upper"]], abs=0.01)


# judged here --------------------------------------------------------------------------------------------------------------------

QUALITY = {"base": 2, "good": 3, "poor": 1, "new": 4}


def prefers(request: Request, sample: int) -> str:
    """A judge that sees how good an answer is, and thinks three steps much."""
    text = request.messages[-1]["content"]
    names = re.search(r"Compare answers (\w) and (\w)", text)
    assert names
    worth = [int(number) for number in re.findall(r"quality (\d)", text)]
    assert len(worth) == 2
    one, other = names.groups()
    if worth[0] == worth[1]:
        return json.dumps({"reason": "even", "verdict": f"{one}={other}"})
    sign = ">>" if abs(worth[0] - worth[1]) > 1 else ">"
    verdict = f"{one}{sign}{other}" if worth[0] > worth[1] else f"{other}{sign}{one}"
    return json.dumps({"reason": "better", "verdict": verdict})


@pytest.fixture
def cast(scripted: Scripted) -> dict[str, list[Request]]:
    """Scripted contestants and a judge; the requests that each saw."""
    seen = {"judge": scripted("judge", prefers)[1].requests}
    for name, quality in QUALITY.items():
        seen[name] = scripted(name, lambda request, sample, quality=quality: f"An answer of quality {quality}.")[1].requests
    return seen


def asked_of(cast: Mapping[str, list[Request]]) -> dict[str, int]:
    return {name: len(requests) for name, requests in cast.items() if requests}


def questions(folder: Path, n: int = 4) -> Path:
    return write(folder / "question.jsonl", [{"uid": f"q{k}", "category": "hard_prompt", "subcategory": ("coding", "math")[k % 2],
                                              "prompt": f"ask {k}"} for k in range(n)])


def models(*names: str) -> str:
    return "models=[" + ", ".join(f"{{name: scripted/{name}, label: {name}}}" for name in names) + "]"


JUDGE = ["judge=scripted/judge", "audit=0"]


def test_an_evaluation_of_our_own_and_one_model_more(tmp_path: Path, cast: dict[str, list[Request]]) -> None:
    words = [f"tasks={questions(tmp_path)}", "baseline=base", "rounds=100", *JUDGE]
    first = run(tmp_path / "e", models("good", "base", "poor"), *words)
    assert {name: entry["score"] for name, entry in first.items()} == {"good": 100, "base": 50, "poor": 0}
    assert asked_of(cast) == {"judge": 16, "base": 4, "good": 4, "poor": 4}
    row = next(row for row in open_source(str(tmp_path / "e")) if row["model_b"] == "good")
    assert [row[key] for key in ("category", "tag", "judged", "outcome", "model_a")] == [
        "hard_prompt", "coding", "here", "b", "base"]
    assert "By subcategory" in (tmp_path / "e" / "report.html").read_text(encoding="utf-8")

    again = run(tmp_path / "e", models("good", "base", "poor", "new"), *words, "--update")
    assert [again[name]["score"] for name in ("new", "good", "base", "poor")] == [100, 100, 50, 0]
    assert {name: again[name] for name in first} == {name: {**first[name]} for name in first}
    assert asked_of(cast) == {"judge": 24, "base": 4, "good": 4, "poor": 4, "new": 4}

    run(tmp_path / "e", models("good", "base", "poor", "new"), *words, "score=v2", "--update")  # another weighting costs no call
    assert asked_of(cast) == {"judge": 24, "base": 4, "good": 4, "poor": 4, "new": 4}


def test_an_interrupted_evaluation_asks_nothing_twice(tmp_path: Path, cast: dict[str, list[Request]]) -> None:
    words = [f"tasks={questions(tmp_path, 6)}", "baseline=base", models("good", "base", "poor"), *JUDGE, "--quiet", "--out",
             str(tmp_path / "e")]
    assert main(["eval", "arena-hard", *words, "budget.calls=17", "concurrency=3"]) == 3
    before = sum(asked_of(cast).values())
    assert before == 17
    assert main(["eval", "arena-hard", *words]) == 0
    assert asked_of(cast) == {"judge": 24, "base": 6, "good": 6, "poor": 6}
    assert main(["eval", "arena-hard", *words]) == 0
    assert sum(asked_of(cast).values()) == 42


def test_a_mixture_of_given_and_new_judgments(tmp_path: Path, cast: dict[str, list[Request]]) -> None:
    """Judgments for one model, answers of two, a model of our own: only what is not judged is asked."""
    for name in (HARD_BASE, "given", "answered"):
        quality = 2 if name == HARD_BASE else 3
        write(tmp_path / "answers" / f"{name}.jsonl", [{"uid": f"q{k}", "model": name, "ans_id": "i", "tstamp": 0.5, "messages": [
            {"role": "assistant", "content": {"answer": f"quality {quality} of {name}"}}]} for k in range(4)])
    write(tmp_path / "j" / "given.jsonl", [v2(f"q{k}", "given", ("A>B", "B>A")) for k in range(3)])
    words = [f"tasks={questions(tmp_path)}", f"answers={tmp_path / 'answers'}", f"judgments={tmp_path / 'j'}", models("poor")]
    found = run(tmp_path / "e", *words, *JUDGE)
    assert asked_of(cast) == {"judge": 2 * (4 + 4 + 1), "poor": 4}  # the fourth question of `given` was not judged yet
    assert {name: entry["score"] for name, entry in found.items()} == {"answered": 100, HARD_BASE: 50, "given": 25, "poor": 0}
    assert "not all models have the same judges (gpt-4.1 and scripted/judge; scripted/judge)" in warned(tmp_path / "e")
    rows = {(row["model_b"], row["task"]): row for row in open_source(str(tmp_path / "e"))}
    assert (rows["given", "q0"]["judged"], rows["given", "q0"]["answer_b"]) == ("given", "quality 3 of given")
    assert (rows["given", "q3"]["judged"], rows["answered", "q0"]["judged"]) == ("here", "here")


def test_without_a_judge_only_what_is_judged_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = judged(tmp_path / "j")
    for name in ("other", V01_BASE):
        write(tmp_path / "answers" / f"{name}.jsonl", [{"id": "q1", "answer": f"{name} says"}])
    found = run(tmp_path / "e", f"judgments={folder}", f"answers={tmp_path / 'answers'}")
    assert set(found) == {"strong", "weak", V01_BASE}
    assert "other: answers, but no judgments and no judge, so left out; give judge=SPEC" in warned(tmp_path / "e")
    row = next(row for row in open_source(str(tmp_path / "e")) if (row["task"], row["model_b"]) == ("q1", "weak"))
    assert (row["answer_a"], row["answer_b"]) == (f"{V01_BASE} says", "weak on q1")
    write(tmp_path / "answers" / "strange.jsonl", [{"id": "z9", "answer": "x"}])
    run(tmp_path / "s", f"judgments={folder}", f"answers={tmp_path / 'answers'}")
    assert "strange: answers to none of the questions, so left out" in warned(tmp_path / "s")
    assert "no answer is to one of the questions: 'strange' answers 'z9' and others, and the questions are 'q1'" in refused(
        capsys, tmp_path / "t", f"judgments={folder}", f"answers={tmp_path / 'answers' / 'strange.jsonl'}")


def test_what_is_to_be_judged_needs_the_baselines_answers_and_the_question(
        tmp_path: Path, cast: dict[str, list[Request]], capsys: pytest.CaptureFixture[str]) -> None:
    out, ask = tmp_path / "e", f"tasks={questions(tmp_path)}"
    said = refused(capsys, out, ask, models("good"), *JUDGE)
    assert f"the baseline '{HARD_BASE}' of category 'hard_prompt' has no answers; give them with answers=DIR" in said
    assert said.endswith("or baseline= one of: good")
    folder = judged(tmp_path / "j")
    assert "'weak' stands in models and in judgments" in refused(
        capsys, out, f"judgments={folder}", "models=[{name: scripted/good, label: weak}]", "baseline=base", *JUDGE)
    write(tmp_path / "k" / "m.jsonl", [{"uid": "q1", "category": "math", "games": [{"score": "A>B"}, None]}])
    assert "the judgments do not show question 'q1'" in refused(
        capsys, out, f"judgments={tmp_path / 'k'}", models("good", "base"), "baseline=base", *JUDGE)
    assert asked_of(cast) == {}
    write(tmp_path / "two.jsonl", [{"id": "t", "category": "x", "prompt": [
        {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]}])
    assert "task 't' has 3 messages" in refused(
        capsys, out, f"tasks={tmp_path / 'two.jsonl'}", models("good", "base"), "baseline=base", "export=v2", *JUDGE)


@pytest.mark.parametrize("schema", ["v0.1", "v2"])
def test_official_files_of_an_evaluation_give_the_same_scores(tmp_path: Path, cast: dict[str, list[Request]],
                                                              schema: str) -> None:
    words = [f"tasks={questions(tmp_path)}", "baseline={hard_prompt: base}", "rounds=100"]
    found = run(tmp_path / "e", models("good", "base", "poor"), *words, f"export={schema}", *JUDGE)
    official = tmp_path / "e" / "official"
    assert sorted(path.relative_to(official).as_posix() for path in official.rglob("*.jsonl"))[:4] == [
        "model_answer/base.jsonl", "model_answer/good.jsonl", "model_answer/poor.jsonl",
        f"model_judgment/{next((official / 'model_judgment').iterdir()).name}/good.jsonl"]
    manifest = json.loads((tmp_path / "e" / "manifest.json").read_text(encoding="utf-8"))
    assert "official/question.jsonl" in manifest["files"]
    calls = asked_of(cast)
    back = run(tmp_path / "b", f"tasks={official / 'question.jsonl'}", f"answers={official / 'model_answer'}",
               f"judgments={official}", "baseline=base", "rounds=100")
    assert {name: entry["score"] for name, entry in back.items()} == {name: entry["score"] for name, entry in found.items()}
    assert asked_of(cast) == calls
    run(tmp_path / "e", models("good", "base", "poor"), *words, *JUDGE, "--update")
    assert not official.exists()


def test_judgments_are_exported_as_they_came(tmp_path: Path) -> None:
    rows = [v2("q1", "m", ("A>B", None), null=[1]), v2("q2", "m", ("X", "B>A"))]
    write(tmp_path / "gpt-4.1" / "m.jsonl", rows)
    run(tmp_path / "e", f"judgments={tmp_path / 'gpt-4.1'}", "export=v2")
    written = tmp_path / "e" / "official" / "model_judgment" / "gpt-4.1" / "m.jsonl"
    assert [json.loads(line) for line in written.read_text(encoding="utf-8").splitlines()] == rows
    asked = tmp_path / "e" / "official" / "question.jsonl"
    assert [json.loads(line) for line in asked.read_text(encoding="utf-8").splitlines()] == [
        {"uid": f"q{n}", "category": "hard_prompt", "prompt": f"ask q{n}"} for n in (1, 2)]


def test_the_plan_counts_two_games_a_prompt(tmp_path: Path) -> None:
    """500 questions are 1,000 calls of the judge for a model, and none for what is judged."""
    ask = f"tasks={questions(tmp_path, 500)}"
    config = load_config(ArenaHardConfig, words=[ask, "models=[{name: fake/echo, label: m}, {name: fake/empty, label: b}]",
                                                 "baseline=b", "judge=fake/magpie"])
    plan = ArenaHard(config).plan()
    assert {step.name: round(step.calls * plan.rows) for step in plan.steps} == {"answer m": 500, "answer b": 500, "judge": 1000}
    part = write(tmp_path / "part" / "m.jsonl", [v2(f"q{k}", "m", ("A>B", "A>B"), baseline="b") for k in range(490)])
    for name in ("m", "b"):
        write(tmp_path / "answers" / f"{name}.jsonl", [{"id": f"q{k}", "answer": "yes"} for k in range(500)])
    rest = ArenaHard(load_config(ArenaHardConfig, words=[ask, f"judgments={part}", f"answers={tmp_path / 'answers'}",
                                                         "judge=fake/magpie"])).plan()
    assert (rest.rows, rest.calls) == (10, 20)
    given_all = ArenaHard(load_config(ArenaHardConfig, words=[f"judgments={judged(tmp_path / 'j')}"])).plan()
    assert (given_all.rows, given_all.calls) == (0, 0)


def test_our_score_takes_style_out_where_that_can_be_told(tmp_path: Path) -> None:
    """A model that is only longer: its lead goes; fewer tasks, or another convention, leave the score as it is."""
    draw = random.Random(3)
    rows = []
    for number in range(140):
        words = draw.randint(1, 30)
        won = draw.random() < 0.35 + 0.3 * (words > 10)
        label: Pair = ("B>A", "A>B") if won else ("A>B", "B>A")
        rows.append(v01(f"q{number:03}", "long", label, mine="word " * words, base="word " * 10))
    write(tmp_path / "many" / "long.jsonl", rows)
    write(tmp_path / "few" / "long.jsonl", rows[:60])
    auto, off = run(tmp_path / "a", f"judgments={tmp_path / 'many'}"), run(tmp_path / "b", f"judgments={tmp_path / 'many'}",
                                                                        "style_control=false")
    assert auto["long"]["score_without_style_control"] == pytest.approx(off["long"]["score"])
    assert auto["long"]["score"] < off["long"]["score"] - 1
    few = run(tmp_path / "c", f"judgments={tmp_path / 'few'}")
    assert "score_without_style_control" not in few["long"]
    method = json.loads((tmp_path / "c" / "manifest.json").read_text())["notes"]["method"]
    assert "Style is not taken out: 60 tasks are fewer than the 100" in method
    assert "score_without_style_control" not in run(tmp_path / "d", f"judgments={tmp_path / 'many'}", "score=v0.1")["long"]
