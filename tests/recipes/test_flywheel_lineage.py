"""What a promoted model has learnt from, and what the gate of clean data makes of it: templates, leaks, refused iterations."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from campaigns import TOPICS, TRAIN, prompts, read, run, settings
from small import Scripted
from tiny_llama import build_tiny

from pica.cli import main
from pica.recipes.flywheel.ratings import rate
from pica.recipes.flywheel.records import Rating
from pica.synth.models.base import Answer, Request
from pica.synth.source import open_source

POOL = {"min_length": 0, "prefix": 0, "languages": [], "embedder": "none"}
SYSTEM = "You are a helpful and honest assistant who always answers as well as possible while being safe and polite."
CLOSING = "Answer in no more than three short sentences, and please do not use any lists or headings."
OWLS = "The owls of the wood know it"  # longer than what the target may say
_ANSWER = re.compile(r"Answer ([A-Z])[^\n]*\n+<(data-[0-9a-f]{12})>\n(.*?)\n</\2>", re.DOTALL)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny(tmp_path_factory.mktemp("models") / "tiny")


def newest(out: Path, rival: str) -> Any:
    """A judge that likes an answer the better, the more trainings there were when it first saw it; the rival's most or least."""
    seen: dict[str, int] = {}

    def judge(request: Request, sample: int) -> Answer:
        trained = len(list(out.glob("iterations/*/sft/manifest.json")))
        texts = {letter: text for letter, _, text in _ANSWER.findall(request.messages[-1]["content"])}
        favour = 10 if len(request.messages[-1]["content"]) % 3 else 1
        worth = {letter: favour if text.strip() == rival else 1 + 3 * seen.setdefault(text, trained)
                 for letter, text in texts.items()}
        assert request.schema is not None and len(worth) == 2
        return Answer(text=json.dumps({name: worth.get(name, "newer") for name in request.schema["properties"]}))

    return judge


def templated(folder: Path) -> Path:
    """Prompts with the same system prompt and closing line, and behind each another one that holds it."""
    def conversation(text: str) -> list[dict[str, str]]:
        return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]

    plain = {topic: f"Please tell me something about {topic}. {CLOSING}" for topic in TOPICS}
    longer = {topic: f"A friend of mine, who knows a lot about the ways of the world, was asked this last week, and "
                     f"you will know {topic} as well as any friend: {text}" for topic, text in plain.items()}
    file = folder / "templated.jsonl"
    file.write_text("".join(json.dumps({"category": topic, "prompt": conversation(text)}) + "\n"
                            for some in (plain, longer) for topic, text in some.items()), encoding="utf-8")
    return file


def test_templated_data_is_promoted_and_leaks_are_left_out(tmp_path: Path, model: Path, scripted: Scripted) -> None:
    out = tmp_path / "F"
    config, _ = scripted("newest", newest(out, OWLS))
    values = settings(
        tmp_path, model, seed=3, judge=[config.model_dump()],
        rivals=[{"name": f"fake/fixed?text={OWLS.replace(' ', '+')}", "label": "owls"}],
        data=[str(templated(tmp_path))], pool={**POOL, "duplicates": {"minhash": 0, "embedder": "none"}},
        answer={"max_tokens": 8}, gates={"judge": "off", "level": 0.9, "category_least": 99},
        sft={"k": 0, "at_k": "take", "train": {**TRAIN, "max_length": 512, "learning_rate": 3e-3}})
    run(values, out)
    found = read(out)
    topics = {name: {row["category"] for row in open_source(str(out / "pool"), split=name)}
              for name in ("held_out", "part1", "part2")}
    assert topics["held_out"].isdisjoint(topics["part1"] | topics["part2"])
    rejected = json.loads((out / "pool/manifest.json").read_text())["rows"]["rejected"]
    assert rejected == {"holds a held-out prompt": 2 * len(topics["held_out"]) - 8}
    assert [(one["started_from"], one["decision"]["promoted"]) for one in found["iterations"]] == [
        ("start", True), ("start", True), ("iteration 1", True)]
    first, second = ([f"iterations/{number}/data-sft"] for number in ("01", "02"))
    assert [one["learnt"] for one in found["iterations"]] == [[], first, [*first, *second]]
    better, clean = found["iterations"][2]["gates"][0], found["iterations"][2]["gates"][2]
    assert better["passed"] and better["reason"].startswith("iteration 2 wins 100.0%")
    learnt = [found["iterations"][number]["data"]["sft"] for number in (1, 2)]
    assert all(learnt) and clean["reason"] == f"none of {sum(learnt)} rows trained on holds an evaluation prompt"
    rows = {0: list(open_source(str(out / "start/evaluation"))),
            **{number: list(open_source(str(out / f"iterations/0{number}/evaluation"))) for number in (1, 2)}}
    drawn = {seed: rate(rows, level=0.9, rounds=100, seed=seed).ratings for seed in (0, 3)}
    assert [Rating(**one) for one in found["ratings"]] == drawn[3] != drawn[0]
    run({**values, "iterations": 3, "sft_from": "start"}, out, update=True)
    assert read(out)["iterations"][3]["learnt"] == ["iterations/03/data-sft"]


def test_data_that_holds_evaluation_prompts_refuses_once(tmp_path: Path, model: Path) -> None:
    """Battles of an earlier evaluation on the very prompts that the campaign measures on, which have a system prompt there."""
    tasks, first, out = prompts(tmp_path, 8), tmp_path / "E", tmp_path / "F"
    words = [f"models=[{{name: hf/{model}, label: mine}}, fake/magpie]", "verdict=scores", "audit=0", f"tasks={tasks}",
             "judge=fake/judge?prefers=checklist", "answer.max_tokens=16"]
    assert main(["eval", "arena", *words, "--out", str(first), "--quiet"]) == 0
    measured = tmp_path / "measured.jsonl"
    rows = [json.loads(line) for line in tasks.read_text(encoding="utf-8").splitlines()]
    measured.write_text("".join(json.dumps({**row, "prompt": [
        {"role": "system", "content": SYSTEM}, {"role": "user", "content": row["prompt"]}]}) + "\n" for row in rows))
    (tmp_path / "own").mkdir()
    run(settings(tmp_path / "own", model, held_out=0, tasks=str(measured), battles=[str(first)], pool=POOL, accumulate=True), out)
    _, second, third = read(out)["iterations"]
    refused, passed = ({gate["name"]: gate for gate in one["gates"]}["clean"] for one in (second, third))
    assert not refused["passed"] and refused["value"] == 8
    assert "data-sft-given-" in refused["reason"] and "look at what battles= brings in" in refused["reason"]
    assert "clean: " in second["decision"]["reason"]
    assert [step["name"] for step in third["steps"]] == ["battles-sft", "data-sft", "sft", "evaluation"], "given data counts once"
    assert passed["passed"] and third["learnt"] == ["iterations/02/data-sft"], "nothing has learnt from what was refused"
