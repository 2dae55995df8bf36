"""Settings of a training: batches that multiply up, files that name their stage, and TRL's names that are still its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pica.cli import main
from pica.commands.train import config_names
from pica.synth.config import load_config, parse_config
from pica.synth.errors import UsageError
from pica.train.checkpoints import checkpoints, fault, latest, rotate, seal
from pica.train.config import Lora
from pica.train.device import Place
from pica.train.dpo import DPOStageConfig, Loss
from pica.train.launch import accelerate_command
from pica.train.sft import SFTStageConfig
from pica.train.stage import OURS


def sft(*words: str) -> SFTStageConfig:
    return load_config(SFTStageConfig, words=words)


def test_data_is_a_name_a_list_or_a_mapping() -> None:
    assert [one.source for one in sft("data=A").data] == ["A"]
    two = sft("data=[A, {source: B, weight: 2, split: test}]").data
    assert [(one.source, one.weight, one.split) for one in two] == [("A", 1, "train"), ("B", 2, "test")]
    assert sft("data=A", "data.weight=0.5").data[0].weight == 0.5
    with pytest.raises(UsageError, match=r"data.0.weight=0: input should be greater than 0"):
        sft("data=[{source: A, weight: 0}]")


def test_lora_is_on_off_or_settings() -> None:
    assert sft().lora is None and sft("lora=false").lora is None
    assert sft("lora=true").lora == Lora() and sft("lora=true", "lora.r=8").lora == sft("lora.r=8").lora == Lora(r=8)
    with pytest.raises(UsageError, match=r"unknown key 'lora\.rank'"):
        sft("lora.rank=8")


@given(processes=st.integers(1, 9), per_device=st.integers(1, 9), accumulation=st.integers(1, 9))
def test_a_batch_is_its_parts_multiplied(processes: int, per_device: int, accumulation: int) -> None:
    values: dict[str, Any] = {"batch_size": processes * per_device * accumulation, "processes": processes}
    assert parse_config(SFTStageConfig, {**values, "per_device_batch_size": per_device}).batches() == (per_device, accumulation)
    chosen, rest = parse_config(SFTStageConfig, values).batches()
    assert chosen * rest * processes == values["batch_size"] and chosen <= 4


def test_batches_that_do_not_multiply_up_name_those_that_do() -> None:
    with pytest.raises(UsageError, match=re.escape(
            "batch_size=30 is no multiple of per_device_batch_size=4 x processes=2 = 8; give batch_size=24 or 32 or a "
            "per_device_batch_size of 1, 3, 5, 15")):
        sft("batch_size=30", "per_device_batch_size=4", "processes=2")
    with pytest.raises(UsageError, match="batch_size=10 cannot be shared by processes=4; give a multiple of 4, such as 8 or 12"):
        sft("batch_size=10", "processes=4")


@pytest.mark.parametrize(("words", "message"), [
    (["processes=3", "machines=2"], "processes=3 cannot be spread over machines=2"),
    (["processes=2", "machines=2", "batch_size=4"], "need main_address"),
    (["machine_rank=1"], "ranks go from 0 to 0"),
    (["stage=dpo"], "this config is for `pica train dpo`, not for `pica train sft`"),
    (["too_long=cut"], "too_long='cut'"),
    (["learning_rat=1"], "did you mean 'learning_rate'?"),
], ids=lambda value: "" if isinstance(value, str) else value[0])
def test_settings_that_cannot_be(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        sft(*words)


@pytest.mark.parametrize(("words", "message"), [
    (["label_smoothing=0.1"], "means nothing to loss_type=sigmoid; it belongs to robust and exo_pair"),
    (["loss_type=exo_pair"], "needs label_smoothing above 0"),
    (["loss_type=[ipo, sft]", "loss_weights=[1]"], "1 loss_weights for 2 loss_type"),
    (["loss_type=simpo"], "loss_type.0='simpo'"),
], ids=lambda value: "" if isinstance(value, str) else value[0])
def test_losses_that_cannot_be(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        load_config(DPOStageConfig, words=words)


@pytest.mark.filterwarnings("ignore")
def test_trls_losses_and_fields_are_still_called_so() -> None:
    from dataclasses import fields

    from trl import DPOConfig, RewardConfig, SFTConfig

    known = {one.name: one for config in (SFTConfig, DPOConfig, RewardConfig) for one in fields(config)}
    stated = next(one for one in fields(DPOConfig) if one.name == "loss_type").metadata["help"]
    assert set(re.findall(r"`'(\w+)'`", stated)) == set(get_args(Loss))
    assert set(OURS) <= set(known) | {"resume_from_checkpoint"}


def test_identity_leaves_out_what_only_changes_the_way() -> None:
    same = sft("data=A", "checkpoint_steps=7", "report_to=wandb", "per_device_batch_size=2", "gradient_checkpointing=true",
               "budget.seconds=60")
    assert same.identity() == sft("data=A").identity() != sft("data=A", "learning_rate=1e-3").identity()


def test_a_config_of_another_stage_is_refused_and_shipped_ones_are_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "sft", "--config", "magpie-dpo", "--plan"]) == 2
    assert "config magpie-dpo.yaml is for `pica train dpo`, not for `pica train sft`" in capsys.readouterr().err
    assert main(["train", "sft", "--config", "magpie-sfd"]) == 2
    assert f"one of: {', '.join(config_names())}" in capsys.readouterr().err
    assert main(["train", "sfd"]) == 2 and "did you mean 'sft'?" in capsys.readouterr().err
    assert main(["train", "sft", "data=x"]) == 2 and "add --out DIR" in capsys.readouterr().err


@pytest.mark.parametrize("stage", ["sft", "dpo", "reward", "online"])
def test_help_prints_every_key(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", stage, "--help"]) == 0
    text = capsys.readouterr().out
    assert "budget.seconds" in text and "seconds of training in this folder, earlier attempts included" in text
    assert "learning_rate" in text and "lora.r" in text and "magpie-sft" in text and "[number, default" in text


def checkpoint(root: Any, step: int, *, sealed: bool = True) -> Any:
    folder = root / f"checkpoint-{step}"
    (folder / "part").mkdir(parents=True)
    for name in ("model.bin", "part/state.bin"):
        (folder / name).write_bytes(b"x" * step)
    if sealed:
        seal(folder)
    return folder


def test_the_newest_good_checkpoint_is_taken(tmp_path: Any) -> None:
    good, cut, missing, begun = (checkpoint(tmp_path, step, sealed=step != 40) for step in (10, 20, 30, 40))
    (cut / "part" / "state.bin").write_bytes(b"x")
    (missing / "model.bin").unlink()
    said: list[str] = []
    assert [fault(one) for one in (good, cut, missing, begun)] == [
        "", "part/state.bin has 1 bytes, not 20", "model.bin is missing", "it was not finished"]
    assert latest(tmp_path, said.append) == good and checkpoints(tmp_path) == [good]
    assert said[0] == "checkpoint-40 cannot be used (it was not finished); taking the one before" and len(said) == 3
    (good / "sealed.json").write_text("{")
    assert latest(tmp_path, said.append) is None and latest(tmp_path / "none", said.append) is None


def test_the_last_few_checkpoints_stay(tmp_path: Any) -> None:
    for step in (5, 100, 20):
        checkpoint(tmp_path, step)
    rotate(tmp_path, 2)
    assert [one.name for one in checkpoints(tmp_path)] == ["checkpoint-100", "checkpoint-20"]


def test_gpus_are_launched_by_accelerate_and_cpus_by_torch() -> None:
    config = sft("data=D", "processes=4", "machines=2", "machine_rank=1", "main_address=10.0.0.1", "parallel=fsdp",
                 "batch_size=8")
    gpu = Place(device="cuda", name="a GPU", precision="bf16", dtype="float32")
    command = accelerate_command(config, gpu, Path("order.json"))
    assert command[1:3] == ["-m", "accelerate.commands.launch"] and command[4].endswith("fsdp.yaml")
    assert command[-3:] == ["-m", "pica.train.worker", "order.json"]
    assert dict(zip(command[5:-3:2], command[6:-3:2], strict=True)) == {
        "--num_processes": "4", "--num_machines": "2", "--machine_rank": "1", "--main_process_port": "29500",
        "--mixed_precision": "bf16", "--gradient_accumulation_steps": "1", "--main_process_ip": "10.0.0.1"}
    cpu = accelerate_command(config, msgspec.structs.replace(gpu, device="cpu", precision="fp32"), Path("order.json"))
    assert cpu[1:5] == ["-m", "torch.distributed.run", "--nproc_per_node", "2"]
