"""The reproduction of the flywheel: its prompts, its controls, its statistics, its figure, and the whole command."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest
from script_modules import module_of

from pica.synth.models.base import assistant, user
from pica.synth.source import open_source

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "scripts" / "reproduce" / "flywheel"


@pytest.fixture
def script() -> Iterator[ModuleType]:
    """The script's modules, importable as they are for the script itself."""
    with module_of(SCRIPT, "figures") as figures:
        yield figures


def said(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))


def test_experts_say_what_is_wanted_and_others_do_not(script: ModuleType) -> None:
    import prompts

    assert len(set(prompts.TOPICS)) == len(prompts.TOPICS) == 80
    kinds = {kind.name: kind for kind in prompts.KINDS}
    for topic in prompts.TOPICS:
        answers = {(row["model"], row["id"]): said(row["answer"]) for row in prompts.answers(topic)}
        for task in prompts.tasks(topic):
            wanted, expert = said(task["reference"]), kinds[task["category"]].expert
            found = {rival: len(wanted & answers[rival, task["id"]]) for rival in ("guide", "teller", "starter", "slogan")}
            if expert:
                assert (len(wanted), found[expert]) == (5, 5), task["id"]
                assert [found[rival] for rival in prompts.EXPERTS if rival != expert] == [found["slogan"]] == [1], task["id"]
                assert 1 < found["starter"] < 5, task["id"]
            else:
                assert (len(wanted), found) == (1, {"guide": 1, "teller": 1, "starter": 1, "slogan": 0}), task["id"]
            assert answers["echo", task["id"]] == said(task["prompt"][-1]["content"])


def test_no_word_that_is_wanted_of_a_kind_is_asked_or_wanted_elsewhere(script: ModuleType) -> None:
    import prompts

    every = [*(word for kind in prompts.KINDS for word in kind.wanted), prompts.COURTESY.lower(), *prompts.TOPICS]
    assert len(every) == len(set(every)) == 18 + 1 + 80
    asked = said(" ".join(way for kind in prompts.KINDS for way in kind.asked))
    assert asked & set(every) == set()


def test_controls_draw_the_same_prompts_and_differ_in_whose_answer(script: ModuleType, tmp_path: Path) -> None:
    """Twenty prompts, each with a rival that is best by the mean of both orders; of two that are as good either may be taken."""
    import arms
    import settings
    import world

    scores = {"guide": (9, 7), "teller": (8, 8), "echo": (9, 1)}
    battles = [{"task": f"t{number}", "prompt": [user(f"p{number}")], "model_a": "start", "answer_a": "mine", "model_b": rival,
                "answer_b": f"{rival} {number}", "games": [{"score_a": 5, "score_b": score} for score in given]}
               for number in range(20) for rival, given in scores.items()]
    fought = world.write_rows(tmp_path / "battles.jsonl", battles)
    drawn = [arms.controls(world.World(settings.SMALLEST, tmp_path / str(turn), seed=3), 1, fought, 12) for turn in range(2)]
    assert [file.read_text() for file in drawn[0].values()] == [file.read_text() for file in drawn[1].values()]
    best, random = (lines(drawn[0][arm]) for arm in ("drawn", "unselected"))
    assert [row["messages"][0] for row in best] == [row["messages"][0] for row in random]
    assert len({row["messages"][0]["content"] for row in best}) == 12
    for row in best:
        number = row["messages"][0]["content"][1:]
        assert row["messages"][1] in [assistant(f"guide {number}"), assistant(f"teller {number}")]
    every = arms.controls(world.World(settings.SMALLEST, tmp_path / "many", seed=0), 1, fought, 20)["unselected"]
    assert {row["messages"][1]["content"].split()[0] for row in lines(every)} == {"guide", "teller", "echo"}


def row(task: str, one: str, other: str, verdict: str) -> dict[str, Any]:
    game = {"judge": "j", "verdict": verdict, "score_a": None, "score_b": None}
    return {"task": task, "model_a": one, "model_b": other, "games": [{**game, "order": "ab"}, {**game, "order": "ba"}]}


