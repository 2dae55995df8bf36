"""Learning from answers of its own, scored while it trains, by TRL's trainers for online DPO, RLOO and GRPO.

    pica train online method=grpo data=PROMPTS model=hf/M 'rewards=[{judge: openai/NAME}]' --out M2
    pica train online data=PROMPTS 'rewards=[{model: hf/RM}, {rule: length, target: 200, weight: 0.5}]' --out M2

Several rewards are one: their weighted sum. An answer without a score (a judge's reply that cannot be read, a call that
failed) never counts as a number: RLOO and GRPO leave it out of its group's mean and learn nothing from it; online DPO
learns nothing from its pair. Online DPO learns nothing from a pair of equal scores either, where TRL alone would prefer
the first. Twenty answers in a row without a score stop the training.

`batch_size` counts prompts, `per_device_batch_size` what a device holds at once: answers for RLOO and GRPO, prompts (with
two answers each) for online DPO.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import orjson
from pydantic import Field, field_validator, model_validator

from pica.synth.budget import Budget
from pica.synth.config import VOLATILE_OF_MODELS
from pica.synth.errors import UsageError
from pica.synth.models import open_model
from pica.synth.models.base import ModelConfig
from pica.synth.rewards.config import Reward, RewardConfig, scorer_of
from pica.train.config import TimeBudget, TrainConfig
from pica.train.stage import Format, Job, Stage, check_trl

if TYPE_CHECKING:
    from pica.synth.report import Section
    from pica.train.rewards import Recent, Rewards

Method = Literal["online_dpo", "rloo", "grpo"]

#: method -> (module, config class) of TRL
TRL = {"online_dpo": ("trl.experimental.online_dpo", "OnlineDPOConfig"), "rloo": ("trl", "RLOOConfig"),
       "grpo": ("trl", "GRPOConfig")}

#: What ledgers leave in the output folder; those of further processes stand in the folder named last.
LEDGERS = ("ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm", "ledger.sqlite.lock", "ledgers")

#: method -> answers to each prompt, where nothing is said
ANSWERS = {"online_dpo": 2, "rloo": 4, "grpo": 8}


class OnlineBudget(TimeBudget, Budget):
    """What a training and its scoring may use, over all attempts at it."""


class OnlineConfig(TrainConfig):
    """Settings of online training."""

    summary: ClassVar[str] = "learn from answers of its own, scored while it trains"

    stage: str = Field("online", description="the stage this config is for; another stage refuses it")
    method: Method = Field("online_dpo", description="TRL's trainer")
    rewards: tuple[Reward, ...] = Field((), description=(
        "what scores answers: {model: hf/RM}, {judge: openai/NAME, rubric: helpful}, {checklist: [...], judge: ...}, {implicit: "
        "hf/DPO, reference: hf/REF}, {rule: length|format|exact|distinct, ...}; each with a weight"))
    k: int = Field(0, ge=0, le=1024, description="answers to each prompt; 0: 2 for online_dpo (it takes no other), 4 for rloo, "
                                                 "8 for grpo")
    max_length: int = Field(1024, ge=8, description="tokens of a prompt at most, the header of the answer included")
    answer_tokens: int = Field(512, ge=1, description="tokens an answer may have")
    temperature: float = Field(1.0, gt=0, le=10, description="of the answers")
    top_p: float = Field(1.0, gt=0, le=1, description="of the answers")
    top_k: int = Field(0, ge=0, description="of the answers; 0: all tokens")
    beta: float | None = Field(None, ge=0, allow_inf_nan=False, description=(
        "how strongly the model is held to the one that it started from; default: TRL's (0.1, rloo 0.05, grpo 0)"))
    learning_rate: float = Field(1e-6, gt=0, le=1, description="peak learning rate")
    concurrency: int = Field(256, ge=1, le=65536, description="calls in flight at most, to each model that scores")
    budget: OnlineBudget = Field(OnlineBudget(), description="cap on the time, and caps on what scoring may use")

    @field_validator("rewards", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, Mapping) else value

    @model_validator(mode="after")
    def _online(self) -> Self:
        if self.method == "online_dpo" and self.k not in {0, 2}:
            raise ValueError(f"k={self.k}: online_dpo compares 2 answers; leave k out, or use method=rloo or method=grpo")
        if self.method != "online_dpo" and self.k == 1:
            raise ValueError(f"k=1: {self.method} compares answers to the same prompt; give k=2 or more")
        if self.method == "online_dpo" and self.eval_data:
            raise ValueError("TRL's online_dpo cannot evaluate while it trains; leave eval_data out, or use method=rloo or grpo")
        if self.method == "online_dpo" and self.parallel == "zero3" and self.lora is None:
            raise ValueError("TRL's online_dpo cannot copy its reference under parallel=zero3; use parallel=fsdp, zero2, or lora")
        return self

    @property
    def answers(self) -> int:
        """Answers to each prompt."""
        return self.k or ANSWERS[self.method]

    def batches(self) -> tuple[int, int]:
        """(rows on a device at once, batches that are accumulated): rows are answers for RLOO and GRPO, prompts else."""
        per_device, accumulated = super().batches()
        return per_device, accumulated * (1 if self.method == "online_dpo" else self.answers)

    def identity(self) -> dict[str, Any]:
        """As for every stage, without what only says how scores are asked for."""
        found = {name: value for name, value in super().identity().items() if name != "concurrency"}
        return {**found, "rewards": [_lasting(reward) for reward in found["rewards"]]}


class Online(Stage[OnlineConfig]):
    """Learn from scored answers of its own."""

    name = "online"
    config_class = OnlineConfig
    format: ClassVar[Format] = "prompt"
    files: ClassVar[tuple[str, ...]] = LEDGERS

    def check(self, config: OnlineConfig) -> None:
        """Raises `UsageError` for rewards that cannot be, and for keys of `trl` that the method's config does not know."""
        for model in scorer_of(config.rewards).models:
            open_model(model)
        check_trl(_trl_config(config), config.trl, _own(config))

    def check_data(self, config: OnlineConfig, rows: int, context: int | None) -> None:
        """Raises `UsageError` for fewer prompts than a step takes, and for answers beyond the model's context."""
        if rows < config.batch_size and config.method != "online_dpo":
            raise UsageError(f"the data has {rows} prompts and a step takes batch_size={config.batch_size}; give "
                             f"batch_size={rows} or fewer, or more prompts")
        if context and config.max_length + config.answer_tokens > context:
            raise UsageError(f"max_length={config.max_length} and answer_tokens={config.answer_tokens} are more than the "
                             f"{context} tokens that {config.model} can see; lower one of them")

    def keep(self, config: OnlineConfig) -> tuple[str, ...]:
        """The columns that the rewards look at."""
        return scorer_of(config.rewards).columns

    def plan(self, config: OnlineConfig) -> list[tuple[str, str]]:
        """Who scores, and how often a step."""
        scorer = scorer_of(config.rewards)
        steps = scorer.plan("reward", config.max_length + config.answer_tokens, config.batch_size * config.answers)
        calls = ", ".join(f"{step.calls:,.0f} of {step.model.name}" for step in steps) or "none"
        return [("rewards", scorer.name), ("answers a step", f"{config.batch_size * config.answers:,}"),
                ("calls a step", calls)]

    def trainer(self, job: Job[OnlineConfig]) -> Any:
        """TRL's trainer of the method, with our rewards as its reward function."""
        from pica.train.rewards import companion

        arguments = job.arguments(_trl_config(job.config), **_own(job.config))
        columns = self.keep(job.config)
        rewards = open_rewards(job)
        job.callbacks.insert(0, companion(rewards))
        trainer = _trainer_class(job, rewards)(
            job.model, reward_funcs=rewards, args=arguments, train_dataset=_prompts(job.dataset, columns),
            eval_dataset=job.eval_dataset and _prompts(job.eval_dataset, columns), processing_class=job.tokenizer,
            peft_config=job.adapter(), callbacks=job.callbacks)
        if job.world == 1:  # with several processes the others would have to save too
            rewards.on_failure = partial(_keep_checkpoint, trainer)
        return trainer

    def sections(self, metrics: list[dict[str, Any]]) -> list[Section]:
        """The score as it rises, what makes it up, and what had none."""
        from pica.train.report import curves

        parts = sorted({name for line in metrics for name in line if name.startswith("score/")})
        return [*curves("Score of the answers", metrics, ["score"], y="score"),
                *(curves("Scores by part", metrics, parts, y="score") if parts else []),
                *curves("Answers without a score", metrics, ["unscored", "unused_pairs"], y="share"),
                *curves("Distance from the start", metrics, ["kl", "objective/kl"], y="KL")]


