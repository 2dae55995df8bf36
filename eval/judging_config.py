"""Settings of everything that asks judges: who competes, what is asked, who judges."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from pica.eval.shipped import SHIPPED
from pica.synth.config import CallConfig
from pica.synth.models.base import ModelConfig, Sampling

EMBEDDED_TOKENS = 256  # of an answer or a verdict of the embedded model, where nothing is said

Ensemble = Literal["majority", "each"]  # several judges: what more than half of all say, or each counts by itself


class Contestant(ModelConfig):
    """A model that competes, with its label on the leaderboard."""

    label: str = Field("", description="name on the leaderboard; default: the model's name")

    @property
    def title(self) -> str:
        """The name on the leaderboard."""
        return self.label or self.name

    @cached_property
    def model(self) -> ModelConfig:
        """The model without its label: two labels of one model share its weights."""
        return ModelConfig(**self.model_dump(exclude={"label"}))


class JudgingConfig(CallConfig):
    """Settings of everything that asks judges. `reads`: the settings that name files, whose content counts."""

    reads: ClassVar[tuple[str, ...]] = ("tasks", "answers", "judge_prompt")

    n: int = Field(0, ge=0, le=1_000_000_000, description="tasks, from the first on; 0: all")
    tasks: str = Field("pica", description=f"what is asked: {', '.join(SHIPPED)}, a file, a folder or a hub id ORG/NAME")
    split: str = Field("", description="split of the tasks' dataset")
    categories: list[str] = Field([], description="only tasks of these categories; empty: all")
    models: list[Contestant] = Field([], description="who competes: [local, {name: hf/PATH, label: mine, temperature: 0.7}]")
    answers: str = Field("", description="file or folder with answers made elsewhere, one file a model")
    judge: list[ModelConfig] = Field([], description="who judges; several are a jury: a strict majority of all decides")
    judge_prompt: str = Field("", description="a text file instead of the judge's own prompt, with the same slots")
    orders: Literal["both", "ab", "ba"] = Field("both", description="orders in which the answers of a pair are shown")
    tries: int = Field(3, ge=1, le=20, description="tries until a verdict counts as unscored")
    answer: Sampling = Field(Sampling(temperature=0.0, max_tokens=2048), description="how models answer (with local: 256 tokens)")
    judging: Sampling = Field(Sampling(temperature=0.0, max_tokens=1024), description="how judges judge (local: 256 tokens)")
    level: float = Field(0.95, gt=0.5, lt=1, description="level of the intervals")

    @field_validator("models", "judge", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        """One model, by name or with settings, is a list of one."""
        if isinstance(value, Mapping):  # judge=local judge.temperature=0.3
            return [{("name" if key == "" else key): inner for key, inner in value.items()}]
        return [value] if isinstance(value, str) and value else value or []

    @classmethod
    def expand(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Short answers and reasons where the embedded model writes them, unless the user says otherwise."""
        for setting, roles in (("judging", ("judge",)), ("answer", ("models",))):
            given = values.get(setting, {})
            if isinstance(given, Mapping) and any(embedded(values.get(role)) for role in roles):
                values = {**values, setting: {"max_tokens": EMBEDDED_TOKENS, **given}}
        return values

    def identity(self) -> dict[str, Any]:
        """The settings that decide what is made, with the contents of the files that they name."""
        named = {name: Path(SHIPPED.get(name, name)) for setting in self.reads if (name := getattr(self, setting))}
        files = {name: _content(path) for name, path in named.items() if path.exists()}
        return {**super().identity(), **({"files": files} if files else {})}


def embedded(value: Any) -> bool:
    """Whether a model as a user writes it, or one of a list, is `local`, which writes on a laptop and at length."""
    if isinstance(value, Mapping):
        value = value.get("name", value.get(""))
    return any(map(embedded, value)) if isinstance(value, list) else value == "local"


def _content(path: Path) -> str:
    """A hash of a file, or of all files of a folder by name."""
    digest = blake2b(digest_size=8)
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(str(file.relative_to(path)).encode())
            digest.update(blake2b(file.read_bytes()).digest())
    return digest.hexdigest()
