"""Magpie's config, and the paper's filters as presets."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from math import ceil
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pica.recipes.magpie.schemas import CATEGORIES, DIFFICULTIES, QUALITIES
from pica.synth.config import RunConfig
from pica.synth.errors import UsageError
from pica.synth.filters.copies import Duplicates
from pica.synth.models.base import ModelConfig, Sampling

TagName = Literal["difficulty", "quality", "category", "safety", "reward", "language"]
Difficulty = Literal["very easy", "easy", "medium", "hard", "very hard"]
Quality = Literal["very poor", "poor", "average", "good", "excellent"]

assert Difficulty.__args__ == DIFFICULTIES and Quality.__args__ == QUALITIES  # type: ignore[attr-defined]


class Strict(BaseModel):
    """A part of the config."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Sanitize(Strict):
    """What becomes of a sampled instruction."""

    never_stopped: Literal["reject", "sentence", "keep"] = Field(
        "reject", description="an instruction cut by max_tokens: dropped, kept to its last sentence, or kept")
    min_chars: int = Field(4, ge=1, description="shorter ones are rejected")
    max_chars: int = Field(8000, ge=1, description="longer ones are rejected")
    allow_colon: bool = Field(False, description="keep instructions that end with a colon")


class Filters(Strict):
    """Thresholds; a row without the value is rejected where a threshold is set."""

    min_quality: Quality | None = Field(None, description="of the instruction")
    min_difficulty: Difficulty | None = None
    min_reward: float | None = Field(None, description="rows at or below it are rejected; on the scale of the reward")
    min_reward_difference: float | None = Field(None, description="likewise, against the base model's answer")
    safe: bool = Field(True, description="reject what is tagged unsafe")
    languages: list[str] = Field([], description="ISO 639-1 codes to keep; empty: all")


class Select(Strict):
    """Which of the rows that pass are taken, when more are made than wanted."""

    bare: ClassVar[str] = "by"

    by: Literal["first", "longest", "best", "random", "quotas", "half easy"] = Field(
        "first", description="longest answer, best reward, at random, quotas by category, or half of them easy")
    pool: float = Field(1.0, ge=1, le=1000, description="rows made for each row wanted, to select from")
    quotas: dict[str, int | float] = Field({}, description="category: rows, or share of n")

    @model_validator(mode="after")
    def _check(self) -> Select:
        unknown = [name for name in self.quotas if name not in CATEGORIES]
        if unknown:
            raise ValueError(f"unknown category {unknown[0]!r}; known: {', '.join(CATEGORIES)}")
        if (self.by == "quotas") != bool(self.quotas):
            raise ValueError("select.quotas goes with select.by=quotas: give both or none")
        return self


class Preferences(Strict):
    """The preference variant: k answers, scored; the best is chosen, the worst rejected."""

    bare: ClassVar[str] = "k"

    k: int = Field(0, ge=0, le=64, description="answers to each instruction; 0: one answer, for SFT")
    temperature: float = Field(0.8, ge=0, le=10, description="of these answers")
    top_p: float = Field(1.0, gt=0, le=1)
    min_margin: float = Field(0.0, ge=0, description="pairs whose scores differ by no more are rejected")

    @model_validator(mode="after")
    def _check(self) -> Preferences:
        if self.k == 1:
            raise ValueError("preferences.k=1 makes no pair; 0 is off, 2 or more makes pairs")
        return self


