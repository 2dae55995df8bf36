"""Whole trainings on a tiny random Llama: weights move, what is saved answers, folders are claimed and gone on with."""

from __future__ import annotations

import asyncio
import io
import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lessons import Write, pairs, talks
from tiny_llama import build_tiny

from pica.cli import main
from pica.synth.config import parse_config
from pica.synth.errors import BudgetSpent, FolderError, Interrupted, UsageError
from pica.synth.models import open_model
from pica.synth.models.base import Answer, ModelConfig, Request, Sampling, assistant, user
from pica.train.checkpoints import step_of
from pica.train.progress import TrainProgress
from pica.train.run import Outcome, plan, train
from pica.train.stage import load_stage
from pica.train.watch import Diverged

pytestmark = pytest.mark.filterwarnings("ignore")  # the trainers' own warnings are not ours to mend

ROWS = {"sft": talks, "dpo": pairs, "reward": pairs}


def config_of(stage: str, data: Any, model: Path, **values: Any) -> Any:
    return parse_config(load_stage(stage).config_class, {
        "data": str(data) if isinstance(data, Path) else data, "model": str(model), "batch_size": 4, "max_steps": 3, "warmup": 0,
        "learning_rate": 1e-2, "device": "cpu", "log_steps": 1, **values})


def trained(stage: str, data: Any, model: Path, out: Path, *, update: bool = False, **values: Any) -> Outcome:
    return train(load_stage(stage), config_of(stage, data, model, **values), out, update=update)


def ask(folder: Path, request: Request) -> Answer:
    async def answer() -> Answer:
        model = open_model(ModelConfig(name=f"hf/{folder}"))
        try:
            return (await model.generate(request))[0]
        finally:
            await model.close()

    return asyncio.run(answer())


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def moved(before: Path, after: Path) -> float:
    old, new = weights(before), weights(after)
    return sum(float((new[name] - old[name]).norm()) for name in old if name in new)


@pytest.mark.parametrize("stage", ["sft", "dpo", "reward"])
@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_a_stage_trains_and_what_it_saves_is_used_at_once(stage: str, lora: bool, tiny: Path, lines: Write,
                                                           tmp_path: Path) -> None:
    out = tmp_path / "M"
    outcome = trained(stage, lines("data", ROWS[stage]()), tiny, out, lora=lora)
    manifest = outcome.manifest
    assert outcome.fresh and manifest == json.loads((out / "manifest.json").read_text())
    assert manifest["steps"] == 3 and math.isfinite(manifest["loss"]["first"])
    assert manifest["loss"]["last"] < manifest["loss"]["first"]
    assert moved(tiny, out) > 0
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in metrics] == [1, 2, 3] and metrics[-1]["num_tokens"] == manifest["tokens"]
    names = {item.name for item in out.iterdir()}
    assert {"README.md", "report.html", "settings.json", "tokenizer.json", "chat_template.jinja", "config.json"} <= names
    assert not names & {"checkpoints", ".work"} and ("adapter" in names) == lora
    assert json.loads((out / "config.json").read_text())["use_cache"]
    talk = (user("What is 3?"), assistant("It is 3."))
    if stage == "reward":
        assert len(ask(out, Request(task="score", messages=talk)).values) == 1
    else:
        answer = ask(out, Request(task="chat", messages=talk[:1], sampling=Sampling(temperature=0, max_tokens=4)))
        assert answer.completion_tokens > 0


def test_a_reward_model_prefers_what_it_learnt(tiny: Path, lines: Write, tmp_path: Path) -> None:
    trained("reward", lines("data", pairs()), tiny, tmp_path / "M", max_steps=8)
    good, bad = (ask(tmp_path / "M", Request(task="score", messages=(user("What is 40?"), assistant(text)))).values[0]
                 for text in ("It is 40.", "No idea, sorry."))
    assert good > bad


@pytest.mark.parametrize("settings", [
    {"loss_type": "ipo"}, {"loss_type": "robust", "label_smoothing": 0.1}, {"loss_type": "sigmoid_norm"},
    {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.5]}, {"precompute_reference": True}], ids=str)
def test_the_losses_of_dpo(settings: dict[str, Any], tiny: Path, lines: Write, tmp_path: Path) -> None:
    trained("dpo", lines("data", pairs(8)), tiny, tmp_path / "M", max_steps=2, **settings)
    assert moved(tiny, tmp_path / "M") > 0


def test_dpo_raises_the_margin(tiny: Path, lines: Write, tmp_path: Path) -> None:
    trained("dpo", lines("data", pairs(8)), tiny, tmp_path / "M", max_steps=4)
    metrics = [json.loads(line) for line in (tmp_path / "M" / "metrics.jsonl").read_text().splitlines()]
    assert metrics[0]["rewards/margins"] == 0 < metrics[-1]["rewards/margins"]


