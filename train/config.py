"""What every stage of training can be told. A stage adds its own fields in a subclass.

Settings come from defaults, a YAML file (`--config`) and `key=value` words, as everywhere in Pica. What TRL or transformers
can be told beyond these fields goes into `trl`, whose keys are checked against TRL's own config.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pica.synth.config import over_default
from pica.synth.errors import UsageError

#: settings that change how a training goes or what it writes on the way, never what it is meant to learn
VOLATILE = frozenset({"log_steps", "checkpoint_steps", "keep_checkpoints", "report_to", "per_device_batch_size",
                      "gradient_checkpointing", "machine_rank", "main_address", "main_port", "budget"})

MOST_PER_DEVICE = 4  # rows on a device at once where nothing is said


class DataSource(BaseModel):
    """One dataset of a mixture. A row is seen `weight` times an epoch: 2 is each row twice, 0.5 a seeded half of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    bare: ClassVar[str] = "source"

    source: str = Field(description="a dataset folder, a folder or file of Parquet or JSON lines, or a hub id ORG/NAME[:CONFIG]")
    weight: float = Field(1.0, gt=0, le=1000, description="how often a row is seen in an epoch; 0.5: a seeded half of the rows")
    split: str = Field("train", description="which split")
    revision: str = Field("", description="hub revision")


class Lora(BaseModel):
    """Low-rank adapters instead of full fine-tuning."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    r: int = Field(16, ge=1, le=4096, description="rank")
    alpha: int = Field(32, ge=1, description="scale; the update counts alpha / r")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout on the adapters' input")
    targets: tuple[str, ...] = Field((), description="names of the adapted layers; empty: every linear layer but the head")
    merge: bool = Field(True, description="save the model with the adapters merged into it; they are kept in adapter/ too")


class TimeBudget(BaseModel):
    """What a training may use, over all attempts at it. It is no part of what the training is: it may be raised."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: float | None = Field(None, gt=0, description=(
        "seconds of training in this folder, earlier attempts included; when they have passed it stops after the step it is at, "
        "with a checkpoint and exit code 3; the same command with a higher cap goes on"))


