"""What Arena Learning reads battles from, what it says where nothing is learnt, and that every candidate is accounted for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from arena_battles import Seen, battle, learn, run, write
from books import rejects, rows

from pica.cli import main
from pica.recipes.arena_learning.recipe import NothingSelected
from pica.recipes.arena_learning.sources import check_battles
from pica.synth.errors import UsageError

QUICK = ("durability=normal", "--quiet")
EVAL = ("tasks=pica", "n=2", "rounds=100", *QUICK)
MODELS = [{"name": "fake/magpie?seed=1", "label": "a|b <i>"}, "fake/magpie?seed=2"]
ALLOWED = "; allowed: folders of `pica eval arena`, `arena-hard` and `wildbench mode=reward`"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An arena (E), checklists and scores, both with an audit (ch, w), an audit (au) and a prompt pool (pool)."""
    folder = tmp_path_factory.mktemp("sources")
    for command, out, *settings in [
            ("eval arena", "E", "judge=fake/judge?prefers=long", "audit=0"),
            ("eval checklist", "ch", "judge=fake/judge", "audit=1"),
            ("eval wildbench", "w", "judge=fake/judge", "mode=score", "audit=1")]:
        assert main([*command.split(), f"models={json.dumps(MODELS)}", *settings, *EVAL, "--out", str(folder / out)]) == 0
    assert main(["audit", "judge=fake/judge", "models=fake/magpie", "tasks=pica", "n=1", "rounds=100", *QUICK, "--out",
                 str(folder / "au")]) == 0
    prompts = [{"prompt": f"What is magpie number {number} doing on the old wall this very evening?"} for number in range(4)]
    assert main(["run", "prompt-pool", f"data={write(folder / 'p.jsonl', prompts)}", "parts=2", "languages=[]", "prefix=0",
                 "duplicates.minhash=0", *QUICK, "--out", str(folder / "pool")]) == 0
    return folder


@pytest.mark.parametrize(("name", "text"), [
    ("ch", "{} is a checklist evaluation, which has no battles" + ALLOWED),
    ("w", "{} is a wildbench evaluation (mode=score), which has no battles" + ALLOWED),
    ("au", "{} is the audit of a judge, whose battles are no data" + ALLOWED),
    ("pool", "{} is no evaluation (prompt-pool made it)" + ALLOWED),
    ("nope", "battles: there is no file or folder {}" + ALLOWED),
    ("p.jsonl", "{} holds no battles (no column 'task')" + ALLOWED)])
def test_what_holds_no_battles_is_refused(folders: Path, name: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    place = str(folders / name)
    with pytest.raises(UsageError) as error:
        check_battles([str(folders / "E"), place])
    assert str(error.value) == text.format(place)
    capsys.readouterr()
    assert main(["run", "arena-learning", f"battles={place}", "--quiet", "--out", str(folders / "out")]) == 2
    assert capsys.readouterr().err == f"pica: {text.format(place)}\n"


def test_battles_are_checked_by_their_first_row_alone(folders: Path, tmp_path: Path) -> None:
    whole, broken = battle("big", (2, 9)), {**battle("weak", (2, 9)), "model_b": None}
    file = write(tmp_path / "b.jsonl", [whole, broken])
    assert [source.name for source in check_battles([str(file), str(folders / "E")])] == [str(file), str(folders / "E")]
    with pytest.raises(UsageError, match=r"b.jsonl, row 2: not a battle as pica eval writes it \(TypeError: it names no two"):
        run(tmp_path / "out", battles=str(file))


# candidates -------------------------------------------------------------------------------------------------------------------


def counts(folder: Path) -> dict[str, Any]:
    manifest = json.loads((folder / "out" / "manifest.json").read_text())
    found: dict[str, Any] = manifest["rows"]
    assert found["in"] == found["out"] + sum(found["rejected"].values())
    assert (found["out"], sum(found["rejected"].values())) == (len(rows(folder / "out")), len(rejects(folder / "out")))
    return found


SEEN: dict[str, tuple[Seen, ...]] = {
    "lost": ((2, 9), (2, 9)), "won": ((9, 2), (9, 2)), "tied": ((5, 5), (5, 5)), "close": ((5, 6), (5, 6)),
    "torn": ((2, 9), (9, 2)), "mute": (None, None)}


def fights() -> list[dict[str, Any]]:
    """Two prompts: one with a battle of every kind, one that is tied alone."""
    whole = [battle(rival, *seen) for rival, seen in SEEN.items()]
    return [*whole, battle("empty", (2, 9), theirs=" "), battle("tied", (5, 5), (5, 5), task="t2", prompt="What is a jay?")]


def test_every_battle_is_a_candidate_for_a_reward_model(tmp_path: Path) -> None:
    learn(tmp_path, fights(), use="reward", k=2, swap="agree")
    assert counts(tmp_path) == {"in": 8, "out": 2, "splits": {"train": 2}, "rejected": {
        "a tie": 2, "decided by too little": 1, "the orders disagree": 1, "no verdict in enough orders": 1,
        "the winner's answer is empty": 1}}
    assert {(row["rival"], row["task"]): (row["reject_reason"], row["reject_detail"]) for row in rejects(tmp_path / "out")} == {
        ("tied", "t1"): ("a tie", "against tied: +0; k=2"), ("tied", "t2"): ("a tie", "against tied: +0; k=2"),
        ("close", "t1"): ("decided by too little", "against close: +1; k=2"),
        ("torn", "t1"): ("the orders disagree", "against torn"), ("mute", "t1"): ("no verdict in enough orders", "against mute"),
        ("empty", "t1"): ("the winner's answer is empty", "against empty: +7; k=2")}
    ids = [row["id"] for row in (*rows(tmp_path / "out"), *rejects(tmp_path / "out"))]
    assert len(set(ids)) == 8


@pytest.mark.parametrize(("settings", "reasons"), [
    ({"wins": False}, {"the target does well": 1, "decided by too little": 1, "a tie": 3, "the winner's answer is empty": 1,
                       "no verdict in enough orders": 1}),
    ({"swap": "both"}, {"decided by too little": 1, "a tie": 2, "the orders disagree": 1, "the winner's answer is empty": 1,
                        "no verdict in enough orders": 1}),
    ({"lost_to": "all"}, {"lost, but not to as many rivals as lost_to asks for": 1, "decided by too little": 1, "a tie": 3,
                          "the winner's answer is empty": 1, "no verdict in enough orders": 1})])
def test_the_reason_of_a_battle_is_its_own(tmp_path: Path, settings: dict[str, Any], reasons: dict[str, int]) -> None:
    learn(tmp_path, fights(), use="reward", k=2, **settings)
    assert counts(tmp_path)["rejected"] == reasons and counts(tmp_path)["in"] == 8


@pytest.mark.parametrize("use", ["sft", "dpo", "online"])
def test_every_prompt_is_a_candidate_else(tmp_path: Path, use: str) -> None:
    learn(tmp_path, fights(), use=use, k=2)
    assert counts(tmp_path) == {"in": 2, "out": 1, "splits": {"train": 1}, "rejected": {"the target does well": 1}}


# where nothing is left --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("settings", "said"), [
    ({"k": 3}, "the largest gap is 2 and k=3; the judge gave outcomes, of which better counts 2 points and much better 4, so "
               "that k=1 takes every clear loss; lower k: k=1 selects 1"),
    ({"k": 1, "better": 1}, "the largest gap is 1 and k=1; the judge gave outcomes, of which better counts 1 points and much "
                            "better 4; lower k: k=0 selects 1")])
