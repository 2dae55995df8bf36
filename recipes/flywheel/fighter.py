"""A model of a campaign: its label, how it is asked, and what a training starts from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pica.recipes.flywheel.config import START, FlywheelConfig
from pica.synth.models import open_model
from pica.synth.models.base import ModelConfig


@dataclass(frozen=True)
class Fighter:
    """A model of the campaign: its label, how it is asked, and what a training starts from."""

    label: str
    model: ModelConfig
    weights: str

    @property
    def contestant(self) -> dict[str, Any]:
        """As evaluations take it. Weights on this disk count by their content, so that new ones are measured anew."""
        values = self.model.model_dump()
        if self.model.name.startswith(("hf/", "vllm/", "llamacpp/")):
            values["identity"] = open_model(self.model).identity
        return {**values, "label": self.label}

    @property
    def scored(self) -> ModelConfig:
        """As it gives log-probabilities: the embedded one by its checkpoint. A divergence is between models, not between ways to
        sample from them, so how its answers are drawn in battles does not count."""
        if self.model.name != "local":
            return self.model.model_copy(update={"temperature": None, "top_p": None})
        from pica.synth.models.embedded import checkpoint_path

        return ModelConfig(name=f"hf/{checkpoint_path()}")


def start_of(config: FlywheelConfig) -> Fighter:
    """The model that a campaign starts from."""
    name = config.target.name
    return Fighter(START, config.target, f"hf/{name.removeprefix('vllm/')}" if name.startswith("vllm/") else name)


def trained(label: str, folder: Path, config: FlywheelConfig) -> Fighter:
    """The model that a training left in `folder`. It is asked as the one that the campaign starts from; engine arguments are
    those of the same engine alone."""
    same = config.target.name.startswith(f"{config.engine}/")
    model = config.target.model_copy(update={"name": f"{config.engine}/{folder}", "identity": "", "revision": "",
                                             "extra": config.target.extra if same else {}})
    return Fighter(label, model, f"hf/{folder}")


def label_of(number: int) -> str:
    """The label of the candidate of an iteration."""
    return f"iteration {number}" if number else START
