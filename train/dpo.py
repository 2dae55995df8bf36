"""Direct preference optimisation and its relatives by TRL's DPOTrainer.

    pica train dpo data=PAIRS model=hf/M beta=0.1 --out M2

TRL loads the reference, a second copy of the model that it starts from, unless there is none to hold: with `lora` the
reference is the model without its adapters, and with `precompute_reference` the reference answers once, before training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from pica.train.config import TrainConfig
from pica.train.stage import Format, Job, Stage

if TYPE_CHECKING:
    from pica.synth.report import Section

Loss = Literal["sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot", "aot_unpaired",
               "apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm"]


class DPOStageConfig(TrainConfig):
    """Settings of preference optimisation."""

    summary: ClassVar[str] = "prefer chosen over rejected answers"

    stage: str = Field("dpo", description="the stage this config is for; another stage refuses it")
    learning_rate: float = Field(5e-7, gt=0, le=1, description="peak learning rate")
    beta: float = Field(0.1, gt=0, description="how strongly the model is held to the reference (for ipo: tau)")
    loss_type: tuple[Loss, ...] = Field(("sigmoid",), min_length=1, description=(
        "TRL's names of the losses, summed: sigmoid (DPO), ipo, robust, sigmoid_norm (length-normalised), hinge, ..."))
    loss_weights: tuple[float, ...] = Field((), description="weights of several losses; empty: 1 each")
    label_smoothing: float = Field(0.0, ge=0, lt=0.5, description="share of pairs taken to be the wrong way round (robust, "
                                                                  "exo_pair)")
    precompute_reference: bool = Field(False, description="let the reference answer once before training: no second model "
                                                          "in memory")

    @field_validator("loss_type", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _losses(self) -> Self:
        if self.loss_weights and len(self.loss_weights) != len(self.loss_type):
            raise ValueError(f"{len(self.loss_weights)} loss_weights for {len(self.loss_type)} loss_type; give one each")
        uses = {"robust", "exo_pair"} & set(self.loss_type)
        if self.label_smoothing and not uses:
            raise ValueError(f"label_smoothing={self.label_smoothing:g} means nothing to loss_type="
                             f"{', '.join(self.loss_type)}; it belongs to robust and exo_pair")
        if "exo_pair" in uses and not self.label_smoothing:
            raise ValueError("loss_type=exo_pair needs label_smoothing above 0; its paper uses 0.001")
        return self


class DPO(Stage[DPOStageConfig]):
    """Prefer chosen over rejected answers."""

    name = "dpo"
    config_class = DPOStageConfig
    format: ClassVar[Format] = "pair"
    trl_config = "trl:DPOConfig"

    def trainer(self, job: Job[DPOStageConfig]) -> Any:
        """TRL's DPOTrainer over pairs of messages."""
        from trl import DPOConfig, DPOTrainer

        config = job.config
        arguments = job.arguments(
            DPOConfig, beta=config.beta, loss_type=list(config.loss_type), label_smoothing=config.label_smoothing,
            loss_weights=list(config.loss_weights) or None, precompute_ref_log_probs=config.precompute_reference)
        return DPOTrainer(job.model, args=arguments, train_dataset=job.dataset, eval_dataset=job.eval_dataset,
                          processing_class=job.tokenizer, peft_config=job.adapter(), callbacks=job.callbacks)

    def sections(self, metrics: list[dict[str, Any]]) -> list[Section]:
        """How far chosen and rejected answers are apart."""
        from pica.train.report import curves

        return [
            *curves("Reward margin", metrics, ["rewards/margins"], y="margin",
                    note="implicit reward of the chosen answer minus that of the rejected one"),
            *curves("Implicit rewards", metrics, ["rewards/chosen", "rewards/rejected"], y="reward"),
            *curves("Pairs ranked right", metrics, ["rewards/accuracies"], y="share"),
        ]


STAGE = DPO()