def test_a_complete_folder_is_left_alone_and_another_config_refused(tiny: Path, lines: Write, tmp_path: Path) -> None:
    data, out = lines("data", talks(4)), tmp_path / "M"
    trained("sft", data, tiny, out, max_steps=1, budget={"seconds": 1e-9})  # nothing is left to stop after its last step
    before = {path: path.stat().st_mtime_ns for path in out.iterdir() if path.name != ".lock"}
    again = trained("sft", data, tiny, out, max_steps=1, log_steps=7, per_device_batch_size=2)
    assert not again.fresh and {path: path.stat().st_mtime_ns for path in before} == before
    with pytest.raises(FolderError, match=r"another training: config.learning_rate: 0.01 -> 0.02\. Give another --out, or --upd"):
        trained("sft", data, tiny, out, max_steps=1, learning_rate=2e-2)
    data.write_text(data.read_text().replace("Sure?", "Surely?"))
    with pytest.raises(FolderError, match="data: "):
        trained("sft", data, tiny, out, max_steps=1)
    assert trained("sft", data, tiny, out, max_steps=1, update=True).fresh
    trained("sft", data, tiny, out, max_steps=1)


def test_another_folders_content_is_not_touched(tiny: Path, lines: Write, tmp_path: Path) -> None:
    (tmp_path / "M").mkdir()
    (tmp_path / "M" / "thesis.txt").write_text("years of work")
    with pytest.raises(FolderError, match=r"holds something else \(thesis.txt\)"):
        trained("sft", lines("data", talks(4)), tiny, tmp_path / "M")


def test_what_fails_before_training_leaves_no_folder(tiny: Path, lines: Write, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="empty answer"):
        trained("sft", lines("data", [{"messages": [user("hi"), assistant(" ")]}]), tiny, tmp_path / "M")
    assert not (tmp_path / "M").exists()


def test_a_trained_folder_trains_further_and_an_unfinished_one_does_not(tiny: Path, lines: Write, tmp_path: Path) -> None:
    data = lines("data", talks(4))
    trained("sft", data, tiny, tmp_path / "A", max_steps=1)
    trained("dpo", lines("pairs", pairs(4)), tmp_path / "A", tmp_path / "B", max_steps=1)
    (tmp_path / "A" / "manifest.json").unlink()
    with pytest.raises(FolderError, match="has not ended"):
        trained("sft", data, tmp_path / "A", tmp_path / "C", max_steps=1)


def test_a_reward_model_cannot_be_taught_to_write(tiny: Path, lines: Write, tmp_path: Path) -> None:
    trained("reward", lines("pairs", pairs(4)), tiny, tmp_path / "RM", max_steps=1)
    with pytest.raises(UsageError, match="is a reward model"):
        trained("sft", lines("data", talks(4)), tmp_path / "RM", tmp_path / "M")


def test_a_loss_that_is_no_number_stops_the_training(tiny: Path, lines: Write, tmp_path: Path) -> None:
    import torch
    from transformers import LlamaForCausalLM

    data, out, broken = lines("data", talks()), tmp_path / "M", build_tiny(tmp_path / "broken")
    model = LlamaForCausalLM.from_pretrained(broken)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[0, 0] = math.inf
    model.save_pretrained(broken)
    with pytest.raises(Diverged, match=r"nan at step 1 \(last finite loss: none was logged before\).*Try a lower learning_rate"):
        trained("sft", data, broken, out)
    assert not (out / "manifest.json").exists()


def test_a_model_that_is_cut_short_is_refused(lines: Write, tmp_path: Path) -> None:
    model = build_tiny(tmp_path / "model")
    data = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(data[:-100])
    with pytest.raises(FolderError, match=rf"cut short: model.safetensors has {len(data) - 100:,} bytes, not {len(data):,}"):
        trained("sft", lines("data", talks(4)), model, tmp_path / "M")