def open_rewards(job: Job[OnlineConfig]) -> Rewards:
    """The rewards of a training, closed with it; its manifest says who scored and how much had no score."""
    from pica.train.rewards import Rewards

    config = job.config
    scorer = scorer_of([_placed(reward, job.world) for reward in config.rewards])
    rewards = Rewards(scorer, _ledger(job.out, job.rank), seed=config.seed, concurrency=config.concurrency, budget=config.budget,
                      say=job.say)

    def close() -> None:
        job.notes["online"] = rewards.report()
        rewards.close()

    job.closing.callback(close)
    job.notes["online"] = rewards.report()
    for name in ("grpo", "rloo"):  # what has no score is counted; TRL would print every such answer
        logger = logging.getLogger(f"trl.trainer.{name}_trainer")
        logger.addFilter(_counted)
        job.closing.callback(logger.removeFilter, _counted)
    return rewards


def _ledger(out: Path, rank: int) -> Path:
    """The file of the ledger of process `rank`: a ledger has one writer."""
    if not rank:
        return out / LEDGERS[0]
    (out / LEDGERS[-1]).mkdir(exist_ok=True)
    return out / LEDGERS[-1] / f"{rank}.sqlite"


def _keep_checkpoint(trainer: Any) -> str:
    """Save the state at the end of the last whole step, when the next one cannot be scored. Says what is kept."""
    step = trainer.state.global_step
    if not step:
        return "no step was done"
    if not (Path(trainer.args.output_dir) / f"checkpoint-{step}").exists():
        trainer._save_checkpoint(trainer.model, trial=None)
        trainer.callback_handler.on_save(trainer.args, trainer.state, trainer.control)
    return f"the checkpoint of step {step} is kept, and the same command goes on from it"


