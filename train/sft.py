"""Supervised fine-tuning by TRL's SFTTrainer: learn to answer as the data does.

    pica train sft data=D model=hf/ORG/NAME --out M

Conversations arrive as token ids with a mask of what the assistant said (see `pica.train.tokens`), which TRL takes as they
are. With `loss=answers` (the default) only those tokens carry loss, the token that ends a turn among them. Packed
conversations stay whole and do not see each other.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from pica.train.config import TrainConfig
from pica.train.stage import Format, Job, Stage


class SFTStageConfig(TrainConfig):
    """Settings of supervised fine-tuning."""

    summary: ClassVar[str] = "learn to answer as the data does"

    stage: str = Field("sft", description="the stage this config is for; another stage refuses it")
    loss: Literal["answers", "all"] = Field("answers", description="which tokens carry loss: the assistant's, or every one")
    loss_type: Literal["nll", "dft"] = Field("nll", description="TRL's name of the loss")
    packing: bool = Field(False, description="fill sequences of max_length with several conversations, each kept whole")


class SFT(Stage[SFTStageConfig]):
    """Learn to answer as the data does."""

    name = "sft"
    config_class = SFTStageConfig
    format: ClassVar[Format] = "tokens"
    trl_config = "trl:SFTConfig"

    def trainer(self, job: Job[SFTStageConfig]) -> Any:
        """TRL's SFTTrainer over token ids."""
        from trl import SFTConfig, SFTTrainer

        arguments = job.arguments(SFTConfig, loss_type=job.config.loss_type, packing=job.config.packing)
        return SFTTrainer(job.model, args=arguments, train_dataset=job.dataset, eval_dataset=job.eval_dataset,
                          processing_class=job.tokenizer, peft_config=job.adapter(), callbacks=job.callbacks)


STAGE = SFT()
