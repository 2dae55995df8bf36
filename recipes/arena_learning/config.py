"""Settings of Arena Learning: the rules of selection, and either battles that were fought or who shall fight."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pica.eval.judging_config import JudgingConfig
from pica.eval.shipped import SHIPPED
from pica.recipes.arena_learning.rules import Rules, Use
from pica.synth.errors import UsageError

#: settings that say how to fight, which battles that were fought leave no room for
FIGHTING = ("models", "answers", "judge", "judge_prompt", "tasks", "split", "categories", "orders", "tries", "verdict")


class Prompts(BaseModel):
    """Prompts that must not be learnt from. Written as a bare name, or with a split: `{source: POOL, split: held_out}`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = Field(description="a text file with one a line, tasks such as pica, data with prompts, an evaluation's folder")
    split: str = Field("train", description="which split")

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value


class ArenaLearningConfig(Rules, JudgingConfig):
    """Settings of Arena Learning."""

    summary: ClassVar[str] = "battles that the target lost become data: fine-tuning, preference pairs, prompts"

    n: int = Field(0, ge=0, le=1_000_000_000, description="rows wanted; 0: all")
    use: Use = Field("sft", description="sft: the winner's answer; dpo: winner against target; reward: a pair for every battle "
                                        "decided; online: the prompt")
    battles: list[str] = Field([], description="folders of evaluations with battles (pica eval arena, arena-hard, wildbench "
                                               "mode=reward); empty: fight here")
    target: str = Field("", description="label of the model whose losses count; default: the evaluation's own target, else the "
                                        "first of its models")
    rivals: list[str] = Field([], description="labels whose battles with the target count; empty: all")
    verdict: Literal["scores", "pairwise"] = Field("scores", description="what a judge gives in battles fought here: 1 to 10 "
                                                                         "each, or one of five outcomes")
    ratings: dict[str, float] = Field({}, description="ratings by label for winner=rating; default: fitted to all of the battles")
    decontaminate: list[Prompts] = Field([], description="prompts that must not be learnt from: files, tasks such as pica, "
                                                         "folders, {source: FOLDER, split: held_out}")
    embedder: str = Field("none", description="look for their nearest neighbours too: none, minilm, hash, hf/ID")
    near: float = Field(0.05, ge=0, le=4, description="squared distance of embeddings up to which a prompt counts as held")

    @field_validator("battles", "rivals", "decontaminate", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        """One of them, by name or with settings, is a list of one."""
        return [value] if isinstance(value, Mapping) or (isinstance(value, str) and value) else value or []

    @model_validator(mode="after")
    def _together(self) -> Self:
        """What goes together and what does not."""
        if self.battles:
            given = [name for name in FIGHTING if getattr(self, name) != type(self).model_fields[name].default]
            if given:
                raise ValueError(f"battles= asks no model, and {given[0]} says how to fight; leave out one of them")
        elif not (self.models or self.answers) or not self.judge:
            raise ValueError("no battles: name an evaluation that was made, battles=EVAL_DIR, or fight here with "
                             "models=[TARGET,RIVAL,...] judge=SPEC tasks=PROMPTS")
        elif self.winner == "rating" and not self.ratings:
            raise ValueError("winner=rating needs ratings before the first battle; give ratings={LABEL: 1000, ...}, or fight "
                             "with pica eval arena first and give battles=EVAL_DIR")
        if self.wins and self.use in {"sft", "online"}:
            raise ValueError(f"wins=true makes pairs, and use={self.use} learns from none; give use=reward or use=dpo")
        if len(set(self.battles)) < len(self.battles):
            raise ValueError("battles names a folder twice")
        if self.target and self.target in self.rivals:
            raise ValueError(f"{self.target!r} is the target and among the rivals; leave it out of rivals")
        return self

    @property
    def takes_wins(self) -> bool:
        """Whether battles that the target won make pairs too."""
        return self.use == "reward" if self.wins is None else self.wins

    def identity(self) -> dict[str, Any]:
        """The settings that decide what is made, with the contents of everything that they name."""
        from pica.recipes.arena_learning.sources import check_battles
        from pica.synth.source import open_source

        found = super().identity()
        files = {} if self.battles else dict(found.get("files", {}))
        files.update({f"battles {source.name}": source.fingerprint for source in check_battles(self.battles)})
        for one in self.decontaminate:
            name = str(SHIPPED.get(one.source, one.source))
            files[f"decontaminate {one.source} ({one.split})"] = (
                _hash(Path(name)) if name.endswith(".txt") else open_source(name, split=one.split).fingerprint)
        return {**found, "files": files}


def _hash(path: Path) -> str:
    try:
        return blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except OSError as error:
        raise UsageError(f"decontaminate: cannot read {path}: {error.strerror}; give text files, one prompt a line, or data"
                         ) from None


CONFIG = ArenaLearningConfig
