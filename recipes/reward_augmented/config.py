"""Settings of reward augmentation, and UltraFeedback's own preparation as a preset."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pica.synth.config import CallConfig
from pica.synth.errors import UsageError
from pica.synth.models.base import ModelConfig, Sampling
from pica.synth.models.goal import Scale, Style, check_scale

ScorerKind = Literal["data", "reward", "judge", "implicit"]


class Strict(BaseModel):
    """A part of the config."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class OnPolicy(Strict):
    """The on-policy variant: k answers of the policy to each prompt of the data; the best against the worst."""

    bare: ClassVar[str] = "k"

    k: int = Field(0, ge=0, le=64, description="answers of the policy to each prompt; 0: the data's own answers")

    @model_validator(mode="after")
    def _check(self) -> OnPolicy:
        if self.k == 1:
            raise ValueError("on_policy.k=1 makes no pair; 0 is off, 2 or more makes pairs")
        return self


class Candidates(Strict):
    """How a pair is taken from data with several scored answers to a prompt (UltraFeedback's own format)."""

    rejected: Literal["random", "worst"] = Field("random", description="the best overall score against a random other, or "
                                                                       "against the worst")
    complete: bool = Field(True, description="leave out answers with a rating N/A")
    consistent: bool = Field(False, description="reject pairs whose mean of the single ratings says otherwise")


#: Published preparations. `ultrafeedback` is the paper's; which of its prompts stand in an evaluation is `decontaminate`'s
#: to find, since that depends on the evaluations at hand.
PRESETS: dict[str, dict[str, Any]] = {
    "none": {},
    "ultrafeedback": {"candidates": {"rejected": "random", "complete": True, "consistent": True},
                      "drop_sources": ["truthful_qa"], "test_rows": 2000, "invalid": "reject"},
}


