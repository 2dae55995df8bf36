"""Settings of a test set built from many prompts."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from pica.recipes.prompt_pool.splits import splits_of
from pica.synth.config import CallConfig
from pica.synth.models.base import ModelConfig


class WizardArenaConfig(CallConfig):
    """Settings of WizardArena's test set builder."""

    summary: ClassVar[str] = "a test set out of many prompts: diverse ones by k-means, hard ones by a judge (WizardArena)"

    n: int = Field(0, ge=0, le=1_000_000_000, description="rows that are read, from the first on; 0: all")
    data: list[str] = Field([], description="prompts: folders (such as a prompt pool's), files, hub ids ORG/NAME, or pica")
    splits: list[str] = Field([], description="splits of the data; empty: all of a folder of ours, else train")
    turns: Literal["whole", "first"] = Field("whole", description="whole: all that stands before the last answer; first: the "
                                                                  "first user message alone")

    embedder: str = Field("minilm", description="minilm, hash, hf/ID, wordllama")
    clusters: int = Field(500, ge=1, le=1_000_000, description="clusters of the k-means")
    starts: int = Field(1, ge=1, le=100, description="starts of the k-means, of which the best counts")
    diverse: int = Field(2, ge=0, description="prompts of a cluster that become the category diverse")
    diverse_by: Literal["random", "nearest"] = Field("random", description="which: drawn by seed, or nearest to the centre")

    candidates: int = Field(20, ge=0, description="further prompts of a cluster, drawn by seed, whose difficulty is judged")
    hard: int = Field(1000, ge=0, description="of all candidates so many hardest become the category hard")
    judge: ModelConfig | None = Field(None, description="rates difficulty from 0 to 10")
    judge_prompt: str = Field("", description="a text file instead of the judge's own prompt, with the slot {{request:fenced}}")
    tries: int = Field(3, ge=1, le=20, description="tries until a prompt counts as unscored; such a prompt is not taken")
    judge_tokens: int = Field(512, ge=1, description="tokens of a rating (with local: 128)")

    @field_validator("data", "splits", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        """One name is a list of one."""
        return [value] if isinstance(value, str) and value else value or []

    @classmethod
    def expand(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Short ratings by the embedded model, unless the user says otherwise."""
        judge = values.get("judge")
        name = judge.get("name", judge.get("")) if isinstance(judge, Mapping) else getattr(judge, "name", judge)
        return {"judge_tokens": 128, **values} if name == "local" else values

    @model_validator(mode="after")
    def _check(self) -> WizardArenaConfig:
        if not self.data:
            raise ValueError("name the prompts: data=POOL (a folder, a .jsonl or .parquet file, a hub id ORG/NAME)")
        if bool(self.hard) != bool(self.candidates):
            raise ValueError(f"hard={self.hard} and candidates={self.candidates} go together: hard prompts are the hardest "
                             "candidates; give both, or 0 for both")
        if self.hard > self.clusters * self.candidates:
            raise ValueError(f"hard={self.hard} is more than the {self.clusters * self.candidates} candidates of clusters="
                             f"{self.clusters} with candidates={self.candidates}; raise candidates or lower hard")
        if not self.hard and not self.diverse:
            raise ValueError("diverse=0 and hard=0 make an empty set; give one of them")
        if self.hard and self.judge is None:
            raise ValueError("hard prompts are those that a judge finds hard; name it: judge=openai/NAME@URL, or give hard=0 "
                             "candidates=0")
        return self

    def splits_of(self, name: str) -> list[str]:
        """The splits of a dataset that are read: those asked for, else all of a folder of ours, else train."""
        return self.splits or splits_of(name)

    def identity(self) -> dict[str, Any]:
        """The settings that decide what is made, with the contents of the data and of the judge's prompt."""
        from pica.recipes.prompt_pool.reading import open_data

        contents = {f"{name} ({split})": open_data([name], split)[0][1].fingerprint
                    for name in self.data for split in self.splits_of(name)}
        if self.judge_prompt and Path(self.judge_prompt).is_file():
            contents[self.judge_prompt] = blake2b(Path(self.judge_prompt).read_bytes(), digest_size=16).hexdigest()
        return {**super().identity(), "files": contents}


CONFIG = WizardArenaConfig