#: The paper's filters (its table of six, and the default of each model's release). `reward` thresholds are on the scale
#: of FsfairX-LLaMA3-RM-v0.1; `judge_reward` is our counterpart on the judge's 1 to 10.
PRESETS: dict[str, dict[str, Any]] = {
    "none": {},
    "air": {"filters": {"min_quality": "good", "min_difficulty": "medium", "min_reward_difference": 0.0},
            "select": {"by": "longest", "pool": 3.0}},
    "pro": {"filters": {"min_quality": "average"}, "reward": -12.0, "select": {"by": "longest", "pool": 3.0}},
    "f1": {"filters": {"min_quality": "average"}, "reward": -12.0, "select": {"by": "longest", "pool": 3.0}},
    "f2": {"filters": {"min_quality": "good", "min_difficulty": "easy"}, "reward": -12.0,
           "select": {"by": "longest", "pool": 3.0}},
    "f3": {"filters": {}, "reward": -12.0, "select": {"by": "longest", "pool": 3.0}},
    "f4": {"filters": {"min_quality": "good", "min_difficulty": "easy", "min_reward_difference": 0.0},
           "select": {"by": "longest", "pool": 3.0}},
    "f5": {"filters": {"min_quality": "good", "min_difficulty": "easy"}, "reward": -12.0},
    "f6": {"filters": {}, "select": {"by": "half easy", "pool": 2.0}},
}
PRESET_REWARD_MODEL = "FsfairX-LLaMA3-RM-v0.1"
PRESET_JUDGE_REWARD = 3.0  # rejects 1 to 3: wrong, off the subject, empty