class RewardAugmentedConfig(CallConfig):
    """Settings of reward augmentation."""

    summary: ClassVar[str] = "preference pairs of any dataset, relabelled so that a policy can be asked for a score"
    steps: ClassVar[dict[str, str]] = {"response": "policy"}

    n: int = Field(0, ge=0, le=1_000_000_000, description="rows wanted; 0: all that the data gives, two for each pair")
    data: str = Field("", description="dataset: a folder, a .jsonl, .json or .parquet file, or a hub id ORG/NAME[:CONFIG]")
    split: str = Field("train", description="split of the data to relabel")
    test_split: str = Field("", description="split of the data that is carried over as the split `test`")
    revision: str = Field("", description="revision of a dataset of the hub")
    preset: Literal["none", "ultrafeedback"] = Field("none", description="a published preparation; own settings win")

    scorer: Literal["auto", "data", "reward", "judge", "implicit"] = Field(
        "auto", description="who scores; auto: the model that is named, else the scores of the data")
    reward: ModelConfig | None = Field(None, description="reward model (hf/ID: a sequence classifier)")
    judge: ModelConfig | None = Field(None, description="judge that grades from 1 to 10 by the rubric")
    rubric: str = Field("helpful", description="rubric of the judge: helpful, aspects, or a text file")
    judge_tries: int = Field(3, ge=1, le=20, description="tries until an answer of the judge counts as unparsed")
    policy: ModelConfig | None = Field(None, description="model that answers with on_policy.k; with a reference, the model "
                                                         "trained by DPO whose implicit reward scores")
    reference: ModelConfig | None = Field(None, description="the model that the policy was trained from, for implicit rewards")
    beta: float = Field(0.1, gt=0, description="of the implicit reward")
    attributes: list[str] = Field([], description="goals are of these: the reward model's, the judge's, UltraFeedback's ratings, "
                                                  "or columns NAME_chosen and NAME_rejected; empty: the overall score")

    style: Style = Field("system", description="system: the goal stands in the system message; prefix: before the first user "
                                               "message, for chat templates without a system role")
    scale: Scale = Field((1.0, 10.0), description="least and greatest score that goals show")
    decimals: int = Field(1, ge=0, le=6, description="decimals of a goal; halves are rounded to the even digit")
    source_scale: Scale | Literal["auto", "data"] = Field(
        "auto", description="scale of the scores, mapped to `scale` by a straight line; data: their least and greatest; auto: "
                            "the scorer's own, `scale` for scores of the data, `data` where there is no bound")
    attribute_scale: Scale | Literal["auto", "data"] = Field(
        "auto", description="likewise of the attributes; auto: 1 to 5 for UltraFeedback's ratings, else as source_scale")

    relabel: Literal["goals", "none"] = Field("goals", description="none: the same pairs without goals, to compare with")
    half: bool = Field(False, description="one of the two rows of each pair, seeded: as many rows as plain DPO")
    ties: Literal["reject", "keep_one"] = Field("reject", description="pairs whose goals read the same: dropped, or one row kept")
    min_margin: float = Field(0.0, ge=0, description="pairs whose scores differ by less, on `scale`, are rejected")
    inverted: Literal["keep", "reject"] = Field(
        "keep", description="pairs whose rejected answer scores higher: kept (goals follow the scores), or dropped")
    invalid: Literal["error", "reject"] = Field(
        "error", description="rows that cannot be read or whose scores are missing or outside of their scale: stop, or drop")

    tokenizer: str = Field("", description="folder, hub id or model whose tokens max_length counts")
    max_length: int = Field(0, ge=0, description="tokens that prompt, goal and answer may have; 0: no limit")
    too_long: Literal["reject", "shorten"] = Field(
        "reject", description="shorten: leave out early turns, then the text right behind the goal; never goal or answer")

    on_policy: OnPolicy = OnPolicy()
    response: Sampling = Field(Sampling(temperature=0.8, max_tokens=1024), description="how the policy's answers are sampled")
    response_never_stopped: Literal["reject", "keep"] = Field("reject", description="an answer cut by max_tokens")
    candidates: Candidates = Candidates()
    drop_sources: list[str] = Field([], description="values of the data's column `source` whose rows are dropped")
    decontaminate: list[str] = Field([], description="files of evaluation prompts that must not occur: text, one a line, or data")
    test_rows: int = Field(0, ge=0, description="rows of the data, by prompt and seed, that become the split `test`")
    augment_test: bool = Field(False, description="give the split `test` goals too")

    @classmethod
    def expand(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Put the preset's settings under the user's own."""
        for name, value in PRESETS.get(str(values.get("preset", "none")), {}).items():
            own = values.get(name)
            if own is None:
                values[name] = value
            elif isinstance(value, Mapping) and isinstance(own, Mapping):
                values[name] = {**value, **own}
        return values

    @model_validator(mode="after")
    def _check(self) -> RewardAugmentedConfig:
        if not self.data:
            raise ValueError("name the pairs: data=PAIRS.jsonl (or a folder, a .parquet file, a hub id ORG/NAME)")
        check_scale(self.scale, self.decimals)
        for scale in (self.source_scale, self.attribute_scale):
            check_scale(None if isinstance(scale, str) else scale)
        if self.half and self.relabel == "none":
            raise ValueError("half=true and relabel=none do not go together: without goals each pair gives one row anyway")
        if self.max_length and not self.tokenizer:
            raise ValueError("max_length counts tokens, so it needs tokenizer=MODEL (the model that will be trained)")
        if len(set(self.attributes)) < len(self.attributes):
            raise ValueError("attributes names one twice")
        self._check_scorer()
        return self

    def _check_scorer(self) -> None:
        named = self.named_scorers
        if len(named) > 1 and self.scorer == "auto":
            raise ValueError(f"several could score ({', '.join(named)}); say which: scorer={named[0]}")
        if self.scorer not in {"auto", "data", *named}:
            needs = {"reward": "reward=hf/ID", "judge": "judge=openai/NAME", "implicit": "policy=hf/ID reference=hf/ID"}
            raise ValueError(f"scorer={self.scorer} needs {needs[self.scorer]}")
        if self.reference is not None and self.policy is None:
            raise ValueError("reference= is what the implicit reward compares with; name the model trained by DPO: policy=hf/ID")
        if self.on_policy.k and self.policy is None:
            raise ValueError("on_policy.k asks a policy; name it: policy=hf/ID")
        if self.policy is not None and not self.on_policy.k and self.reference is None:
            raise ValueError("policy= is for on_policy.k, or for implicit rewards with reference=; give one of them")
        if self.on_policy.k and (self.scorer == "data" or not named):
            raise ValueError("answers of a policy have no scores; name who scores them: reward=hf/ID, judge=openai/NAME or "
                             "reference=hf/ID")

    @property
    def named_scorers(self) -> list[ScorerKind]:
        """Who could score, going by the models that are named."""
        named: list[tuple[ScorerKind, ModelConfig | None]] = [
            ("reward", self.reward), ("judge", self.judge), ("implicit", self.reference)]
        return [kind for kind, model in named if model is not None]

    def identity(self) -> dict[str, Any]:
        """The settings that decide what is made, with the contents of the data and files that they name."""
        from pica.synth.source import open_source

        files = [*self.decontaminate, *([self.rubric] if self.judge else [])]
        contents = {name: blake2b(Path(name).read_bytes(), digest_size=8).hexdigest() for name in files if Path(name).is_file()}
        for split in filter(None, [self.split, self.test_split]):
            contents[f"{self.data} ({split})"] = open_source(self.data, split=split, revision=self.revision).fingerprint
        return {**super().identity(), "files": contents}


def read_evaluation(name: str) -> list[str]:
    """The prompts of an evaluation: one a line of a text file, or those of a dataset. Raises `UsageError`."""
    from pica.synth.formats import BadRow, first_instruction
    from pica.synth.source import open_source

    if Path(name).suffix == ".txt":
        try:
            return [line for line in Path(name).read_text(encoding="utf-8-sig").split("\n") if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise UsageError(f"decontaminate: cannot read {name}: {why}; give text files, one prompt a line, or data") from None
    prompts = []
    for number, row in enumerate(open_source(name)):
        try:
            prompts.append(first_instruction(row))
        except BadRow as error:
            raise UsageError(f"decontaminate: {name} row {number}: {error}") from None
    return prompts


CONFIG = RewardAugmentedConfig
