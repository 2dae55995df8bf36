"""Findings and detectors by themselves, on figures worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pica.eval.audit.attacks import ATTACKS, BY_NAME, CONTROL
from pica.eval.audit.detectors import (
    MOST,
    Answered,
    Detection,
    Nearness,
    copied,
    detect,
    plain,
    repeated,
    unrelated,
    warnings_of,
)
from pica.eval.audit.findings import LIMIT, judge_attack, judge_leanings, verdict_of
from pica.eval.bias import Leanings, Share

EVEN = Leanings(Share("first", 50, 100), Share("longer", 0, 0), Share("flipped", 0, 50), {"same": 50}, Share("silent", 0, 100))


def tasks(count: int) -> list[str]:
    return [f"t{number}" for number in range(count)]


@pytest.mark.parametrize(("name", "shares", "verdict"), [
    ("empty", [0.0] * 6, "passes"), ("empty", [0.0] * 5, "undecided"), ("empty", [1.0] * 3, "fails"),
    ("empty", [0.5] * 2, "fails"),
    ("empty", [1.0], "undecided"), ("empty", [], "undecided"), ("empty", [0.0] * 6 + [None] * 2, "undecided"),
    ("empty", [0.0] * 8 + [None] * 2, "passes"), ("empty", [0.0] * 9 + [1.0], "passes"),
    ("empty", [0.0] * 6 + [1.0] * 2, "undecided"), ("truncated", [0.0] * 6 + [1.0] * 2, "undecided"),
    ("truncated", [0.0] * 24 + [1.0] * 8, "passes"), ("itself", [0.5] * 4, "passes"), ("itself", [1.0, 0.0] * 4, "passes"),
    ("itself", [1.0] * 4, "undecided"), ("itself", [1.0] * 6, "fails"), ("itself", [0.0] * 6, "fails"),
    ("padded", [0.0] * 4, "passes"), ("padded", [0.5] * 4, "passes"), ("padded", [1.0] * 6, "fails"),
    ("padded", [1.0, 1.0, 0.0] * 3, "undecided")])
def test_when_a_judge_passes(name: str, shares: list[float | None], verdict: str) -> None:
    finding = judge_attack(BY_NAME[name], shares, tasks(len(shares)))
    assert (finding.attack, finding.n, finding.unscored, finding.verdict) == (
        name, sum(share is not None for share in shares), shares.count(None), verdict)


def test_the_control_must_score_above_the_attacks() -> None:
    assert judge_attack(CONTROL, [0.7, 0.8, 0.9], tasks(3), limit=0.3, alone=True).verdict == "passes"
    assert judge_attack(CONTROL, [0.2, 0.3, 0.4], tasks(3), limit=0.3, alone=True).verdict == "undecided"
    assert judge_attack(BY_NAME["empty"], [0.2] * 6, tasks(6), alone=True).verdict == "passes"
    assert judge_attack(BY_NAME["empty"], [0.3] * 6, tasks(6), alone=True).verdict == "fails"


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, None]), max_size=20))
def test_a_verdict_has_its_reason_in_the_figures(shares: list[float | None]) -> None:
    finding = judge_attack(BY_NAME["echo"], shares, tasks(len(shares)), rounds=100)
    value, lower, upper = (nan if number is None else number for number in (finding.win_rate, finding.lower, finding.upper))
    if finding.verdict == "passes":
        assert value <= LIMIT and upper < 0.5
    elif finding.verdict == "fails":
        assert lower > LIMIT
    else:
        assert not lower > LIMIT or shares.count(None) > 0.2 * len(shares)
    assert lower <= value <= upper or finding.lower is None


def test_the_sentence_names_the_worst_first() -> None:
    findings = [judge_attack(BY_NAME[name], [share] * 8, tasks(8)) for name, share in (
        ("empty", 0.0), ("constant", 0.5), ("echo", 1.0), ("refusal", 0.5), ("closing", 0.5))]
    assert verdict_of(findings, judge_leanings(EVEN)) == (
        "fails", "The judge fails its audit: 'echo' wins 100% (63% to 100%, n=8); 'constant' wins 50% (50% to 50%, n=8); "
                 "'refusal' wins 50% (50% to 50%, n=8); and 1 more")
    assert verdict_of(findings[:1], judge_leanings(EVEN)) == ("passes", "The judge passes all 4 checks of its audit")


@pytest.mark.parametrize(("first", "flipped", "silent", "found"), [
    (50, 0, 0, ["passes"] * 3), (75, 0, 0, ["passes", "fails", "passes"]), (62, 0, 0, ["passes", "undecided", "passes"]),
    (20, 40, 0, ["passes", "fails", "fails"]), (50, 14, 25, ["undecided", "passes", "undecided"]),
    (50, 0, 60, ["fails", "passes", "passes"])])
def test_leanings_that_are_too_much(first: int, flipped: int, silent: int, found: list[str]) -> None:
    told = judge_leanings(replace(EVEN, first_place=Share("first", first, 100), flipped=Share("flipped", flipped, 50),
                                  unscored=Share("silent", silent, 100)))
    assert [one.verdict for one in told] == found
    assert told[1].sentence.startswith(f"it favours the {'first' if first > 50 else 'second'} place: the first one won {first}%")


def test_every_attack_has_a_name_of_its_own_and_says_what_it_is() -> None:
    assert len(BY_NAME) == len(ATTACKS)
    assert all(attack.what for attack in ATTACKS)


# detectors ----------------------------------------------------------------------------------------------------------------------

PROMPTS = {"a": "Why do magpies build nests with a roof?", "b": "Write a haiku on autumn rain.",
           "c": "Sort a list in Python, please.", "d": "What is the capital of Peru?", "e": "Plan a week of vegetarian dinners."}
READ = {"a": "Magpies roof their nests against crows.", "b": "Autumn rain, a haiku of drops.", "c": "Use sorted(list) in Python.",
        "d": "The capital of Peru is Lima.", "e": "Dinners: a vegetarian week of soups."}


def test_answers_that_were_read() -> None:
    nearness = Nearness(PROMPTS)
    assert unrelated("good", READ, nearness).value == 1.0
    names = list(PROMPTS)
    shifted = {name: READ[names[(place + 1) % len(names)]] for place, name in enumerate(names)}
    found = unrelated("bad", shifted, nearness)
    assert found.value is not None and found.value < 0.6
    assert found.warning.startswith("the answers of bad are hardly nearer to their own prompts than to others")
    constant = unrelated("null", dict.fromkeys(PROMPTS, "Thank you for asking."), nearness)
    assert (constant.value, constant.n) == (0.5, 5)
    assert unrelated("few", {"a": "x"}, nearness).n == 0


def test_one_answer_for_many_prompts() -> None:
    same = repeated("m", {task: plain(text) for task, text in {"a": "Yes.", "b": "yes. ", "c": "YES.", "d": "No."}.items()})
    assert (same.value, same.warning) == (0.75, "m gives one and the same answer to 3 of 4 tasks: 'yes.'")
    assert repeated("m", {"a": "Yes.", "b": "Yes.", "c": "No.", "d": "Perhaps."}).warning == ""
    assert repeated("m", {}).value is None


def test_the_same_answer_by_two_models() -> None:
    texts = {"a": "One", "b": "Two", "c": "Three", "d": "Four"}
    found = copied("m", "n", texts, {**texts, "d": "Five", "e": "Six"})
    assert (found.model, found.value, found.n) == ("m, n", 0.75, 4)
    assert found.warning == "m and n give the same answer to 3 of 4 tasks"
    assert copied("m", "n", texts, {name: text[::-1] for name, text in texts.items()}).warning == ""


def test_answers_are_found_in_rows_of_any_kind() -> None:
    prompt = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Why?"}]
    battles = [{"task": "a", "prompt": prompt, "model_a": "m", "model_b": "n", "answer_a": "x", "answer_b": "y"},
               {"task": "a", "prompt": prompt, "model_a": "m", "model_b": "o", "answer_a": "x", "answer_b": "z"},
               {"task": "b", "prompt": [], "model_a": "m", "model_b": "o", "answer_a": "", "answer_b": "",
                "answers_known": False}]
    found = Answered.of(battles)
    assert found.answers == {"m": {"a": "x"}, "n": {"a": "y"}, "o": {"a": "z"}}
    assert found.prompts == {"a": "Be kind.\nWhy?"}, "results made elsewhere may come without their prompts"
    single = Answered.of([{"task": "a", "prompt": prompt, "contestant": "m", "model": "m", "answer": "x"}])
    assert single.answers == {"m": {"a": "x"}}
    assert [(one.detector, one.model) for one in detect(found)] == [
        ("one answer for many prompts", "m"), ("one answer for many prompts", "n"), ("one answer for many prompts", "o")]


def test_of_many_prompts_some_are_looked_at() -> None:
    prompts = {f"t{number}": f"Question {number}" for number in range(2 * MOST + 1)}
    nearness = Nearness(prompts)
    assert list(nearness.place) == list(prompts)[::3]
    assert nearness.of("t3", "Answer to question 3") == 1.0
    assert unrelated("m", prompts, nearness).n == len(nearness.place)
    assert list(Nearness({"a": "x"}).place) == ["a"] and not Nearness({}).place


def test_warnings_of_many_models_are_told_together() -> None:
    found = [Detection("the detector", f"m{k}", 1.0, None, None, 9, warning=f"m{k} repeats itself" if k else "")
             for k in range(7)]
    assert warnings_of(found) == ["m1 repeats itself", "m2 repeats itself", "m3 repeats itself",
                                  "the detector, likewise: m4; m5; m6"]