class MagpieConfig(RunConfig):
    """Settings of Magpie."""

    summary: ClassVar[str] = "self-synthesised instructions and answers (SFT, or preference pairs with preferences.k=5)"
    roles: ClassVar[dict[str, str]] = {"responder": "teacher", "tagger": "teacher", "judge": "tagger"}
    steps: ClassVar[dict[str, str]] = {"instruction": "teacher", "response": "responder"}

    responder: ModelConfig | None = Field(None, description="answers the instructions")
    tagger: ModelConfig | None = Field(None, description="tags difficulty, quality and category")
    judge: ModelConfig | None = Field(None, description="grades answers where there is no reward model, and safety where "
                                                        "there is no guard")
    reward: ModelConfig | None = Field(None, description="reward model (hf/ID: a sequence classifier); none: the judge "
                                                         "grades 1 to 10")
    guard: ModelConfig | None = Field(None, description="guard model that answers safe or unsafe; none: the judge")
    base: ModelConfig | None = Field(None, description="base model whose answer gives the reward difference")
    template: str = Field("auto", description="auto (from the teacher itself), a tokenizer folder, a hub id, a .jinja file "
                                              "or a family such as llama-3")
    turns: int = Field(1, ge=1, le=32, description="user turns of a conversation")
    control: Literal["none", "code", "math", "translation", "topic", "persona"] = Field(
        "none", description="steer instructions by a system prompt")
    topics: list[str] | str = Field([], description="for control=topic: a list, or a text file with one a line")
    personas: list[str] | str = Field([], description="for control=persona: a list, or a text file with one a line")
    instruction: Sampling = Field(Sampling(max_tokens=1024), description="how instructions are sampled")
    response: Sampling = Field(Sampling(temperature=0.0, max_tokens=2048), description="how answers are sampled")
    response_never_stopped: Literal["reject", "keep"] = Field("reject", description="an answer cut by max_tokens")
    tags: list[TagName] = Field(["difficulty", "quality", "category", "safety", "reward", "language"],
                                description="tags=[] for none")
    tag_tokens: int = Field(512, ge=16, description="tokens a tagger's or judge's answer may have")
    tag_tries: int = Field(3, ge=1, le=20, description="tries until a tag counts as unparsed")
    sanitize: Sanitize = Sanitize()
    duplicates: Duplicates = Duplicates()
    preset: Literal["none", "air", "pro", "f1", "f2", "f3", "f4", "f5", "f6"] = Field(
        "none", description="filters and selection as in the paper; own thresholds win")
    filters: Filters = Filters()
    select: Select = Select()
    preferences: Preferences = Preferences()
    decontaminate: list[str] = Field([], description="text or JSONL files of evaluation prompts that must not occur")
    test_share: float = Field(0.0, ge=0, lt=1, description="share of the rows in the split `test`")

    @classmethod
    def expand(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Put the preset's thresholds under the user's own."""
        preset = PRESETS.get(str(values.get("preset", "none")), {})
        for part in ("filters", "select"):
            own = values.get(part)
            if part in preset and (own is None or isinstance(own, Mapping)):
                values[part] = {**preset[part], **(own or {})}
        if "reward" in preset and isinstance(values.get("filters"), Mapping) and "min_reward" not in values["filters"]:
            values["filters"] = {"min_reward": _preset_reward(values, preset["reward"]), **values["filters"]}
        return values

    @model_validator(mode="after")
    def _check(self) -> MagpieConfig:
        needs = {"difficulty": self.filters.min_difficulty is not None or self.select.by == "half easy",
                 "quality": self.filters.min_quality is not None, "category": self.select.by == "quotas",
                 "reward": (self.filters.min_reward is not None or self.filters.min_reward_difference is not None
                            or self.select.by == "best" or self.preferences.k > 0),
                 "language": bool(self.filters.languages)}
        for tag, needed in needs.items():
            if needed and tag not in self.tags:
                raise ValueError(f"tags lacks {tag!r}, which a filter, select or preferences needs; add it to tags")
        if self.filters.min_reward_difference is not None and self.base is None:
            raise ValueError("a reward difference needs a base model to compare with; give base=hf/ID (or any model), or "
                             "another preset")
        for control, names in (("topic", self.topics), ("persona", self.personas)):
            if (self.control == control) != bool(names):
                raise ValueError(f"{control}s goes with control={control}: give both or none")
        planned = sum(rows if isinstance(rows, int) else rows * self.n for rows in self.select.quotas.values())
        if self.select.quotas and (abs(planned - self.n) > 0.5 or min(self.select.quotas.values()) < 0):
            raise ValueError(f"select.quotas come to {planned:g} of n={self.n} rows; give rows that add up to n, or shares "
                             "that add up to 1.0")
        if self.preferences.k and self.turns > 1:
            raise ValueError("preferences.k and turns>1 do not go together; make pairs with turns=1")
        return self

    @property
    def candidate_limit(self) -> int:
        """Rows that may be begun: more where they are selected from a larger pool."""
        return self.max_candidates or 20 * ceil(self.n * self.select.pool) + 100

    def identity(self) -> dict[str, Any]:
        """The settings that decide what is made, with the contents of the files that they name."""
        named = [*(given for given in (self.topics, self.personas) if isinstance(given, str)), *self.decontaminate,
                 *([self.template] if self.template.endswith(".jinja") else [])]
        files = {name: blake2b(Path(name).read_bytes(), digest_size=8).hexdigest() for name in named if Path(name).is_file()}
        return {**super().identity(), **({"files": files} if files else {})}

    def subjects(self) -> list[str]:
        """The topics or personas to go through, read from their file where one is named."""
        given = self.topics or self.personas
        if not isinstance(given, str):
            return given
        try:
            lines = [line.strip() for line in Path(given).read_text(encoding="utf-8-sig").split("\n")]
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise UsageError(f"{self.control}s={given!r}: {why}; give a list or a text file with one a line") from None
        if not any(lines):
            raise UsageError(f"{self.control}s={given!r} is empty; write one a line")
        return [line for line in lines if line]


def _preset_reward(values: dict[str, Any], threshold: float) -> float:
    reward = values.get("reward")
    name = (reward.get("name") or reward.get("") if isinstance(reward, Mapping) else reward) or ""
    if not name:
        return PRESET_JUDGE_REWARD
    if PRESET_REWARD_MODEL.lower() not in str(name).lower():
        raise ValueError(f"preset={values['preset']} states its reward threshold for {PRESET_REWARD_MODEL}; {name} has another "
                         "scale, so give filters.min_reward yourself")
    return threshold


CONFIG = MagpieConfig