@pytest.mark.parametrize(("values", "message"), [
    ({"device": "cuda"}, "device=cuda and this machine has no GPU"),
    ({"device": "auto", "processes": 2, "batch_size": 4}, "processes=2 and this machine has no GPU"),
    ({"precision": "fp16"}, "precision=fp16 is for GPUs"),
    ({"parallel": "fsdp", "processes": 2}, "parallel=fsdp needs GPUs"),
    ({"report_to": "wandb"}, "wandb is not installed, which is needed for report_to=wandb; run: pip install wandb"),
    ({"optimizer": "adamw_bnb_8bit"}, "pip install bitsandbytes"),
    ({"trl": {"loss_typ": "nll"}}, r"unknown key trl.loss_typ; did you mean trl.loss_type\?"),
    ({"trl": {"learning_rate": 1}}, "trl.learning_rate is set by Pica; use learning_rate instead"),
    ({"data": []}, "nothing to learn from; give data=FOLDER"),
    ({"data": "nowhere.jsonl"}, "no file or folder nowhere.jsonl"),
    ({"model": "openai/gpt-5"}, "model=openai/gpt-5 cannot be trained"),
    ({"model": "vllm/ORG/NAME"}, "for the same weights say hf/ORG/NAME"),
    ({"model": "ORG/NAME"}, "write model=hf/ORG/NAME"),
    ({"template": "chatmal"}, "unknown template family 'chatmal'; did you mean 'chatml'?"),
    ({"template": "llama-3"}, "ends a turn with '<|eot_id|>', which is no token of this tokenizer"),
], ids=lambda value: "-".join(value) if isinstance(value, dict) else "")
def test_what_cannot_be_is_said_before_anything_is_loaded(values: dict[str, Any], message: str, tiny: Path, lines: Write,
                                                           tmp_path: Path) -> None:
    pattern = message if "\\" in message else re.escape(message)
    with pytest.raises(UsageError, match=pattern):
        trained("sft", values.pop("data", lines("data", talks(4))), Path(values.pop("model", str(tiny))), tmp_path / "M",
                **values)
    assert not (tmp_path / "M").exists()


def test_a_tokenizer_without_a_template_is_given_one(lines: Write, tmp_path: Path) -> None:
    base = build_tiny(tmp_path / "base", template="")
    data = lines("data", talks(4))
    with pytest.raises(UsageError, match=r"has no chat template.*template=chatml"):
        trained("sft", data, base, tmp_path / "M")
    trained("sft", data, base, tmp_path / "M", template="chatml", max_steps=1)
    request = Request(task="chat", messages=(user("hi"),), sampling=Sampling(temperature=0, max_tokens=2))
    assert ask(tmp_path / "M", request).completion_tokens > 0


def test_a_plan_trains_nothing(tiny: Path, lines: Write, tmp_path: Path) -> None:
    made = plan(load_stage("dpo"), config_of("dpo", lines("data", pairs(10)), tiny, max_steps=0, epochs=2, processes=2,
                                             parallel="ddp", budget={"seconds": 3600}), tmp_path / "M")
    assert made.exact and made.rows == 10 and made.steps == 6
    text = made.text()
    assert "batch     4 rows: 2 a device x 1 accumulated x 2 processes" in text
    assert "budget    3,600 s of training in the folder, then it stops after a step, with a checkpoint" in text
    assert "torch.distributed.run --nproc_per_node 2" in text and "-m pica.train.worker" in text
    assert text.endswith("nothing was trained") and not (tmp_path / "M").exists()


def test_packed_conversations_do_not_see_each_other(tiny: Path, lines: Write, tmp_path: Path) -> None:
    """The loss of a packed sequence is that of its conversations apart."""
    data = lines("data", talks(4))
    losses = [trained("sft", data, tiny, tmp_path / str(packing), packing=packing, max_steps=1, max_length=1024,
                      batch_size=1 if packing else 4).manifest["loss"]["first"] for packing in (False, True)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def newest(out: Path) -> Path:
    """The checkpoint of the latest step."""
    return max((out / "checkpoints").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))


def test_killed_it_goes_on_and_comes_to_the_same_weights(tiny: Path, lines: Write, tmp_path: Path) -> None:
    data, out, said = lines("data", talks()), tmp_path / "M", io.StringIO()
    words = [f"data={data}", f"model={tiny}", "batch_size=4", "max_steps=30", "warmup=0", "learning_rate=0.01", "device=cpu",
             "log_steps=1", "checkpoint_steps=2"]
    with subprocess.Popen([sys.executable, "-m", "pica", "train", "sft", *words, "--quiet", "--out", str(out)]) as process:
        while not any(step_of(seal.parent) >= 6 for seal in (out / "checkpoints").glob("*/sealed.json")):
            assert process.poll() is None, "the training ended early"
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    cut = newest(out)
    (cut / "optimizer.pt").write_bytes(b"cut")  # as a crash of the machine would leave it
    settings: dict[str, Any] = {"max_steps": 30, "checkpoint_steps": 2}
    train(load_stage("sft"), config_of("sft", data, tiny, **settings), out, progress=TrainProgress("plain", said))
    lead = f"pica: {cut.name} cannot be used ("
    assert [line for line in said.getvalue().splitlines() if line.startswith(lead) and line.endswith("the one before")]
    assert "going on from the checkpoint of step" in said.getvalue()
    assert [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()] == list(range(1, 31))
    trained("sft", data, tiny, tmp_path / "whole", **settings)
    assert moved(tmp_path / "whole", out) == 0


