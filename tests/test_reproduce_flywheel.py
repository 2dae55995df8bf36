"""The reproduction of the flywheel: its prompts, its statistics, its figure, and the whole command at its smallest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest
from script_modules import module_of

from pica.eval.tasks import read_tasks
from pica.synth.models.base import Request, Sampling
from pica.synth.models.fake_brain import Brain, answer, topic_of
from pica.synth.source import open_source

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "scripts" / "reproduce" / "flywheel"
PROMPTS = ROOT / "recipes" / "flywheel" / "prompts" / "tiny.jsonl"
CATEGORIES = ["advice", "cooking", "history", "language", "nature", "numbers"]


@pytest.fixture
def script() -> Iterator[ModuleType]:
    """The script's modules, importable as they are for the script itself."""
    with module_of(SCRIPT, "figures") as figures:
        yield figures


def words(text: str) -> set[str]:
    return set("".join(char if char.isalpha() else " " for char in text.lower()).split())


def test_prompts_are_of_six_categories_and_all_different() -> None:
    tasks = read_tasks(str(PROMPTS))
    assert Counter(task.category for task in tasks) == dict.fromkeys(CATEGORIES, 27)
    texts = [task.conversation[0]["content"] for task in tasks]
    assert len({" ".join(text.lower().split()[:6]) for text in texts}) == len(texts)
    near = [(one, other) for number, one in enumerate(texts) for other in texts[:number]
            if len(words(one) & words(other)) > 0.5 * len(words(one) | words(other))]
    assert near == []


def runs(text: str, length: int) -> set[tuple[str, ...]]:
    """Every `length` words in a row."""
    said = text.lower().split()
    return {tuple(said[place:place + length]) for place in range(len(said) - length + 1)}


def test_prompts_are_not_those_of_the_benchmark() -> None:
    held = set[tuple[str, ...]]().union(*(runs(message["content"], 5) for task in read_tasks("pica")
                                          for message in task.conversation))
    assert [task.id for task in read_tasks(str(PROMPTS)) if runs(task.conversation[0]["content"], 5) & held] == []


def test_checklists_want_the_topic_and_the_opening() -> None:
    """The words that the fake judge looks for, but for `good` of the heading, are those the fake writer opens with."""
    for task in read_tasks(str(PROMPTS)):
        asked = task.conversation[0]["content"]
        said = answer(Request(task="chat", messages=task.conversation, sampling=Sampling(temperature=0.0, max_tokens=24)), 0,
                      Brain("magpie")).text
        if said.startswith("I'm sorry"):  # the writer refuses now and then
            continue
        assert said.startswith(f"Here is an answer about {topic_of(asked)}."), task.id
        assert words(topic_of(asked)) <= words(task.notes), task.id


def row(task: str, one: str, other: str, verdict: str) -> dict[str, Any]:
    game = {"judge": "j", "verdict": verdict, "score_a": None, "score_b": None}
    return {"task": task, "model_a": one, "model_b": other, "games": [{**game, "order": "ab"}, {**game, "order": "ba"}]}


def seed_of(strengths: dict[str, int]) -> list[dict[str, Any]]:
    """Battles in which a model wins as many of ten prompts against the start as stated, and as many against each rival."""
    return [row(f"t{number}", model, other, "a>b" if number < wins else "b>a")
            for model, wins in strengths.items() for other in ("start", "writer", "babble") if other != model
            for number in range(10)]


STRENGTHS = {"start": 5, "selected 1": 7, "unselected 1": 5, "selected 2": 9, "unselected 2": 6}
MODELS: dict[str, Any] = {name: {"rows": 4, "steps": 1, "record": {"wins": wins, "ties": 0, "losses": 10 - wins}}
                          for name, wins in STRENGTHS.items()}