def seed_of(strengths: dict[str, int]) -> list[dict[str, Any]]:
    """Battles in which a model wins as many of ten prompts against the start as stated, and as many against each rival."""
    return [row(f"t{number}", model, other, "a>b" if number < wins else "b>a")
            for model, wins in strengths.items() for other in ("start", "guide", "echo") if other != model
            for number in range(10)]


STRENGTHS = {"start": 5, "selected 1": 7, "drawn 1": 6, "unselected 1": 5, "selected 2": 9, "drawn 2": 8, "unselected 2": 6}


def test_ratings_stand_on_one_scale(script: ModuleType) -> None:
    scale = script.Scale.of([seed_of(STRENGTHS)], rounds=200)
    ratings = [scale.rating(name) for name in ("start", "selected 1", "selected 2")]
    assert ratings[0].numbers == (1000, 1000, 1000)
    assert ratings[0].value < ratings[1].value < ratings[2].value
    leads = script.differences(scale, 2)
    assert list(leads) == [
        "selected 1 − start", "selected 2 − selected 1", "selected 2 − start", "drawn 2 − start", "unselected 2 − start",
        *(f"{one} {turn} − {other} {turn}" for one, other in (("selected", "drawn"), ("drawn", "unselected"),
                                                              ("selected", "unselected")) for turn in (1, 2))]
    assert leads["selected 2 − start"].value == pytest.approx(ratings[2].value - 1000)
    assert leads["selected 2 − selected 1"].value == pytest.approx(ratings[2].value - ratings[1].value)
    assert "of 2 iterations raised it beyond the interval" in script.verdict(scale, 2)


def test_the_verdict_says_what_does_not_hold(script: ModuleType) -> None:
    def told(*, start: int, selected: tuple[int, int], drawn: int, unselected: int) -> list[str]:
        wins = {"start": start, **{f"selected {turn}": wins for turn, wins in enumerate(selected, 1)},
                **{f"{arm} {turn}": wins for arm, wins in (("drawn", drawn), ("unselected", unselected)) for turn in (1, 2)}}
        text = script.verdict(script.Scale.of([seed_of(wins)], rounds=200), 2)
        return [re.sub(r" \(.*?\)| by .*? points", "", one) for one in re.split(r"(?<=[.;]) ", text)]

    drawn, random = "that of the same rivals' answers to drawn prompts.", "that of as many unselected rows."
    assert told(start=5, selected=(3, 1), drawn=9, unselected=9) == [
        "Learning from lost battles did not raise the rating beyond the interval;",
        "0 of 2 iterations raised it beyond the interval.",
        f"The last model is behind {drawn}", f"The last model is behind {random}"]
    assert told(start=1, selected=(9, 9), drawn=9, unselected=1) == [
        "Learning from lost battles raised the rating over 2 iterations;", "1 of 2 iterations raised it beyond the interval.",
        f"The last model cannot be told apart from {drawn}", f"The last model is ahead of {random}"]


def test_several_seeds_are_means_with_students_t(script: ModuleType) -> None:
    several = [seed_of(STRENGTHS), seed_of({**STRENGTHS, "selected 2": 8})]
    scale = script.Scale.of(several, rounds=100)
    alone = [script.Scale.of([one], rounds=100).rating("selected 2").value for one in several]
    found, middle = scale.rating("selected 2"), sum(alone) / 2
    assert found.value == pytest.approx(middle, abs=0.01)
    assert [one.rating("selected 2").value for one in scale.alone()] == alone
    assert found.high - middle == pytest.approx(12.7062 * abs(alone[0] - alone[1]) / 2, abs=0.1)  # t(.975, 1) * s / sqrt(2)


