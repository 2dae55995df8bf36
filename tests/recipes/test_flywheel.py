"""Campaigns: what they leave behind, how they go on, what refuses a promotion, what stops them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from campaigns import STAGE, TRAIN, lasting, read, run, settings
from small import Scripted
from tiny_llama import build_tiny

from pica.cli import main
from pica.recipes.flywheel.campaign import NothingLearnt
from pica.recipes.flywheel.config import FlywheelConfig
from pica.synth.config import parse_config
from pica.synth.errors import BadRequest, BudgetSpent, Denied, FolderError, PicaError, Stopped, UsageError
from pica.synth.models.base import Request
from pica.synth.models.fake_brain import Brain, answers
from pica.synth.source import open_source
from pica.train.watch import Diverged


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny(tmp_path_factory.mktemp("models") / "tiny")


def test_a_campaign_leaves_every_step_and_every_reason(tmp_path: Path, model: Path) -> None:
    out = tmp_path / "F"
    outcome = run(settings(tmp_path, model), out)
    found = read(out)
    assert outcome.fresh and found["state"] == "complete" and found["reason"] == ""
    assert [one["candidate"] for one in found["iterations"]] == ["start", "iteration 1", "iteration 2"]
    assert [one["started_from"] for one in found["iterations"]] == ["start", "start", "start"]
    first = found["iterations"][1]
    assert [(step["name"], step["kind"], step["state"]) for step in first["steps"]] == [
        ("battles-sft", "battle", "done"), ("data-sft", "select", "done"), ("sft", "train", "done"),
        ("evaluation", "evaluate", "done")]
    assert first["data"] == {"sft": len(open_source(str(out / "iterations/01/data-sft")))}
    assert [gate["name"] for gate in first["gates"]] == ["better", "categories", "clean", "judge", "budget"]
    assert not first["decision"]["promoted"] and first["decision"]["best"] == "start"
    assert "start stays. better: " in first["decision"]["reason"]
    assert {rating["model"] for rating in found["ratings"]} == {"start", "iteration 1", "iteration 2", "writer", "no"}
    assert found["best"] == "start" and found["best_model"] == f"hf/{model}"
    assert found["spent"]["train_steps"] == 2 and found["spent"]["calls"] > 0
    assert "iterations/01/evaluation/report.html" in (out / "report.html").read_text(encoding="utf-8")


def test_a_complete_campaign_is_found_so(tmp_path: Path, model: Path) -> None:
    values, out = settings(tmp_path, model, iterations=1), tmp_path / "F"
    run(values, out)
    kept = [path for path in out.rglob("*") if path.is_file() and path.parent != out and not path.name.startswith(".lock")]
    before = {path: path.stat().st_mtime_ns for path in kept}
    assert not run(values, out).fresh
    assert {path: path.stat().st_mtime_ns for path in before} == before
    with pytest.raises(FolderError, match=r"F holds another config: config.seed: 0 -> 1"):
        run({**values, "seed": 1}, out)
    with pytest.raises(FolderError, match=r"has measured models already, so seed, held_out cannot change there"):
        run({**values, "seed": 1, "held_out": 7}, out, update=True)
    assert run({**values, "iterations": 2}, out).fresh
    assert len(read(out)["iterations"]) == 3
    assert {path: path.stat().st_mtime_ns for path in before} == before
    with pytest.raises(UsageError, match=r"make 4 parts, of which 2 are used, and 7 iterations of 1 part need 7 more; give fewer "
                       r"iterations, a smaller part_size or more prompts \(dropped: "):
        run({**values, "iterations": 9}, out)


def test_the_seed_decides_everything_and_a_stop_in_a_training_nothing(tmp_path: Path, model: Path) -> None:
    other = tmp_path / "other"
    values = settings(tmp_path, model, iterations=1, sft={**STAGE, "train": {**TRAIN, "max_steps": 3}})

    def clock() -> float:
        """Leaves the training a millionth of a second."""
        return 1e6 - 1e-6 if (other / "iterations/01/data-sft/manifest.json").exists() else 0.0

    for step, cap in ((1, 1e6), (2, 1e6 + 1e-6)):
        reason = (f"the campaign's budget (seconds=1e+06) was spent in iteration 01, sft at step {step} of 3; raise it and give "
                  "the same command to go on")
        with pytest.raises(BudgetSpent, match=f"^{re.escape(reason)}$"):
            run({**values, "budget": {"seconds": cap}}, other, clock=clock)
        stopped = read(other)
        assert (stopped["state"], stopped["reason"], stopped["spent"]["train_steps"]) == ("stopped", reason, step)
        assert [(gate["name"], gate["reason"]) for gate in stopped["iterations"][-1]["gates"]] == [("budget", reason)]
        assert (other / f"iterations/01/sft/checkpoints/checkpoint-{step}/sealed.json").exists()
    run({**values, "budget": {"seconds": 1e9}}, other, clock=clock)
    run(values, tmp_path / "one")
    whole, done = lasting(tmp_path / "one"), lasting(other)
    decided = [json.loads(found.pop("iterations/01/decision.json"))["gates"][:4] for found in (whole, done)]  # the fifth: seconds
    assert decided[0] == decided[1] and done == whole and read(other)["spent"]["train_steps"] == 3
    run({**values, "seed": 1}, tmp_path / "third")
    assert lasting(tmp_path / "third")["pool/data/held_out-00000-of-00001.parquet"] != lasting(tmp_path / "one")[
        "pool/data/held_out-00000-of-00001.parquet"]


def test_every_stage_in_its_order(tmp_path: Path, model: Path) -> None:
    out = tmp_path / "F"
    online = {**TRAIN, "answer_tokens": 4, "learning_rate": 1e-4}
    online = {**{name: value for name, value in online.items() if name != "too_long"}, "max_length": 512}
    run(settings(tmp_path, model, iterations=1, stages=["online", "dpo", "reward", "sft"],
                 reward={"k": 0, "train": {**TRAIN, "too_long": "reject", "max_length": 512}},
                 online={"k": 0, "train": online}), out)
    steps = read(out)["iterations"][1]["steps"]
    assert [step["name"] for step in steps] == [
        "battles-sft", "data-sft", "sft", "battles-dpo", "data-dpo", "dpo", "battles-reward", "data-reward", "reward",
        "data-online", "online", "evaluation"]
    made = json.loads((out / "iterations/01/online/manifest.json").read_text())
    assert made["config"]["model"].endswith("/dpo") and made["config"]["rewards"][0]["model"]["name"].endswith("/reward")
    fought = next(iter(open_source(str(out / "iterations/01/battles-dpo"))))
    assert fought["model_a"] == "iteration 1 sft"
    assert read(out)["iterations"][1]["model"] == "iterations/01/online"


def test_earlier_data_and_the_start_again_by_the_thresholds_of_the_paper(tmp_path: Path, model: Path) -> None:
    out, train = tmp_path / "F", {"train": {**TRAIN, "max_length": 256}}
    run(settings(tmp_path, model, accumulate=True, sft_from="start", stages=["sft", "dpo"], sft=train, dpo=train,
                 judge="fake/judge?prefers=short"), out)
    rules = [json.loads((out / f"iterations/{place}/manifest.json").read_text())["notes"]["rules"] for place in
             ("01/data-sft", "01/data-dpo", "02/data-sft", "02/data-dpo")]
    assert [(one["preset"], one["k"]) for one in rules] == [("first", 3), ("first", 2), ("later", 1), ("later", 2)]
    assert [step["figures"]["k"] for one in read(out)["iterations"] for step in one["steps"] if step["kind"] == "select"] == [
        3, 2, 1, 2]
    second = json.loads((out / "iterations/02/sft/manifest.json").read_text())
    assert [Path(one["source"]).relative_to(out.absolute()).as_posix() for one in second["config"]["data"]] == [
        "iterations/01/data-sft", "iterations/02/data-sft"]
    assert second["model"]["name"] == f"hf/{model}"


# ---- killed, and gone on with ----


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_killed_campaign_ends_in_the_same_bytes(tmp_path: Path, model: Path) -> None:
    harness = Path(__file__).with_name("campaign_kills.py")
    done = subprocess.run([sys.executable, str(harness), str(tmp_path), str(model)], capture_output=True, text=True, check=False,
                          timeout=3600, env={**os.environ, "PYTHONPATH": str(harness.parents[2]), "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    killed = json.loads(done.stdout)
    assert sum(killed.values()) >= len(killed) - 1, f"hardly any run was still going when it was to be killed: {killed}"
    whole, found = lasting(tmp_path / "whole"), read(tmp_path / "killed")["iterations"]
    assert lasting(tmp_path / "killed") == whole
    assert {name for name in whole if name.endswith("/model.safetensors")} == {
        f"iterations/{place}/model.safetensors" for place in ("01/sft", "01/dpo", "02/dpo")}
    assert [(one["started_from"], one["decision"]["promoted"]) for one in found[1:]] == [("start", True), ("iteration 1", False)]
    assert [one["gates"] for one in found] == [one["gates"] for one in read(tmp_path / "whole")["iterations"]]


# ---- what refuses a promotion ----


def test_a_spent_budget_refuses_and_a_larger_one_goes_on(tmp_path: Path, model: Path) -> None:
    out, values = tmp_path / "F", settings(tmp_path, model, iterations=1)
    with pytest.raises(BudgetSpent):
        run({**values, "budget": {"calls": 120}}, out)
    stopped = read(out)
    assert stopped["state"] == "stopped"
    assert stopped["reason"] == ("the campaign's budget (calls=120) was spent in iteration 01, evaluation; raise it and give the "
                                 "same command to go on")
    assert stopped["spent"]["calls"] <= 120
    last = stopped["iterations"][-1]
    assert [(gate["name"], gate["passed"]) for gate in last["gates"]] == [("budget", False)]
    assert [(step["name"], step["state"], step["reason"]) for step in last["steps"][2:]] == [
        ("sft", "done", ""), ("evaluation", "stopped", stopped["reason"])]
    assert not last["decision"]["promoted"] and last["decision"]["best"] == "start"
    assert not (out / "iterations/01/decision.json").exists()
    run({**values, "budget": {"calls": 10_000}}, out)
    assert read(out)["state"] == "complete"


def test_a_judge_that_fails_its_audit_refuses(tmp_path: Path, model: Path) -> None:
    out = tmp_path / "F"
    run(settings(tmp_path, model, iterations=1, judge="fake/judge?prefers=long", evaluation={"audit": {"tasks": 8}},
                 gates={"embedder": "hash"}), out)
    found = read(out)
    gates = {gate["name"]: gate for gate in found["iterations"][1]["gates"]}
    assert not gates["judge"]["passed"] and "fails" in gates["judge"]["reason"]
    assert "judge: " in found["iterations"][1]["decision"]["reason"]
    assert any("did not pass its audit at the start" in text for text in found["warnings"])


# ---- what stops a campaign ----


def test_a_threshold_that_selects_nothing_can_be_lowered(tmp_path: Path, model: Path) -> None:
    out, values = tmp_path / "F", settings(tmp_path, model, iterations=1)
    with pytest.raises(NothingLearnt, match=r"iteration 1 found nothing to learn from .*lower k: k=1 selects"):
        run({**values, "sft": {**STAGE, "k": 9}}, out)
    stopped = read(out)
    assert stopped["state"] == "stopped"
    assert [(step["name"], step["state"]) for step in stopped["iterations"][1]["steps"]] == [
        ("battles-sft", "done"), ("data-sft", "skipped")]
    calls = stopped["spent"]["calls"]
    with pytest.raises(NothingLearnt, match=r"data-sft: \d+ rows are selected, and least=99\)"):
        run({**values, "sft": {**STAGE, "least": 99}}, out, update=True)
    run(values, out, update=True)
    done = read(out)
    assert done["state"] == "complete" and done["iterations"][1]["data"]["sft"] > 0
    battles = next(step for step in done["iterations"][1]["steps"] if step["name"] == "battles-sft")
    assert battles["spent"]["calls"] <= calls, "the battles were kept"


def test_an_unknown_embedder_is_refused_before_anything_runs(tmp_path: Path, model: Path) -> None:
    with pytest.raises(UsageError, match="unknown embedder 'hsah'; did you mean 'hash'"):
        run(settings(tmp_path, model, gates={"embedder": "hsah"}), tmp_path / "F")
    assert not (tmp_path / "F" / "pool").exists()


def test_prompts_that_are_all_copies_are_refused(tmp_path: Path, model: Path) -> None:
    file = tmp_path / "same.jsonl"
    file.write_text('{"prompt": "Say something about rivers and lakes."}\n' * 40, encoding="utf-8")
    with pytest.raises(UsageError, match=r"1 of 40 prompts are left.*the same prompt \(39\)"):
        run(settings(tmp_path, model, data=[str(file)]), tmp_path / "F")
    assert read(tmp_path / "F")["state"] == "stopped"


def test_a_training_that_diverges_can_be_given_another_rate(tmp_path: Path, model: Path) -> None:
    out, values = tmp_path / "F", settings(tmp_path, model, iterations=1)
    wild = {**STAGE, "train": {**TRAIN, "max_steps": 3, "learning_rate": 1.0, "weight_decay": 1e38}}
    with pytest.raises(Diverged):
        run({**values, "sft": wild}, out)
    assert read(out)["state"] == "stopped" and "learning_rate" in read(out)["reason"]
    kept = lasting(out)
    run(values, out, update=True)
    assert read(out)["state"] == "complete"
    assert {name: data for name, data in lasting(out).items() if name in kept} == kept


def test_a_judge_that_is_down_and_comes_back(tmp_path: Path, model: Path, scripted: Scripted) -> None:
    state = {"down": True}

    def judge(request: Request, sample: int) -> Any:
        if state["down"]:
            raise Denied("the judge is away; give the same command when it is back")
        return answers(request, Brain("judge", prefers="checklist"))[sample]

    config, _ = scripted("judge", judge)
    out, values = tmp_path / "F", settings(tmp_path, model, iterations=1, judge=[config.model_dump()])
    with pytest.raises((Stopped, PicaError), match="the judge is away"):
        run(values, out)
    stopped = read(out)
    (step,) = stopped["iterations"][0]["steps"]
    assert stopped["state"] == "stopped" and "the judge is away" in stopped["reason"]
    assert (step["folder"], step["kind"], step["state"], step["reason"]) == (
        "start/evaluation", "evaluate", "stopped", stopped["reason"])
    assert "the judge is away" in (out / "report.html").read_text(encoding="utf-8")
    state["down"] = False
    run(values, out)
    assert read(out)["state"] == "complete"


def test_rivals_that_fail_to_answer(tmp_path: Path, model: Path, scripted: Scripted) -> None:
    state = {"refuses": "aeiou"}

    def rival(request: Request, sample: int) -> Any:
        if request.messages[-1]["content"].removesuffix(".")[-2] in state["refuses"]:
            raise BadRequest("this rival does not speak of that")
        return answers(request, Brain("magpie"))[sample]

    config, _ = scripted("rival", rival)
    out, rivals = tmp_path / "F", [{**config.model_dump(), "label": "picky"}]
    values = settings(tmp_path, model, iterations=1, rivals=rivals)
    with pytest.raises(Stopped, match=r"start, evaluation: \d of 8 battles got no answer \(bad request \d\); give the same"):
        run(values, out)
    assert read(out)["state"] == "stopped"
    run({**values, "missing": 0.9}, out)
    found = read(out)
    assert found["state"] == "complete"
    missing = [step["figures"]["missing"] for one in found["iterations"] for step in one["steps"] if step["kind"] != "select"
               and step["kind"] != "train"]
    assert sum(missing) > 0 and all(step["rows"] for one in found["iterations"] for step in one["steps"])
    state["refuses"] = "abcdefghijklmnopqrstuvwxyz"
    with pytest.raises(Stopped, match=r"none of the 8 judgments could be made, most .*: bad request \(8\); 'picky'"):
        run({**values, "seed": 1}, tmp_path / "other")
    assert read(tmp_path / "other")["state"] == "stopped"
    state["refuses"] = ""
    run({**values, "seed": 1}, tmp_path / "other")
    assert read(tmp_path / "other")["state"] == "complete"


def test_a_judge_that_cannot_be_read_stops_the_start(tmp_path: Path, model: Path, scripted: Scripted) -> None:
    config, asked = scripted("mumbler", lambda request, sample: "I would rather not say.")
    out, values = tmp_path / "F", settings(tmp_path, model, iterations=1)
    with pytest.raises(Stopped, match=r"32 of 32 games in start/evaluation have no verdict that can be read, and at most 20%"):
        run({**values, "judge": config.model_dump()}, out)
    before, found = len(asked.requests), read(out)
    assert found["state"] == "stopped" and [step["state"] for step in found["iterations"][0]["steps"]] == ["stopped"]
    with pytest.raises(Stopped, match="with another judge and --update"):
        run({**values, "judge": config.model_dump()}, out)
    assert len(asked.requests) == before
    run(values, out, update=True)
    assert read(out)["state"] == "complete"


def test_battles_without_an_answer_are_asked_for_again(tmp_path: Path, model: Path, scripted: Scripted) -> None:
    state = {"asked": 0}

    def rival(request: Request, sample: int) -> Any:
        state["asked"] += 1
        if 4 < state["asked"] < 8:
            raise BadRequest("the rival is asleep")
        return answers(request, Brain("magpie"))[sample]

    config, _ = scripted("rival", rival)
    values = settings(tmp_path, model, iterations=1, rivals=[{**config.model_dump(), "label": "sleepy"}])
    with pytest.raises(Stopped, match=r"3 of 8 battles got no answer"):
        run(values, tmp_path / "F")
    run(values, tmp_path / "F")
    found = read(tmp_path / "F")
    assert found["state"] == "complete" and found["iterations"][0]["steps"][0]["figures"]["missing"] == 0


# ---- settings ----


@pytest.mark.parametrize(("more", "said"), [
    ({"data": []}, "data is missing"), ({"rivals": []}, "rivals are missing"), ({"judge": []}, "judge is missing"),
    ({"held_out": 0}, "give held_out=N, or tasks=NAME"), ({"tasks": "pica"}, "held-out prompts or on tasks"),
    ({"stages": ["reward"]}, "reward without online"), ({"stages": ["online"]}, "nothing that scores"),
    ({"stages": ["sft", "sft"]}, "names one twice"), ({"rivals": [{"name": "local", "label": "start"}]}, "'start' is taken"),
    ({"rivals": [{"name": "local", "label": "iteration 1"}]}, "'iteration 1' is taken"),
    ({"sft": {"train": {"learning_rat": 1}}}, "sft.train: unknown key 'learning_rat'; did you mean 'learning_rate'"),
    ({"sft": {"train": {"data": "D"}}}, "sft.train.data is set by the campaign"),
    ({"sft": {"train": {"revision": "v1"}}}, "sft.train.revision is set by the campaign"),
    ({"sft": {"train": {"budget": {"seconds": 9}}}}, "sft.train.budget is set by the campaign"),
    ({"sft": {"config": "nothing"}}, "no settings of a training 'nothing'; give a YAML file, or one of: .*arena-learning-sft"),
    ({"pool": {"held_out": 3}}, "pool.held_out is set by the campaign"), ({"pool": {"lenght": 3}}, "pool: unknown key 'lenght'"),
    ({"evaluation": {"models": []}}, "evaluation.models is set by the campaign"),
    ({"gates": {"error_rate": "campaign"}}, "'per-decision' or 'familywise'")])
def test_wrong_settings_show_before_anything_runs(tmp_path: Path, more: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_config(FlywheelConfig, settings(tmp_path, tmp_path, **more))


def test_battles_that_are_none_cost_nothing(tmp_path: Path, model: Path, scripted: Scripted) -> None:
    judge, asked = scripted("judge", lambda request, sample: "5")
    for battles, said in (("nowhere", "there is no file or folder nowhere"),
                          (str(tmp_path / "prompts.jsonl"), "holds no battles")):
        with pytest.raises(PicaError, match=said):
            run(settings(tmp_path, model, judge=judge.model_dump(), battles=[battles]), tmp_path / "F")
    assert not asked.requests


def test_the_plan_says_what_would_run(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "campaign.yaml"
    file.write_text(json.dumps(settings(tmp_path, model, stages=["sft", "dpo"])), encoding="utf-8")
    assert main(["flywheel", "--config", str(file), "--plan"]) == 0
    text = capsys.readouterr().out
    assert "nothing was asked and nothing was trained" in text and "battles-dpo" in text
    assert "\ngates  of 8 prompts without a tie, in every iteration (95% interval) 8 must be won\n" in text
    assert "\nif no model is better, one of 2 is promoted by luck with a chance of up to 5%\n" in text
    assert main(["flywheel", "--config", str(file), "--plan", "gates.error_rate=familywise"]) == 0
    assert ("\ngates  of 8 prompts without a tie, in iteration 1 (97.5% interval) 8 must be won; in iteration 2 (99.17% "
            "interval) all are not enough: hold out more\n") in capsys.readouterr().out
    assert main(["flywheel", "--config", str(file), "--plan", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["total"]["train_steps"] == 4 and found["total"]["calls"] > 0 and len(found["iterations"]) == 2
    assert not (tmp_path / "F").exists()


def test_the_command_says_what_became_of_it(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "campaign.yaml"
    file.write_text(json.dumps(settings(tmp_path, model, iterations=1)), encoding="utf-8")
    words = ["flywheel", "--config", str(file), "--out", str(tmp_path / "F")]
    assert main([*words, "--quiet"]) == 0
    text = capsys.readouterr().out
    assert "iteration 1: refused: start stays. better: " in text and f"best     hf/{model}" in text
    swept = "won every game against the rest"
    assert f"\n  writer                  unbounded  {swept}\n  iteration 1                 1,000  [1,000, 1,000]\n" in text
    start, first = read(tmp_path / "F")["iterations"]
    measured = json.loads((tmp_path / "F/start/evaluation/leaderboard.json").read_text(encoding="utf-8"))
    assert {one["model"]: (one["unbounded"] or None) for one in start["ratings"]} == {
        one["model"]: one["unbounded"] for one in measured} == {"writer": swept, "no": None, "start": None}
    assert start["method"].startswith("Bradley-Terry ratings of 3 models") and "of 4 models" in first["method"]
    assert main([*words, "--quiet"]) == 0
    assert capsys.readouterr().out.startswith("complete already: nothing was run\n")
    assert main([*words, "--json"]) == 0
    done = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (done["event"], done["fresh"], done["state"]) == ("done", False, "complete")
    assert main(["view", str(tmp_path / "F"), "--no-open"]) == 0
    assert "campaign, complete: 0 of 1 iterations promoted; best: " in capsys.readouterr().out
    assert main(["flywheel", "--help"]) == 0
    assert "shipped configs (--config NAME): arena-learning, tiny" in capsys.readouterr().out