def test_ratings_stand_on_one_scale(script: ModuleType) -> None:
    scale = script.Scale.of([seed_of(STRENGTHS)], rounds=200)
    ratings = [scale.rating(name) for name in ("start", "selected 1", "selected 2")]
    assert ratings[0].numbers == (1000, 1000, 1000)
    assert ratings[0].value < ratings[1].value < ratings[2].value
    leads = script.differences(scale, 2)
    assert list(leads) == ["selected 2 − start", "unselected 2 − start", "selected 2 − unselected 2", "selected 1 − start",
                           "selected 2 − selected 1"]
    assert leads["selected 2 − start"].value == pytest.approx(ratings[2].value - 1000)
    assert leads["selected 2 − selected 1"].value == pytest.approx(ratings[2].value - ratings[1].value)
    assert "is ahead of that of as many unselected rows" in script.verdict(scale, 2)
    assert "from iteration to iteration" in script.verdict(scale, 2)


def test_the_verdict_says_what_does_not_hold(script: ModuleType) -> None:
    def said(**strengths: int) -> str:
        told: str = script.verdict(script.Scale.of([seed_of({name.replace("_", " "): wins for name, wins in strengths.items()})],
                                                   rounds=200), 2)
        return told

    worse = said(start=5, selected_1=3, unselected_1=5, selected_2=1, unselected_2=9)
    assert "did not raise the rating beyond the interval" in worse and "is behind that" in worse
    even = said(start=5, selected_1=9, unselected_1=9, selected_2=9, unselected_2=9)
    assert "though not in every iteration" in even and "cannot be told apart" in even


def test_several_seeds_are_means_with_students_t(script: ModuleType) -> None:
    several = [seed_of(STRENGTHS), seed_of({**STRENGTHS, "selected 2": 8})]
    scale = script.Scale.of(several, rounds=100)
    alone = [script.Scale.of([one], rounds=100).rating("selected 2").value for one in several]
    found, middle = scale.rating("selected 2"), sum(alone) / 2
    assert found.value == pytest.approx(middle)
    assert found.high - middle == pytest.approx(12.7062 * abs(alone[0] - alone[1]) / 2, rel=1e-4)  # t(.975, 1) * s / sqrt(2)


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
    command = ("--smallest", "--iterations", "1", "--model", f"hf/{tiny}", "--rate", "1e-3", "--out", "out", "--figure", "f.svg")
    done = run(tmp_path, *command)
    assert done.returncode == 0, done.stderr[-3000:]
    out = tmp_path / "out"
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    models = results["seeds"][0]["models"]
    counts = {name: (one["rows"], one["steps"]) for name, one in models.items()}
    assert counts == {"start": (0, 0), "selected 1": (4, 1), "unselected 1": (4, 1)}
    assert set(results["ratings"]) == {*models, "writer", "echo", "slogan", "babble"} and results["ratings"]["start"][0] == 1000
    assert results["verdict"] in done.stdout and "audit" in results["seeds"][0]["audit"]
    assert "Rating by iteration" in (out / "report.html").read_text(encoding="utf-8")
    ElementTree.parse(tmp_path / "f.svg")

    seed = out / "seed0"
    held, part = ({one["prompt"] for one in lines(seed / f"{name}.jsonl")} for name in ("held_out", "part1"))
    assert (len(held), len(part), held & part) == (6, 4, set())
    control = [one["messages"] for one in lines(seed / "unselected1.jsonl")]
    assert sorted(messages[0]["content"] for messages in control) == sorted(part)  # four drawn of four: every prompt once
    assert [messages[-1]["role"] for messages in control] == ["assistant"] * 4
    learnt = open_source(str(seed / "data1"))
    assert {row["messages"][0]["content"] for row in learnt} == part
    assert all(row["messages"][-1]["content"].startswith("Here is an answer about") for row in learnt)

    before = {file: file.stat().st_mtime_ns for file in out.rglob("model.safetensors")}
    again = run(tmp_path, *command)
    assert again.returncode == 0 and again.stdout == done.stdout
    assert {file: file.stat().st_mtime_ns for file in out.rglob("model.safetensors")} == before


def test_mistakes_are_named(tmp_path: Path) -> None:
    wrong = run(tmp_path, "--smallest", "--iterations", "40", "--out", "out")
    assert wrong.returncode == 1 and wrong.stderr == (
        "error: 40 iterations need 166 prompts (6 held out, 4 a part), and there are 162; give fewer\n")
    wrong = run(tmp_path, "--rate", "0", "--out", "out")
    assert wrong.returncode == 2 and "--rate 0.0 is not above 0" in wrong.stderr