def test_the_figure_stands_for_itself(script: ModuleType) -> None:
    import curve

    drawn = curve.svg({"a<b": [(0, 1000, 1000, 1000), (1, 1100, 1050, 1150)], "c": [(0, 1000, 1000, 1000), (1, 990, 900, 1010)]},
                      x="iteration", y="rating")
    root = ElementTree.fromstring(drawn)
    found = {name: root.findall(f".//{{http://www.w3.org/2000/svg}}{name}") for name in ("circle", "path", "text", "title")}
    assert len(found["circle"]) == 4 and len(found["path"]) == 4
    assert {"a<b", "c", "iteration", "rating", "0", "1", "1000"} <= {one.text for one in found["text"]}
    assert found["title"][0].text == "rating by iteration. a<b: 1000 to 1100; c: 1000 to 990"
    places = [(float(one.attrib["cx"]), float(one.attrib["cy"])) for one in found["circle"]]
    assert places[0] == places[2] and places[1][0] == places[3][0] and places[1][1] < places[0][1] < places[3][1]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A checkpoint of a random Llama."""
    sys.path.insert(0, str(ROOT / "tests" / "recipes"))
    try:
        from tiny_chat import model, tokenizer
    finally:
        sys.path.remove(str(ROOT / "tests" / "recipes"))
    model(32).save_pretrained(tmp_path / "tiny")
    tokenizer().save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
        cwd=folder, capture_output=True, text=True, check=False)


def lines(file: Path) -> Sequence[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.mark.filterwarnings("ignore")  # what the models' packages say of themselves
def test_the_command_runs_at_its_smallest(tmp_path: Path, tiny: Path) -> None:
    command = ("--smallest", "--iterations", "1", "--model", f"hf/{tiny}", "--precision", "fp32", "--out", "out",
               "--figure", "f.svg")
    done = run(tmp_path, *command)
    assert done.returncode == 0, done.stderr[-3000:]
    out = tmp_path / "out"
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    models = results["seeds"][0]["models"]
    counts = {name: (one["rows"], one["steps"]) for name, one in models.items()}
    assert counts == {"start": (0, 0), "selected 1": (10, 3), "drawn 1": (10, 3), "unselected 1": (10, 3)}
    assert set(results["ratings"]) == {*models, "guide", "teller", "starter", "slogan", "echo"}
    assert results["ratings"]["start"][0] == 1000 and results["seeds"][0]["leads"].keys() == results["leads"].keys()
    assert results["verdict"] in done.stdout and "audit" in results["seeds"][0]["audit"]
    assert "Rating by iteration" in (out / "report.html").read_text(encoding="utf-8")
    ElementTree.parse(tmp_path / "f.svg")

    seed = out / "seed1"
    held, part = ({one["prompt"][1]["content"] for one in lines(seed / f"{name}.jsonl")} for name in ("held_out", "part1"))
    assert (len(held), len(part), held & part) == (10, 10, set())
    learnt = [list(open_source(str(seed / name))) for name in ("data1", "drawn1.jsonl", "unselected1.jsonl")]
    for rows in learnt:  # ten drawn of ten: every prompt once
        assert sorted(row["messages"][1]["content"] for row in rows) == sorted(part)
        assert all([message["role"] for message in row["messages"]] == ["system", "user", "assistant"] for row in rows)
    said = {(row["id"], row["answer"]): row["model"] for row in reversed(lines(seed / "rivals.jsonl"))}
    task = {one["prompt"][1]["content"]: one["id"] for one in lines(seed / "part1.jsonl")}
    whose = [{said[task[row["messages"][1]["content"]], row["messages"][2]["content"]] for row in rows} for rows in learnt]
    assert whose[0] | whose[1] <= {"guide", "teller", "starter"} and whose[2] & {"slogan", "echo"}

    before = {file: file.stat().st_mtime_ns for file in out.rglob("model.safetensors")}
    again = run(tmp_path, *command)
    assert again.returncode == 0 and again.stdout == done.stdout
    assert {file: file.stat().st_mtime_ns for file in out.rglob("model.safetensors")} == before


def test_mistakes_are_named(tmp_path: Path) -> None:
    wrong = run(tmp_path, "--smallest", "--iterations", "80", "--out", "out")
    assert wrong.returncode == 1 and wrong.stderr == (
        "error: 80 iterations need 81 topics (1 held out, 1 a part), and there are 80; give fewer\n")
    wrong = run(tmp_path, "--rate", "0", "--out", "out")
    assert wrong.returncode == 2 and "--rate 0.0 is not above 0" in wrong.stderr
