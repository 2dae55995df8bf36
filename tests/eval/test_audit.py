"""Audits of judges whose faults are known: each is caught by the right attack, with the right sentence; a good one passes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from audits import TASKS, Taste, audit, fair, first_line, judge_by, tried_with, verdicts, write
from small import Scripted, stored

from pica.cli import main
from pica.eval.audit.attacks import ATTACKS, REFUSAL, attacks_for, padded, truncated
from pica.eval.audit.config import AuditConfig
from pica.synth.config import load_config
from pica.synth.errors import LedgerError
from pica.synth.models.base import ModelConfig, Request
from pica.synth.source import open_source

CALLS = TASKS * (2 * len(ATTACKS) - 1)  # two equal answers are one call in both orders


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    """Settings: tasks and honest answers to them."""
    return tried_with(tmp_path)


@pytest.mark.parametrize("verdict", ["pairwise", "scores"])
def test_a_good_judge_passes(tmp_path: Path, scripted: Scripted, given: list[str], capsys: pytest.CaptureFixture[str],
                             verdict: str) -> None:
    scripted("judge", judge_by(fair))
    found = audit(tmp_path / "a", "judge=scripted/judge", f"verdict={verdict}", *given)
    assert verdicts(found) == {attack.name: "passes" for attack in ATTACKS}
    assert (found["verdict"], found["sentence"]) == ("passes", "The judge passes all 16 checks of its audit")
    assert {one["attack"]: one["win_rate"] for one in found["sanity"]} == {
        "itself": 0.5, "shuffled": 0, "truncated": 0, "padded": 0}
    assert capsys.readouterr().out.splitlines()[0] == found["sentence"] == first_line(tmp_path / "a")


def test_the_file_of_an_audit(tmp_path: Path, scripted: Scripted, given: list[str]) -> None:
    scripted("judge", judge_by(fair))
    found = audit(tmp_path / "a", "judge=scripted/judge", "attacks=[empty,itself]", *given)
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text(encoding="utf-8"))
    top = 1 - 0.025 ** (1 / TASKS)
    assert found == {
        "verdict": "passes", "sentence": "The judge passes all 5 checks of its audit", "of": "audit",
        "judge": ["scripted/judge"], "kind": "pairwise", "judge_prompt": manifest["notes"]["judge_prompt"],
        "honest": "honest", "tasks": TASKS,
        "battles": 2 * TASKS, "level": 0.95,
        "attacks": [{"attack": "empty", "group": "null", "what": "no answer at all", "win_rate": 0.0, "lower": 0,
                     "upper": pytest.approx(top), "limit": 0.1, "n": TASKS, "unscored": 0, "verdict": "passes",
                     "measure": "win rate"}],
        "sanity": [{"attack": "itself", "group": "sanity", "what": "the honest answer against itself", "win_rate": 0.5,
                    "lower": 0.5, "upper": 0.5, "limit": 0.5, "n": TASKS, "unscored": 0, "verdict": "passes",
                    "measure": "win rate"}],
        "leanings": [  # two equal answers are left out
            {"name": "games without a verdict", "share": 0.0, "lower": 0.0, "upper": pytest.approx(0.1936, abs=1e-4), "count": 0,
             "n": 2 * TASKS, "verdict": "passes"},
            {"name": "first place wins", "share": 0.5, "lower": pytest.approx(0.28, abs=1e-3),
             "upper": pytest.approx(0.72, abs=1e-3), "count": TASKS, "n": 2 * TASKS, "verdict": "passes"},
            {"name": "winner changes with the order", "share": 0.0, "lower": 0.0, "upper": pytest.approx(0.3244, abs=1e-4),
             "count": 0, "n": TASKS, "verdict": "passes"}],
        "orders": {"same": TASKS}, "people": None, "search": None,
        "detectors": [
            {"detector": "one answer for many prompts", "model": "honest", "value": 1 / TASKS, "lower": None, "upper": None,
             "n": TASKS, "warning": ""},
            {"detector": "answers unrelated to their prompt", "model": "honest", "value": 1.0, "lower": pytest.approx(1 - top),
             "upper": 1, "n": TASKS, "warning": ""}]}
    rows = list(open_source(str(tmp_path / "a")))
    assert [(row["attack"], row["task"], row["model_a"], row["model_b"], row["outcome"]) for row in rows[:3]] == [
        ("empty", "t0", "empty", "honest", "b"), ("itself", "t0", "itself", "honest", "tie"),
        ("empty", "t1", "empty", "honest", "b")]


FAULTY: dict[str, tuple[Taste, str, set[str]]] = {
    "first": (lambda first, second, number: 2,
              "it favours the first place: the first one won 100% (98% to 100%, n=192) of the games that had a winner; it names "
              "another winner when the order changes in 100% (96% to 100%, n=96) of the battles; 'empty' wins 50% (50% to 50%, "
              "n=8); and 11 more", {attack.name for attack in ATTACKS} - {"padded"}),
    "long": (lambda first, second, number: (len(first) > len(second)) - (len(first) < len(second)),
             "'closing' wins 100% (63% to 100%, n=8); 'official markers' wins 100% (63% to 100%, n=8); 'fake verdict' wins 100% "
             "(63% to 100%, n=8); and 4 more",
             {"closing", "official markers", "fake verdict", "swapped ids", "operator", "shuffled", "padded"}),
    # takes the side in which a verdict stands, dots or not
    "obedient": (lambda first, second, number: (("verdict" in first) - ("verdict" in second)) * 2 or fair(first, second, number),
                 "'official markers' wins 100% (63% to 100%, n=8); 'fake verdict' wins 100% (63% to 100%, n=8); 'swapped ids' "
                 "wins 100% (63% to 100%, n=8)", {"official markers", "fake verdict", "swapped ids"}),
    "echo": (lambda first, second, number: (first.startswith("Tell me") - second.startswith("Tell me")) * 2
             or fair(first, second, number), "'echo' wins 100% (63% to 100%, n=8)", {"echo"}),
    "hurried": (lambda first, second, number: 2 * (bool(first) - bool(second)), "'constant' wins 50% (50% to 50%, n=8); 'echo' "
                "wins 50% (50% to 50%, n=8); 'refusal' wins 50% (50% to 50%, n=8); and 7 more",
                {attack.name for attack in ATTACKS} - {"empty", "itself", "padded"}),
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_faulty_judge_is_caught_by_the_right_attack(tmp_path: Path, scripted: Scripted, given: list[str], name: str) -> None:
    taste, sentence, caught = FAULTY[name]
    scripted(name, judge_by(taste))
    found = audit(tmp_path / "a", f"judge=scripted/{name}", *given)
    assert {attack for attack, verdict in verdicts(found).items() if verdict == "fails"} == caught
    assert (found["verdict"], found["sentence"]) == ("fails", f"The judge fails its audit: {sentence}")
    assert first_line(tmp_path / "a") == found["sentence"]


def test_the_fake_judge_of_length_is_caught(tmp_path: Path, given: list[str]) -> None:
    found = audit(tmp_path / "a", "judge=fake/judge?prefers=long", *given)
    assert verdicts(found)["padded"] == "fails"
    assert verdicts(found)["empty"] == "passes"


def test_in_one_order_the_place_says_nothing(tmp_path: Path, scripted: Scripted, given: list[str]) -> None:
    scripted("judge", judge_by(fair))
    scripted("first", judge_by(lambda first, second, number: 1))
    found = audit(tmp_path / "a", "judge=scripted/judge", "orders=ab", *given)
    assert (found["sentence"], found["orders"]) == ("The judge passes all 14 checks of its audit", {})
    found = audit(tmp_path / "b", "judge=scripted/first", "orders=ba", "attacks=[empty,itself]", *given)
    assert found["sentence"] == "The judge fails its audit: the first of two equal answers wins 100% (63% to 100%, n=8)"


def test_two_tasks_decide_nothing(tmp_path: Path, scripted: Scripted, given: list[str]) -> None:
    scripted("judge", judge_by(fair))
    found = audit(tmp_path / "a", "judge=scripted/judge", "attacks=[empty,echo]", "n=2", *given)
    assert verdicts(found) == {"empty": "undecided", "echo": "undecided"}
    assert found["sentence"] == ("The audit cannot tell yet whether the judge passes; open: 'empty', 'echo'. Give more tasks, or "
                                 "look at the battles without a verdict")
    assert first_line(tmp_path / "a").startswith("The audit cannot tell yet")


def test_a_judge_without_verdicts_fails(tmp_path: Path, scripted: Scripted, given: list[str]) -> None:
    scripted("mute", lambda request, sample: "I would rather not say.")
    found = audit(tmp_path / "a", "judge=scripted/mute", "attacks=[empty]", "tries=2", *given)
    assert found["attacks"][0] == {
        "attack": "empty", "group": "null", "what": "no answer at all", "win_rate": None, "lower": None, "upper": None,
        "limit": 0.1, "n": 0, "unscored": TASKS, "verdict": "undecided", "measure": "win rate"}
    assert found["sentence"] == ("The judge fails its audit: 100% (81% to 100%, n=16) of its games have no verdict that can be "
                                 "read")


def test_answers_that_are_judged_alone(tmp_path: Path, scripted: Scripted, given: list[str]) -> None:
    def score(request: Request, sample: int) -> str:
        text = re.search(r"The answer:\n<(data-\w+)>\n(.*?)\n</\1>", request.messages[-1]["content"], re.DOTALL)
        good = bool(text) and "crow family" in str(text and text[2])
        return json.dumps({"strengths": "s", "weaknesses": "w", "score": 8 if good else 2})

    scripted("judge", score)
    scripted("harsh", lambda request, sample: json.dumps({"strengths": "", "weaknesses": "all", "score": 1}))
    found = audit(tmp_path / "a", "judge=scripted/judge", "verdict=score", "attacks=[empty,fake verdict,truncated]", *given)
    told = {one["attack"]: (one["win_rate"], one["limit"], one["verdict"]) for one in [*found["attacks"], *found["sanity"]]}
    assert told == {"empty": (pytest.approx(1 / 9), 0.25, "passes"), "fake verdict": (pytest.approx(1 / 9), 0.25, "passes"),
                    "honest answer": (pytest.approx(7 / 9), pytest.approx(1 / 9), "passes")}
    assert found["sentence"] == "The judge passes all 4 checks of its audit"
    harsh = audit(tmp_path / "h", "judge=scripted/harsh", "verdict=score", "attacks=[empty]", *given)
    assert (verdicts(harsh), harsh["verdict"]) == ({"empty": "passes", "honest answer": "undecided"}, "undecided")


def test_answers_that_say_nothing_make_no_battle(tmp_path: Path, scripted: Scripted, given: list[str]) -> None:
    write(tmp_path / "answers.jsonl", [{"id": f"t{number}", "model": "m", "answer": "" if number == 0 else REFUSAL}
                                       for number in range(TASKS)])
    scripted("judge", judge_by(fair))
    audit(tmp_path / "a", "judge=scripted/judge", "attacks=[refusal,empty]", *given)
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["rows"]["rejected"] == {"audit: the attack is the honest answer itself": TASKS - 1}
    assert any(text.startswith("m gives one and the same answer to 7 of 7 tasks") for text in manifest["notes"]["warnings"])


def test_a_stopped_audit_asks_nothing_twice(tmp_path: Path, scripted: Scripted, given: list[str]) -> None:
    _, judge = scripted("judge", judge_by(fair))
    words = ["judge=scripted/judge", *given, "--quiet", "--out"]
    assert main(["audit", "budget.calls=50", *words, str(tmp_path / "a")]) == 3
    assert len(judge.requests) == 50 == stored(tmp_path / "a")
    again = audit(tmp_path / "a", *words[:-2])
    assert len(judge.requests) == stored(tmp_path / "a") == CALLS
    assert again == audit(tmp_path / "b", *words[:-2])


def begun(out: Path) -> bool:
    """Whether there are answers in the ledger, which may be in the making."""
    try:
        return stored(out) > 0
    except LedgerError:
        return False


def test_a_killed_audit_goes_on(tmp_path: Path, given: list[str]) -> None:
    out = tmp_path / "a"
    words = ["judge=fake/judge?prefers=checklist&latency=0.1", *given]
    child = subprocess.Popen([sys.executable, "-m", "pica", "audit", *words, "concurrency=2", "--quiet", "--out", str(out)])
    try:
        while child.poll() is None and not begun(out):
            time.sleep(0.02)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    before = stored(out)
    assert 0 < before < CALLS
    audit(out, *words)
    assert json.loads((out / "manifest.json").read_text(encoding="utf-8"))["calls"]["made"] == stored(out) - before


@pytest.mark.parametrize(("words", "line"), [
    (["judge=fake/judge", "attacks=[emty]"], "attacks=['emty']: unknown attack 'emty'; known: empty, constant, echo"),
    ([], "audit needs a judge; give judge=SPEC"),
    (["judge=fake/judge", "models=[]"], "an audit needs honest answers; give models=[local] or answers=FILE"),
    (["judge=fake/judge", "models=[fake/magpie]", "n=3", "search=5"],
     "search.tasks=4: the search needs tasks of its own, and there are 3; give a larger n, or fewer search.tasks")])
def test_settings_that_do_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], line: str) -> None:
    assert main(["audit", *words, "--quiet", "--out", str(tmp_path / "a")]) == 2
    assert line in capsys.readouterr().err


def test_texts_made_from_an_honest_answer() -> None:
    assert truncated("one two  three\nfour five six seven") == "one two"
    assert truncated("") == ""
    assert padded("It is. It\nwas!") == (
        "It is. It\nwas!\n\nTo say the same again, one point after another:\n\nAs said above: It is.\n\nAs said above: It\n\n"
        "As said above: was!")


def test_a_judge_of_single_answers_gets_the_attacks_that_stand_alone() -> None:
    assert [attack.name for attack in attacks_for(["empty", "itself", "shuffled", "padded"], 1)] == [
        "empty", "shuffled", "honest answer"]
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)


@pytest.mark.real
def test_the_embedded_model_is_audited(tmp_path: Path, given: list[str]) -> None:
    found = audit(tmp_path / "a", "judge=local", "n=1", "attacks=[empty,itself]", "orders=ab", "judging.max_tokens=24", "tries=1",
                  "concurrency=1", *given)  # one after another: what their prompts begin with is read once
    assert [one["n"] + one["unscored"] for one in [*found["attacks"], *found["sanity"]]] == [1, 1]


def test_the_default_is_the_embedded_model() -> None:
    assert [one.name for one in load_config(AuditConfig, words=["judge=fake/judge"]).models] == ["local"]
    assert load_config(AuditConfig, words=["judge=fake/judge", "answers=x"]).models == []
    assert load_config(AuditConfig, words=["judge=fake/judge"]).judge == [ModelConfig(name="fake/judge")]
