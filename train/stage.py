"""The contract of a stage of training: its config, the form of its data, and the TRL trainer that does the work.

    class DPO(Stage[DPOStageConfig]):
        name, config_class, format = "dpo", DPOStageConfig, "pair"

        def trainer(self, job):
            from trl import DPOConfig, DPOTrainer

            arguments = job.arguments(DPOConfig, beta=job.config.beta)
            return DPOTrainer(job.model, args=arguments, train_dataset=job.dataset, processing_class=job.tokenizer,
                              peft_config=job.adapter(), callbacks=job.callbacks)

A stage names TRL's classes and says which of its fields are which of TRL's. Everything else (reading and checking data,
the output folder, checkpoints, launching, saving, the report) is the same for all stages and lives beside this file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from pica.synth.errors import UsageError
from pica.train.config import TrainConfig

if TYPE_CHECKING:  # what help does not need
    from pica.synth.report import Section

C = TypeVar("C", bound=TrainConfig)

#: What a row becomes for the trainer: `tokens` (input_ids, assistant_masks) of a conversation; `pair` (prompt, chosen,
#: rejected, each a list of messages); `prompt` (prompt, a list of messages that ends with the user).
Format = Literal["tokens", "pair", "prompt"]

#: Which head the model gets: that of a language model, or one number a sequence.
Head = Literal["text", "score"]

#: TRL's fields that Pica sets itself, and what to say instead of them in `trl`
OURS = {
    "output_dir": "--out", "seed": "seed", "data_seed": "seed", "learning_rate": "learning_rate", "num_train_epochs": "epochs",
    "max_steps": "max_steps", "per_device_train_batch_size": "per_device_batch_size", "warmup_steps": "warmup",
    "gradient_accumulation_steps": "batch_size", "max_length": "max_length", "lr_scheduler_type": "schedule",
    "weight_decay": "weight_decay", "optim": "optimizer", "max_grad_norm": "max_grad_norm", "adam_beta1": "betas",
    "adam_beta2": "betas", "bf16": "precision", "fp16": "precision", "gradient_checkpointing": "gradient_checkpointing",
    "save_steps": "checkpoint_steps", "save_total_limit": "keep_checkpoints", "logging_steps": "log_steps",
    "eval_steps": "eval_steps", "report_to": "report_to", "use_cpu": "device", "resume_from_checkpoint": "the same command",
    "trust_remote_code": "a model that needs none", "fsdp": "parallel", "deepspeed": "parallel",
}


@dataclass(kw_only=True)
class Job(Generic[C]):
    """What a stage builds its trainer from, in the process that trains (there are `world` of them, this is `rank`).

    `model` is a checkpoint folder or hub id; `dataset` and `eval_dataset` are `datasets.Dataset`s in the stage's format;
    `out` is the output folder (a stage may keep files of its own there that it names in `Stage.files`). What is opened
    for the training goes into `closing`; `notes` end up in the manifest (those of rank 0).
    """

    config: C
    model: str
    tokenizer: Any
    dataset: Any
    eval_dataset: Any | None
    out: Path
    say: Callable[[str], None]
    common: dict[str, Any]
    callbacks: list[Any] = field(default_factory=list)
    rank: int = 0
    world: int = 1
    head: Head = "text"
    closing: ExitStack = field(default_factory=ExitStack)
    notes: dict[str, Any] = field(default_factory=dict)

    def arguments(self, cls: Any, **own: Any) -> Any:
        """TRL's config `cls` with what every stage sets, what this stage sets (`own`), and the user's `trl`.

        Fields of `common` that `cls` does not know are left out. Raises `UsageError` for keys of `trl` that it does not
        know, or that are fields of Pica's own.
        """
        check_trl(cls, self.config.trl, own)
        known = {one.name for one in fields(cls)}
        values = {name: value for name, value in self.common.items() if name in known}
        given = dict(self.config.trl)
        if "model_init_kwargs" in given:
            given["model_init_kwargs"] = {**values.get("model_init_kwargs", {}), **given["model_init_kwargs"]}
        try:
            return cls(**{**values, **own, **given})
        except (TypeError, ValueError) as error:
            raise UsageError(f"TRL's {cls.__name__} refuses the settings: {' '.join(str(error).split())}") from error

    def adapter(self) -> Any:
        """The PEFT config of `lora`, or None for full fine-tuning."""
        lora = self.config.lora
        if lora is None:
            return None
        from peft import LoraConfig

        score = self.head == "score"
        return LoraConfig(r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, bias="none",
                          target_modules=list(lora.targets) or "all-linear", task_type="SEQ_CLS" if score else "CAUSAL_LM",
                          modules_to_save=["score"] if score else None)

class Stage(ABC, Generic[C]):
    """A kind of training. Instances are stateless."""

    name: ClassVar[str]
    config_class: ClassVar[type[TrainConfig]]
    format: ClassVar[Format]
    head: ClassVar[Head] = "text"
    files: ClassVar[tuple[str, ...]] = ()  # its own files in the output folder, beside those that every stage writes

    @property
    def trl_config(self) -> str:
        """Where TRL's config class is (`trl:SFTConfig`), which `trl` is checked against early; empty: `check` does it."""
        return ""

    @abstractmethod
    def trainer(self, job: Job[C]) -> Any:
        """The TRL trainer, ready to `train()`. Raises `UsageError` for settings that do not go together."""

    def check(self, config: C) -> None:
        """Raise `UsageError` for what is wrong before data is read or a model is loaded."""

    def check_data(self, config: C, rows: int, context: int | None) -> None:
        """Raise `UsageError` for what does not fit `rows` rows or a model that sees `context` tokens, before anything is made."""

    def keep(self, config: C) -> tuple[str, ...]:
        """Columns of the data that the dataset keeps besides its format's own (for rewards that look at them)."""
        return ()

    def plan(self, config: C) -> list[tuple[str, str]]:
        """Further lines of `--plan`: (label, text)."""
        return []

    def sections(self, metrics: list[dict[str, Any]]) -> list[Section]:
        """Further sections of the report, from the lines of metrics.jsonl."""
        return []


def check_trl(cls: Any, given: dict[str, Any], own: Any = ()) -> None:
    """Raise `UsageError` for keys of `trl` that TRL's config `cls` does not have, or that Pica sets itself."""
    known = [one.name for one in fields(cls)]
    for name in given:
        if name in OURS:
            raise UsageError(f"trl.{name} is set by Pica; use {OURS[name]} instead")
        if name in own:
            raise UsageError(f"trl.{name} is set by the stage's own field; see `--help`")
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise UsageError(f"unknown key trl.{name}{f'; did you mean trl.{near[0]}?' if near else ''} Known: the fields "
                             f"of TRL's {cls.__name__}")


#: stage -> module with `STAGE` (a Stage) and, importable without anything heavy, its config class
STAGES = {
    "sft": ("pica.train.sft", "learn to answer as the data does"),
    "dpo": ("pica.train.dpo", "prefer chosen over rejected answers (DPO and its relatives)"),
    "reward": ("pica.train.reward", "a reward model: one number for a conversation"),
    "online": ("pica.train.online", "learn from answers of its own, scored while it trains"),
}


def load_stage(name: str) -> Stage[Any]:
    """The stage called `name`. Raises `UsageError` with the known ones."""
    if name not in STAGES:
        near = get_close_matches(name, STAGES, n=1)
        raise UsageError(f"unknown stage {name!r}{f'; did you mean {near[0]!r}?' if near else '.'} Known: {', '.join(STAGES)}")
    stage: Stage[Any] = import_module(STAGES[name][0]).STAGE
    return stage
