"""A reward model by TRL's RewardTrainer: a sequence classifier with one label, from preference pairs.

    pica train reward data=PAIRS model=local --out RM
    pica run magpie reward=hf/RM ...

TRL learns a Bradley-Terry model: the chosen conversation gets the higher number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from pica.synth.errors import UsageError
from pica.train.config import TrainConfig
from pica.train.stage import Format, Head, Job, Stage

if TYPE_CHECKING:
    from pica.synth.report import Section


class RewardStageConfig(TrainConfig):
    """Settings of a reward model."""

    summary: ClassVar[str] = "a reward model: one number for a conversation"

    stage: str = Field("reward", description="the stage this config is for; another stage refuses it")
    learning_rate: float = Field(1e-5, gt=0, le=1, description="peak learning rate")
    center: float = Field(0.0, ge=0, description="pulls the rewards towards a mean of 0; TRL advises 0.01")


class Reward(Stage[RewardStageConfig]):
    """A reward model: one number for a conversation."""

    name = "reward"
    config_class = RewardStageConfig
    format: ClassVar[Format] = "pair"
    trl_config = "trl:RewardConfig"
    head: ClassVar[Head] = "score"

    def check(self, config: RewardStageConfig) -> None:
        """A cut answer is another answer, so its label says nothing; TRL's trainer does not cut either."""
        if config.too_long == "truncate":
            raise UsageError("too_long=truncate would judge answers by their beginnings; a reward model takes reject or error")

    def trainer(self, job: Job[RewardStageConfig]) -> Any:
        """TRL's RewardTrainer over pairs of messages."""
        from trl import RewardConfig, RewardTrainer

        arguments = job.arguments(RewardConfig, center_rewards_coefficient=job.config.center or None)
        return RewardTrainer(job.model, args=arguments, train_dataset=job.dataset, eval_dataset=job.eval_dataset,
                             processing_class=job.tokenizer, peft_config=job.adapter(), callbacks=job.callbacks)

    def sections(self, metrics: list[dict[str, Any]]) -> list[Section]:
        """How far chosen and rejected answers are apart."""
        from pica.train.report import curves

        return [*curves("Reward margin", metrics, ["margin"], y="margin"),
                *curves("Pairs ranked right", metrics, ["accuracy"], y="share")]


STAGE = Reward()
