"""Settings of Instruct-SkillMix."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pica.synth.config import RunConfig
from pica.synth.filters.copies import Duplicates
from pica.synth.models.base import ModelConfig, Sampling


class Strict(BaseModel):
    """A part of the config."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Ask(Strict):
    """How many topics, skills and query types are asked for, with skills=ask."""

    topics: int = Field(20, ge=1, le=1000, description="topics asked for")
    skills: int = Field(15, ge=1, le=200, description="skills asked for, of each topic")
    query_types: int = Field(12, ge=1, le=200, description="query types asked for")
    rounds: int = Field(3, ge=1, le=20, description="times a list is asked to go on while it is too short")


class Extract(Strict):
    """Of what the skills are extracted, with skills=extract."""

    rows: int = Field(500, ge=1, description="rows of the data that are read, drawn by the seed")
    split: str = Field("train", description="split of the data")
    revision: str = Field("", description="hub revision of the data")
    query_types: int = Field(20, ge=1, description="query types kept, the most often named")


class Merge(Strict):
    """What counts as one skill (or query type) under several names."""

    embedder: str = Field("minilm", description="minilm, hash, hf/ID, wordllama; none: equal names only")
    distance: float = Field(0.4, ge=0, le=4, description="squared distance of two names up to which they are one; 0: equal "
                                                         "names only")


class Ablation(Strict):
    """The paper's ablation: a share of the answers replaced by bad ones."""

    bare: ClassVar[str] = "share"

    share: float = Field(0.0, ge=0, le=1, description="share of the rows of the split train; 0: off")
    kind: Literal["brief", "junk"] = Field("brief", description="one short paragraph, or long and unhelpful")


#: What differs for teacher=local, a model of 135M parameters: the cheap flow, few tokens, one repair, and a penalty that keeps it
#: from going round in circles.
LOCAL: dict[str, Any] = {
    "flow": "short", "repairs": 1, "writing": {"max_tokens": 320, "top_p": 0.95, "frequency_penalty": 0.3},
    "critique": {"max_tokens": 256, "top_p": 0.95, "frequency_penalty": 0.3}, "listing": {"max_tokens": 512}}


class SkillMixConfig(RunConfig):
    """Settings of Instruct-SkillMix."""

    summary: ClassVar[str] = "instructions that need random combinations of skills, with answers refined by critique (SFT)"
    roles: ClassVar[dict[str, str]] = {"mentor": "teacher"}
    steps: ClassVar[dict[str, str]] = {"writing": "teacher", "critique": "teacher", "listing": "mentor"}

    mentor: ModelConfig | None = Field(None, description="names topics, skills and query types (skills=ask, skills=extract)")
    skills: str = Field("starter", description="starter (shipped), ask (the mentor names them), extract (from data), or a "
                                               "YAML or JSON file")
    data: str = Field("", description="for skills=extract: a dataset folder, a .jsonl, .json or .parquet file, or a hub id")
    ask: Ask = Ask()
    extract: Extract = Extract()
    merge: Merge = Merge()
    k: int = Field(2, ge=1, le=16, description="skills of a row")
    held_out: int = Field(0, ge=0, description="rows of the n that go to the split test, with combinations of their own")
    flow: Literal["full", "short", "create"] = Field(
        "full", description="full: create (with examples), critique, refine, and a rewrite where an answer is cut; short: the "
                            "cheaper three messages; create: no critique. teacher=local: short")
    writing: Sampling = Field(Sampling(temperature=0.7, max_tokens=4096),
                              description="of create, refine and rewrite. teacher=local: 320 tokens")
    critique: Sampling = Field(Sampling(temperature=0.7, max_tokens=1024),
                               description="of the critique. teacher=local: 256 tokens")
    listing: Sampling = Field(Sampling(temperature=0.7, max_tokens=4096),
                              description="of topics, skills, query types. teacher=local: 512 tokens")
    repairs: int = Field(2, ge=0, le=10, description="times a cut or unreadable answer is asked for again. teacher=local: 1")
    shirkers: Literal["reject", "keep"] = Field("reject", description="low-effort answers: dropped, or kept and marked")
    ablation: Ablation = Ablation()
    duplicates: Duplicates = Duplicates()
    decontaminate: list[str] = Field([], description="text or JSONL files of evaluation prompts that must not occur")

    @classmethod
    def expand(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Put what suits the embedded model under the user's own settings."""
        teacher = values.get("teacher", "local")
        if isinstance(teacher, Mapping):
            teacher = teacher.get("name", teacher.get("", "local"))
        if getattr(teacher, "name", teacher) != "local":
            return values
        for key, value in LOCAL.items():
            own = values.get(key)
            if isinstance(value, Mapping) and isinstance(own, Mapping | None):
                values[key] = {**value, **(own or {})}
            elif own is None:
                values[key] = value
        return values

    @model_validator(mode="after")
    def _check(self) -> SkillMixConfig:
        if (self.skills == "extract") != bool(self.data):
            raise ValueError("data goes with skills=extract: give both or none")
        if self.held_out >= self.n:
            raise ValueError(f"held_out={self.held_out} of n={self.n} rows leaves none to train on; held-out rows are "
                             "among the n")
        return self

    def identity(self) -> dict[str, Any]:
        """The settings that decide what is made, with the contents of the files that they name."""
        named = [*self.decontaminate, self.skills]
        files = {name: blake2b(Path(name).read_bytes(), digest_size=8).hexdigest() for name in named if Path(name).is_file()}
        if self.data:
            from pica.synth.source import open_source

            files[self.data] = open_source(self.data, split=self.extract.split, revision=self.extract.revision).fingerprint
        return {**super().identity(), **({"files": files} if files else {})}


CONFIG = SkillMixConfig