def spent(cap: float, step: int, steps: int) -> str:
    """What a training says that stops at its cap, as a pattern."""
    return (rf"^budget\.seconds={cap:g} has passed at step {step} of {steps} \([\d.]+ s of training\); what is done is kept: "
            r"raise budget\.seconds and give the same command to go on$")


@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_a_cap_on_its_seconds_stops_it_and_a_higher_one_goes_on_to_the_same_bytes(
        stage: str, tiny: Path, lines: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, data, work = tmp_path / "M", lines("data", ROWS[stage]()), tmp_path / "M" / "checkpoints" / "work.json"
    with pytest.raises(BudgetSpent, match=spent(1e-9, 1, 3)):
        trained(stage, data, tiny, out, budget={"seconds": 1e-9})
    before = work.read_bytes()
    words = [f"data={data}", f"model={tiny}", "batch_size=4", "max_steps=3", "warmup=0", "learning_rate=0.01", "device=cpu"]
    assert main(["train", stage, *words, "budget.seconds=1e-9", "--quiet", "--out", str(out)]) == 3
    assert re.search(spent(1e-9, 1, 3).strip("^$"), capsys.readouterr().err), "what earlier attempts took counts"
    assert work.read_bytes() == before and newest(out).name == "checkpoint-1"
    cap = json.loads(before)["seconds"] + 1e-9
    with pytest.raises(BudgetSpent, match=spent(cap, 2, 3)):
        trained(stage, data, tiny, out, budget={"seconds": cap})
    manifest = trained(stage, data, tiny, out).manifest
    assert manifest["steps"] == 3 and manifest["seconds"] > cap
    assert "budget" not in (out / "README.md").read_text(encoding="utf-8")
    trained(stage, data, tiny, tmp_path / "whole", budget={"seconds": 1e9})
    assert (out / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()


@contextmanager
def signalled(number: signal.Signals, when: Path) -> Iterator[None]:
    """Sends this process the signal once the file `when` is there."""
    def send() -> None:
        while not when.exists():
            time.sleep(0.002)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=send)
    thread.start()
    yield
    thread.join()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_checkpoint_and_a_full_disk_keeps_it(number: signal.Signals, tiny: Path, lines: Write,
                                                               tmp_path: Path) -> None:
    out, data = tmp_path / "M", lines("data", talks())
    settings: dict[str, Any] = {"max_steps": 5000, "checkpoint_steps": 1000}
    with signalled(number, out / "metrics.jsonl"), pytest.raises(Interrupted) as stopped:
        trained("sft", data, tiny, out, **settings)
    kept = newest(out)
    step = int(kept.name.split("-")[1])
    assert str(stopped.value) == (f"{number.name}; the checkpoint of step {step} is kept: give the same command to go on")
    resource = pytest.importorskip("resource", reason="limits a file's size as POSIX systems do")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))  # smaller than the weights
    try:
        with pytest.raises(FolderError) as full:
            trained("sft", data, tiny, out, max_steps=5000, checkpoint_steps=step + 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert f"the checkpoint of step {step + 1} could not be written" in str(full.value)
    assert f"that of step {step} is kept. Free some space and give the same command to go on" in str(full.value)
    assert newest(out) == kept and (kept / "sealed.json").is_file()


@pytest.mark.slow
def test_two_processes_share_the_work(tiny: Path, lines: Write, tmp_path: Path) -> None:
    data = lines("data", talks())
    settings: dict[str, Any] = {"max_steps": 2, "processes": 2, "main_port": 29612}
    with pytest.raises(BudgetSpent, match=spent(1e-9, 1, 2)):
        trained("sft", data, tiny, tmp_path / "M", budget={"seconds": 1e-9}, **settings)
    assert (newest(tmp_path / "M").name, (newest(tmp_path / "M") / "sealed.json").is_file()) == ("checkpoint-1", True)
    manifest = trained("sft", data, tiny, tmp_path / "M", **settings).manifest
    assert manifest["steps"] == 2 and manifest["batch"] == {"size": 4, "per_device": 2, "accumulation": 1, "processes": 2}
    alone = trained("sft", data, tiny, tmp_path / "alone", max_steps=2).manifest
    assert manifest["loss"]["last"] == pytest.approx(alone["loss"]["last"], rel=1e-3)