def test_what_outcomes_count_is_said(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(NothingSelected) as error:
        learn(tmp_path, [battle("big", "b>a", "b>a")], **settings)
    assert str(error.value).endswith(said)


@pytest.mark.parametrize("use", ["sft", "reward"])
def test_prompts_that_are_all_held_are_the_cause(tmp_path: Path, use: str) -> None:
    held = tmp_path / "held.txt"
    held.write_text("What is a magpie?\n")
    with pytest.raises(NothingSelected) as error:
        learn(tmp_path, [battle("big", (2, 9)), battle("wide", (2, 8))], use=use, decontaminate=str(held))
    assert str(error.value) == (
        f"nothing is selected: all 1 prompts hold one that must not be learnt from (decontaminate={held}), so no battle counts; "
        "give other prompts, or leave out of decontaminate= what these come from")


# the card ---------------------------------------------------------------------------------------------------------------------


def models(card: str) -> list[str]:
    """The lines of the table of models."""
    return [line for line in card.partition("## Models")[2].partition("##")[0].splitlines() if line.startswith("|")][2:]


def test_the_card_names_who_wrote_the_answers_and_who_judged(folders: Path, tmp_path: Path) -> None:
    more = write(tmp_path / "more.jsonl", [{**battle("big", (2, 9)), "model_a": "a|b <i>"}])
    run(tmp_path / "out", battles=[str(folders / "E"), str(more)], k=0, use="reward")
    assert models((tmp_path / "out" / "README.md").read_text()) == [
        r"| answers (a\|b \<i\>) | `fake/magpie?seed=1` |", "| answers | `big` |", "| answers | `fake/magpie?seed=2` |",
        "| judge | `fake/judge?prefers=long` |", "| judge | `j` |"]


def test_a_card_without_models_says_nothing_of_them(folders: Path) -> None:
    for name, there in (("pool", False), ("E", True)):
        card = (folders / name / "README.md").read_text()
        assert (("## Models" in card), ("written by the models above" in card)) == (there, there)
    assert models((folders / "E" / "README.md").read_text()) == [
        r"| models (a\|b \<i\>) | `fake/magpie?seed=1` |", "| models | `fake/magpie?seed=2` |",
        "| judge | `fake/judge?prefers=long` |"]


def test_a_plan_without_calls_has_no_empty_speed(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "arena-learning", f"battles={folders / 'E'}", "--plan"]) == 0
    assert "time    about 0s\n" in capsys.readouterr().out
    assert main(["run", "magpie", "n=1", "teacher=fake/magpie", "--plan"]) == 0
    assert " (fake at 1,000,000 tokens/s)\n" in capsys.readouterr().out