class TrainConfig(BaseModel):
    """What every stage shares. Subclasses state `stage` as `Literal` and `summary`."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
    summary: ClassVar[str] = ""

    stage: str = Field("", description="the stage this config is for; another stage refuses it")
    data: tuple[DataSource, ...] = Field((), description="what to learn from: a dataset, or a list of {source, weight, split}")
    eval_data: tuple[DataSource, ...] = Field((), description="what to evaluate on while training; none: no evaluation")
    model: str = Field("local", description="what to start from: local, a checkpoint folder, or hf/ID-OR-PATH")
    revision: str = Field("", description="hub revision of the model")
    template: str = Field("", description="chat template family for a tokenizer without one, such as chatml")
    learning_rate: float = Field(2e-5, gt=0, le=1, description="peak learning rate")
    epochs: float = Field(1.0, gt=0, description="passes over the data")
    max_steps: int = Field(0, ge=0, description="optimizer steps at most; 0: as many as the epochs have")
    batch_size: int = Field(16, ge=1, description="rows an optimizer step sees, on all devices together")
    per_device_batch_size: int = Field(0, ge=0, description=f"rows on a device at once; 0: the most up to {MOST_PER_DEVICE} "
                                                            "that divides")
    max_length: int = Field(2048, ge=8, description="tokens of a sequence at most")
    too_long: Literal["reject", "error", "truncate"] = Field("reject", description="what becomes of longer ones; counted")
    bad_rows: Literal["error", "reject"] = Field("error", description="what becomes of rows that cannot be learnt from; counted")
    schedule: Literal["cosine", "linear", "constant", "constant_with_warmup"] = Field("cosine", description="of the "
                                                                                               "learning rate")
    warmup: float = Field(0.1, ge=0, description="below 1 a share of the steps, else their number")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's weight decay")
    betas: tuple[float, float] = Field((0.9, 0.999), description="AdamW's betas")
    optimizer: str = Field("adamw_torch_fused", description="transformers' name of the optimizer, such as adamw_bnb_8bit")
    max_grad_norm: float = Field(1.0, ge=0, description="gradients are clipped to this norm; 0: never")
    precision: Literal["auto", "bf16", "fp16", "fp32"] = Field("auto", description="arithmetic; auto: bf16 on a GPU that "
                                                                                "has it, else fp32")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="weights while training; auto: "
                                                                     "float32, with lora on a GPU bfloat16")
    save_dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="weights as saved; auto: as "
                                                                          "in the model that was started from")
    gradient_checkpointing: Literal["auto", "on", "off"] = Field("auto", description="saves memory, costs a fifth of the "
                                                                                     "speed; auto: on a GPU")
    lora: Lora | None = Field(None, description="adapters instead of full fine-tuning: lora=true or lora.r=16")
    seed: int = Field(0, ge=0, lt=2**32, description="order of the rows, new weights, dropout")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="where to train; auto: a GPU where there is one")
    log_steps: int = Field(0, ge=0, description="steps between two lines of metrics.jsonl; 0: a hundredth of all, at least 1")
    checkpoint_steps: int = Field(0, ge=0, description="steps between checkpoints; 0: a tenth of all, from 50 to 500")
    keep_checkpoints: int = Field(2, ge=2, description="checkpoints on disk at most; two, so that one may be cut short")
    eval_steps: int = Field(0, ge=0, description="steps between evaluations; 0: a tenth of all")
    report_to: tuple[Literal["trackio", "wandb", "tensorboard"], ...] = Field((), description="send metrics there as well")
    budget: TimeBudget = Field(TimeBudget(), description="cap on the time")
    processes: int = Field(1, ge=1, description="processes in all, one a GPU")
    machines: int = Field(1, ge=1, description="machines that they are spread over; give the command on each")
    machine_rank: int = Field(0, ge=0, description="number of this machine, from 0")
    main_address: str = Field("", description="address of machine 0")
    main_port: int = Field(29500, ge=1, le=65535, description="a free port of machine 0")
    parallel: Literal["ddp", "fsdp", "zero2", "zero3"] = Field("ddp", description="how several processes share the work")
    trl: dict[str, Any] = Field({}, description="further fields of TRL's config, by its names")

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        """Nested settings over their defaults, bare values into their field; a file of another stage is refused."""
        if not isinstance(values, Mapping):
            return values
        own, given = cls.model_fields["stage"].default, values.get("stage", "")
        if given and own and given != own:
            raise ValueError(f"this config is for `pica train {given}`, not for `pica train {own}`")
        return {name: over_default(cls, name, value) for name, value in values.items() if name not in {"stage"}}

    @field_validator("data", "eval_data", mode="before")
    @classmethod
    def _sources(cls, value: Any) -> Any:
        """`D`, `[A, {source: B, weight: 2}]` or one mapping, as a list of mappings."""
        several = value if isinstance(value, list | tuple) else [value] if value else []
        return [{"source": one} if isinstance(one, str) else {name or "source": inner for name, inner in one.items()}
                if isinstance(one, Mapping) else one for one in several]

    @field_validator("lora", mode="before")
    @classmethod
    def _lora(cls, value: Any) -> Any:
        if isinstance(value, Mapping):  # lora=true lora.r=8
            return {name: inner for name, inner in value.items() if name}
        return {} if value is True else None if value is False else value

    @field_validator("gradient_checkpointing", mode="before")
    @classmethod
    def _switch(cls, value: Any) -> Any:
        return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value

    @field_validator("report_to", mode="before")
    @classmethod
    def _trackers(cls, value: Any) -> Any:
        return (() if value in {"none", ""} else (value,)) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.processes % self.machines:
            raise ValueError(f"processes={self.processes} cannot be spread over machines={self.machines}; give a multiple")
        if self.machine_rank >= self.machines:
            raise ValueError(f"machine_rank={self.machine_rank} with machines={self.machines}; ranks go from 0 to "
                             f"{self.machines - 1}")
        if self.machines > 1 and not self.main_address:
            raise ValueError(f"machines={self.machines} need main_address: the address of machine 0, as the others see it")
        self.batches()
        return self

    def batches(self) -> tuple[int, int]:
        """(rows on a device at once, batches that are accumulated). Raises `UsageError` where they do not multiply up."""
        share, rest = divmod(self.batch_size, self.processes)
        if rest:
            raise UsageError(f"batch_size={self.batch_size} cannot be shared by processes={self.processes}; give a multiple "
                             f"of {self.processes}, such as {_multiples(self.processes, self.batch_size)}")
        if not self.per_device_batch_size:
            per_device = next(size for size in range(min(share, MOST_PER_DEVICE), 0, -1) if share % size == 0)
            return per_device, share // per_device
        if share % self.per_device_batch_size:
            unit = self.per_device_batch_size * self.processes
            allowed = ", ".join(str(size) for size in range(1, share + 1) if share % size == 0)
            raise UsageError(
                f"batch_size={self.batch_size} is no multiple of per_device_batch_size={self.per_device_batch_size} x "
                f"processes={self.processes} = {unit}; give batch_size={_multiples(unit, self.batch_size)} or a "
                f"per_device_batch_size of {allowed}")
        return self.per_device_batch_size, share // self.per_device_batch_size

    def identity(self) -> dict[str, Any]:
        """The settings that decide what is learnt; a training can be gone on with by another command with the same ones."""
        return {name: value for name, value in self.model_dump(mode="json").items() if name not in VOLATILE}


def _multiples(unit: int, near: int) -> str:
    below = near // unit * unit
    return " or ".join(str(size) for size in (below, below + unit) if size)
