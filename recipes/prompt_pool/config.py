"""Settings of a prompt pool: what is read, what is dropped, and how the rest is dealt."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from pica.eval.shipped import SHIPPED
from pica.recipes.prompt_pool.splits import splits_of
from pica.synth.config import CallConfig
from pica.synth.filters.copies import Duplicates

PAPER_PARTS = 9


class PromptPoolConfig(CallConfig):
    """Settings of a prompt pool. No model is asked, so `concurrency`, `ledger` and `budget` have nothing to do."""

    summary: ClassVar[str] = "prompts cleaned, told apart from evaluation prompts, and dealt into parts (no model is asked)"

    n: int = Field(0, ge=0, le=1_000_000_000, description="rows that are read, from the first on; 0: all")
    data: list[str] = Field([], description="prompts: files, folders, hub ids ORG/NAME[:CONFIG], or pica")
    split: str = Field("train", description="split of the data")
    turns: Literal["whole", "first"] = Field("whole", description="whole: all that stands before the last answer; first: the "
                                                                  "first user message alone")

    languages: list[str] = Field(["en"], description="languages that stay, ISO 639-1; und: undetermined, as code is; empty: any")
    min_length: int = Field(10, ge=0, description="least length of the user's turns")
    max_length: int = Field(0, ge=0, description="greatest length of the user's turns; 0: any")
    length_unit: Literal["words", "characters"] = Field("words", description="what both lengths count")
    prefix: int = Field(10, ge=0, description="of prompts with the same so many first words one stays; 0: off")
    duplicates: Duplicates = Duplicates(embedder="none")

    decontaminate: list[str] = Field([], description="evaluations whose prompts must not occur: pica, files, folders, hub ids")
    ngram: int = Field(13, ge=5, description="words in a row, shared with an evaluation prompt, that make an overlap")
    embedder: str = Field("minilm", description="for the nearest evaluation prompt: minilm, hash, hf/ID, wordllama; none: words "
                                                "alone")
    distance: float = Field(0.05, ge=0, lt=2, description="squared distance of embeddings up to which a prompt is taken for an "
                                                          "evaluation's")

    held_out: int = Field(0, ge=0, description="prompts of the split held_out, which no prompt of a part may hold")
    held_embedder: str = Field("none", description="for the nearest held-out prompt, as embedder; none: words alone")
    held_distance: float = Field(0.05, ge=0, lt=2, description="squared distance of embeddings up to which a prompt is taken for "
                                                               "a held-out one")
    parts: int = Field(0, ge=0, le=100_000, description=f"equal parts; 0: {PAPER_PARTS}, unless part_size is given")
    part_size: int = Field(0, ge=0, description="prompts of a part; the last one has what is left")

    @field_validator("data", "decontaminate", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        """One name is a list of one."""
        return [value] if isinstance(value, str) and value else value or []

    @model_validator(mode="after")
    def _check(self) -> PromptPoolConfig:
        if not self.data:
            raise ValueError("name the prompts: data=PROMPTS.jsonl (or a folder, a .parquet file, a hub id ORG/NAME), or "
                             "data=[A,B]")
        for name in ("data", "decontaminate"):
            if twice := next((one for one in getattr(self, name) if getattr(self, name).count(one) > 1), ""):
                raise ValueError(f"{name} names {twice!r} twice")
        if self.max_length and self.max_length < self.min_length:
            raise ValueError(f"max_length={self.max_length} is below min_length={self.min_length}; no prompt would be left")
        if self.parts and self.part_size:
            raise ValueError(f"parts={self.parts} and part_size={self.part_size} are two ways to deal; give one of them")
        return self

    @property
    def part_count(self) -> int:
        """Equal parts wanted; 0 where parts have a size instead."""
        return 0 if self.part_size else self.parts or PAPER_PARTS

    @property
    def least(self) -> int:
        """Prompts that are needed: those held out, and one for every part."""
        return self.held_out + (self.part_count or 1)

    def identity(self) -> dict[str, Any]:
        """The settings that decide what is made, with the contents of the data and the evaluations."""
        from pica.synth.source import open_source

        contents = {}
        named = [(name, self.split) for name in self.data]
        named += [(name, split) for name in self.decontaminate for split in splits_of(name)]
        for name, split in named:
            path = Path(SHIPPED.get(name, name))
            text = path.suffix == ".txt" and path.is_file()
            contents[f"{name} ({split})"] = (blake2b(path.read_bytes(), digest_size=16).hexdigest() if text
                                             else open_source(str(path), split=split).fingerprint)
        return {**super().identity(), "files": contents}


CONFIG = PromptPoolConfig