def _counted(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("All reward functions returned None")


def _trl_config(config: OnlineConfig) -> Any:
    module, name = TRL[config.method]
    with warnings.catch_warnings(action="ignore"):  # that online DPO may change with TRL's versions
        return getattr(import_module(module), name)


def _own(config: OnlineConfig) -> dict[str, Any]:
    """Fields of TRL's config that this stage sets."""
    beta = {} if config.beta is None else {"beta": config.beta}
    own = {"temperature": config.temperature, "top_p": config.top_p, "top_k": config.top_k, "remove_unused_columns": False}
    if config.method == "online_dpo":
        return {**own, **({"beta": [config.beta]} if beta else {}), "max_new_tokens": config.answer_tokens,
                "max_length": config.max_length + config.answer_tokens}
    evaluate = {"num_generations_eval": 1} if config.eval_data else {}
    return {**own, **beta, **evaluate, "max_completion_length": config.answer_tokens, "num_generations": config.answers}


def _trainer_class(job: Job[OnlineConfig], rewards: Rewards) -> Callable[..., Any]:
    if job.config.method == "online_dpo":
        return partial(pair_trainer(), counts=rewards.recent)
    import trl

    trainer: Callable[..., Any] = trl.RLOOTrainer if job.config.method == "rloo" else trl.GRPOTrainer
    return trainer


def pair_trainer() -> Any:
    """TRL's OnlineDPOTrainer, but that a pair without two different scores teaches nothing."""
    from trl.experimental.online_dpo import OnlineDPOTrainer

    class PairTrainer(OnlineDPOTrainer):  # type: ignore[misc]
        """TRL makes a missing score 0 and prefers the first of equals. Here such a pair's mask is emptied before its
        log-probabilities are summed, which leaves it the loss of a coin flip and no gradient."""

        reward_funcs: list[Any]

        def __init__(self, *given: Any, counts: Recent, **named: Any) -> None:
            self._counts = counts
            self._mask: Any = None
            super().__init__(*given, **named)

        def _forward(self, model: Any, prompt_ids: Any, prompt_mask: Any, completion_ids: Any, completion_mask: Any,
                     *others: Any) -> Any:
            self._mask = completion_mask
            return super()._forward(model, prompt_ids, prompt_mask, completion_ids, completion_mask, *others)

        def _calculate_rewards_from_functions(self, *given: Any, **named: Any) -> Any:
            (function,), found = self.reward_funcs, list[float | None]()

            def once(**arguments: Any) -> list[float | None]:
                found.extend(function(**arguments))
                return found

            self.reward_funcs = [once]
            try:
                totals = super()._calculate_rewards_from_functions(*given, **named)
            finally:
                self.reward_funcs = [function]
            half = len(found) // 2
            unused = [i for i in range(half) if None in (found[i], found[half + i]) or found[i] == found[half + i]]
            self._mask[[*unused, *(half + i for i in unused)]] = 0
            self._counts.add_pairs(half, len(unused))
            return totals

    return PairTrainer


def _prompts(dataset: Any, columns: tuple[str, ...]) -> Any:
    """The prompts, and beside each its other columns as one JSON text: TRL passes columns on by names of its own."""
    kept = [name for name in columns if name in dataset.column_names]
    if missing := set(columns) - set(kept):
        raise UsageError(f"the data has no column {min(missing)!r}, which a reward looks at; columns: "
                         f"{', '.join(dataset.column_names)}")
    if not kept:
        return dataset.select_columns(["prompt"])
    rows = [orjson.dumps(row, default=str).decode() for row in dataset.select_columns(kept)]
    return dataset.select_columns(["prompt"]).add_column("row", rows)


def _placed(reward: RewardConfig, world: int) -> RewardConfig:
    """The reward with its in-process models on this process's own GPU, where there are several processes."""
    if world == 1:
        return reward
    import torch

    if not torch.cuda.is_available():
        return reward
    device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    models = {name: value.model_copy(update={"extra": {"device": device, **value.extra}})
              for name in type(reward).model_fields
              if isinstance(value := getattr(reward, name), ModelConfig) and value.name.startswith(("hf/", "local"))}
    return reward.model_copy(update=models)


def _lasting(reward: dict[str, Any]) -> dict[str, Any]:
    return {name: {key: inner for key, inner in value.items() if key not in VOLATILE_OF_MODELS}
            if isinstance(value, dict) and "api_key_env" in value else value for name, value in reward.items()}


STAGE: Stage[OnlineConfig] = Online()
