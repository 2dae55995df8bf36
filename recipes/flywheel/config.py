"""Settings of a campaign. What another command does is told in that command's own settings: `pool` is for `pica run prompt-pool`,
`evaluation` for `pica eval arena`, and `train` of a stage for `pica train STAGE`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pica.eval.judging_config import EMBEDDED_TOKENS, Contestant, embedded
from pica.recipes.arena_learning.rules import Rules
from pica.recipes.flywheel.limits import CampaignBudget, GatesConfig
from pica.synth.budget import Budget
from pica.synth.config import CallConfig, load_config, parse_config
from pica.synth.errors import UsageError
from pica.synth.models.base import ModelConfig, Sampling

if TYPE_CHECKING:  # what help does not need
    from pica.eval.arena_config import ArenaConfig
    from pica.eval.divergence import DivergenceConfig
    from pica.recipes.arena_learning.config import ArenaLearningConfig
    from pica.recipes.prompt_pool.config import PromptPoolConfig
    from pica.train.config import TrainConfig
    from pica.train.weights import Start

StageName = Literal["sft", "dpo", "reward", "online"]
ORDER: tuple[StageName, ...] = ("sft", "dpo", "reward", "online")
START = "start"
CONFIGS = Path(__file__).parent / "configs"
PROMPTS = {"tiny": Path(__file__).parent / "prompts" / "tiny.jsonl"}

C = TypeVar("C", bound=BaseModel)

#: settings that say how far and how fast a campaign goes, never what one of its steps makes
VOLATILE = ("iterations", "concurrency", "budget", "durability", "missing")
#: settings that the campaign itself gives to the commands it uses
GIVEN = {"pool": ("data", "seed", "held_out", "held_embedder", "held_distance", "parts", "part_size", "n"),
         "evaluation": ("models", "target", "tasks", "split", "seed", "ledger", "budget", "concurrency", "durability"),
         "train": ("data", "model", "revision", "stage", "seed", "budget")}


class StageConfig(Rules):
    """A stage of training: which battles become its data, and how it learns from them. The preset follows the iteration."""

    config: str = Field("", description="settings of its training: the name of a shipped file, or a YAML file")
    train: dict[str, Any] = Field({}, description="further settings of its training, as for `pica train STAGE`")
    least: int = Field(1, ge=1, description="rows that must be selected; with fewer the stage is left out")


class CollapseConfig(BaseModel):
    """What is looked at in every iteration's answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    embedder: str = Field("minilm", description="for likeness and topics: minilm, hash, hf/ID; none: neither")
    kl: int = Field(16, ge=0, description="prompts on which the KL divergence to the start is estimated; 0: not at all")
    kl_tokens: int = Field(128, ge=1, description="tokens of an answer that is sampled for it")


class FlywheelConfig(CallConfig):
    """Settings of a campaign."""

    summary: ClassVar[str] = "battle, learn from what was lost, measure, and keep what is proven better, again and again"

    n: int = Field(0, ge=0, le=1_000_000_000, description="prompts that are read, from the first on; 0: all")
    target: ModelConfig = Field(ModelConfig(name="local"), description="the model to make better: local, or hf/PATH-OR-ID")
    rivals: list[Contestant] = Field([], description="who it fights: [openai/NAME@URL, {name: hf/PATH, label: mine}]")
    judge: list[ModelConfig] = Field([], description="who judges battles; several are a jury")
    data: list[str] = Field([], description=f"prompts: dataset folders, files, hub ids ORG/NAME, or {', '.join(PROMPTS)}")
    pool: dict[str, Any] = Field({}, description="how they are made ready: settings of `pica run prompt-pool`")
    held_out: int = Field(200, ge=0, description="prompts kept from training, on which every model is measured")
    budget: CampaignBudget = Field(CampaignBudget(), description="caps on the whole campaign; a higher one goes on")
    tasks: str = Field("", description="measure on these tasks instead: a name, file, folder or hub id (with held_out=0)")
    part_size: int = Field(0, ge=0, description="prompts of a part; 0: the pool is dealt evenly to all battles that feed a stage")
    iterations: int = Field(3, ge=1, le=1000, description="turns of the wheel; may be raised later where part_size is given")
    stages: list[StageName] = Field(["sft", "dpo"], min_length=1, description="trainings of an iteration, in the order sft, dpo, "
                                                                             "reward, online")
    sft: StageConfig = Field(StageConfig(), description="fine-tuning on the best rival's answers")
    dpo: StageConfig = Field(StageConfig(), description="preference pairs, winner against target")
    reward: StageConfig = Field(StageConfig(), description="a reward model, for online training")
    online: StageConfig = Field(StageConfig(), description="learning from answers of its own; rewards: the reward model, unless "
                                                           "online.train.rewards names others")
    sft_from: Literal["best", "start"] = Field("best", description="what fine-tuning starts from: the best model so far, or "
                                                                   "always the start")
    accumulate: bool = Field(False, description="train on the selected data of earlier iterations as well")
    battles: list[str] = Field([], description="evaluations whose battles the next iteration learns from as well; more may be "
                                              "added later, with --update")
    answer: Sampling = Field(Sampling(temperature=0.0, max_tokens=2048), description="how models answer (with local: 256 tokens)")
    judging: Sampling = Field(Sampling(temperature=0.0, max_tokens=1024), description="how judges judge (local: 256 tokens)")
    judge_prompt: str = Field("", description="a text file instead of the judge's own prompt, with the same slots")
    tries: int = Field(3, ge=1, le=20, description="tries until a verdict counts as unscored")
    missing: float = Field(0.1, ge=0, le=1, description="share of a step's battles that may get no answer; with more the "
                                                        "campaign stops, and asks again when it goes on")
    rounds: int = Field(1000, ge=100, le=100_000, description="rounds of the bootstrap behind ratings")
    engine: Literal["hf", "vllm"] = Field("hf", description="what answers for trained models")
    evaluation: dict[str, Any] = Field({}, description="how models are measured: settings of `pica eval arena`, such as judge")
    gates: GatesConfig = Field(GatesConfig(), description="what a model must pass to replace the one before")
    collapse: CollapseConfig = Field(CollapseConfig(), description="what is looked at in every iteration's answers")

    @field_validator("rivals", "judge", mode="before")
    @classmethod
    def _models(cls, value: Any) -> Any:
        """One model, by name or with settings, is a list of one."""
        if isinstance(value, Mapping):
            return [{("name" if key == "" else key): inner for key, inner in value.items()}]
        return [value] if isinstance(value, str) and value else value or []

    @field_validator("data", "battles", "stages", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) and value else value or []

    @classmethod
    def expand(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Short answers where the embedded model writes or judges; shipped settings under a stage's own."""
        for setting, roles in (("judging", ("judge",)), ("answer", ("target", "rivals"))):
            given = values.get(setting, {})
            if isinstance(given, Mapping) and any(embedded(values.get(role, "local" if role == "target" else None))
                                                  for role in roles):
                values = {**values, setting: {"max_tokens": EMBEDDED_TOKENS, **given}}
        return values

    @model_validator(mode="after")
    def _together(self) -> Self:
        """What must go together, and the settings for other commands: wrong ones show before anything runs."""
        if not self.data:
            raise ValueError("data is missing: say where prompts come from, such as data=prompts.jsonl")
        if not self.rivals:
            raise ValueError("rivals are missing: say whom the target fights, such as rivals=[openai/NAME@URL]")
        if not self.judge:
            raise ValueError("judge is missing: say who judges battles, such as judge=openai/NAME@URL")
        if bool(self.tasks) == bool(self.held_out):
            raise ValueError("models are measured on held-out prompts or on tasks, and on one of them: give held_out=N, or "
                             "tasks=NAME with held_out=0")
        labels = [START, *(rival.title for rival in self.rivals)]
        if taken := next((label for label in labels if labels.count(label) > 1 or label.startswith("iteration ")), ""):
            raise ValueError(f"the label {taken!r} is taken; give the rival another one, such as {{name: ..., label: rival}}")
        if len(set(self.stages)) < len(self.stages):
            raise ValueError(f"stages={self.stages} names one twice")
        if "reward" in self.stages and "online" not in self.stages:
            raise ValueError("stages holds reward without online: nothing would learn from the reward model")
        if "online" in self.stages and "reward" not in self.stages and not self.online.train.get("rewards"):
            raise ValueError("stages holds online and nothing that scores: add reward to stages, or give online.train.rewards")
        if set(self.stages) <= {"reward"}:
            raise ValueError("stages trains no model that answers; add sft, dpo or online")
        self.pool_config(1)
        self.arena_config({})
        if self.collapse.kl:
            self.divergence_config({})
        for stage in self.stages:
            self.select_config(stage, "battles", "")
            self.train_config(stage, [{"source": "data"}], "local")
        return self

    @property
    def sources(self) -> list[str]:
        """Where the prompts come from, those that are shipped by their file."""
        return [str(PROMPTS[name]) if name in PROMPTS else name for name in self.data]

    @property
    def ordered(self) -> list[StageName]:
        """The stages in the order in which they come."""
        return [stage for stage in ORDER if stage in self.stages]

    @property
    def fed(self) -> list[StageName]:
        """The stages that have a part of the prompts: reward model and online training share one."""
        return [stage for stage in self.ordered if stage != "online" or "reward" not in self.stages]

    def part(self, used: int, stage: StageName) -> int:
        """The number of the part of the prompts that a stage fights on, from 1: `used` parts belong to earlier iterations."""
        return used + self.fed.index(stage) + 1

    def identity(self) -> dict[str, Any]:
        """The settings that decide what is made."""
        return {name: value for name, value in super().identity().items() if name not in VOLATILE}

    def shared(self, budget: Budget, ledger: Path | str) -> dict[str, Any]:
        """What every step that asks models is told."""
        return {"seed": self.seed, "concurrency": self.concurrency, "durability": self.durability, "ledger": str(ledger),
                "budget": budget}

    def pool_config(self, parts: int, ledger: Path | str = "") -> PromptPoolConfig:
        """How the prompts are made ready."""
        from pica.recipes.prompt_pool.config import PromptPoolConfig

        _refuse("pool", self.pool)
        size = {"part_size": self.part_size} if self.part_size else {"parts": parts}
        made = _parsed(PromptPoolConfig, {**self._apart(), "data": self.sources, "n": self.n, "seed": self.seed,
                                          "ledger": str(ledger), "held_out": self.held_out, **size}, "pool")
        gates = self.gates
        if self.tasks and gates.embedder != "none" and (made.embedder != gates.embedder or made.distance < gates.distance):
            raise UsageError(f"pool.embedder={made.embedder}, pool.distance={made.distance:g} let prompts through that the gate "
                             f"refuses with gates.embedder={gates.embedder}, gates.distance={gates.distance:g}; give the same")
        return made

    def _apart(self) -> dict[str, Any]:
        """The user's settings of the pool, and those that keep evaluation prompts out of its parts, as the gate asks."""
        near = {"embedder": self.gates.embedder, "distance": self.gates.distance}
        if not self.tasks:
            return {**self.pool, **{f"held_{name}": value for name, value in near.items()}}
        given = self.pool.get("decontaminate") or []
        named = [given] if isinstance(given, str) else given
        if isinstance(named, list) and self.tasks not in named:
            named = [*named, self.tasks]
        return {**(near if self.gates.embedder != "none" else {}), **self.pool, "decontaminate": named}

    def arena_config(self, values: Mapping[str, Any], *, measuring: bool = True) -> ArenaConfig:
        """How models fight (`measuring` is false for battles that feed a stage, which no audit goes with)."""
        from pica.eval.arena_config import ArenaConfig

        own = {"judge": [judge.model_dump() for judge in self.judge], "judge_prompt": self.judge_prompt, "tries": self.tries,
               "answer": self.answer.model_dump(), "judging": self.judging.model_dump(), "verdict": "scores",
               "level": self.gates.level, "rounds": self.rounds}
        if measuring:
            _refuse("evaluation", self.evaluation)
            own.update(self.evaluation)
        else:
            own["audit"] = 0
        return _parsed(ArenaConfig, {**own, **values}, "evaluation")

    def select_config(self, stage: StageName, battles: str, target: str, *, iteration: int = 1,
                      ledger: Path | str = "") -> ArenaLearningConfig:
        """How battles become the data of a stage. The preset is the paper's for this iteration, unless one is stated."""
        from pica.recipes.arena_learning.config import ArenaLearningConfig

        settings = self.stage(stage)
        rules = settings.model_dump(include=set(Rules.model_fields))
        if "preset" not in settings.model_fields_set:
            rules["preset"] = "first" if iteration == 1 else "later"
        values = {**rules, "use": stage, "battles": battles, "target": target, "seed": self.seed, "n": 0, "ledger": str(ledger)}
        return _parsed(ArenaLearningConfig, values, stage)

    def divergence_config(self, values: Mapping[str, Any]) -> DivergenceConfig:
        """How the KL divergence to the start is estimated."""
        from pica.eval.divergence import DivergenceConfig

        return _parsed(DivergenceConfig, {**values, "n": self.collapse.kl, "tokens": self.collapse.kl_tokens}, "collapse")

    def train_config(self, stage: StageName, data: list[dict[str, Any]], model: str, revision: str = "") -> TrainConfig:
        """How a stage learns from data, beginning with a model (of the hub's `revision`)."""
        from pica.train.stage import load_stage

        settings, kind = self.stage(stage), load_stage(stage)
        _refuse("train", settings.train, f"{stage}.train")
        base = load_config(kind.config_class, file=train_file(settings.config)) if settings.config else kind.config_class()
        given = base.model_dump(exclude_unset=True) if settings.config else {}
        if "budget" in given:
            raise UsageError(f"{stage}.config={settings.config} holds a budget, which the campaign sets; leave it out there")
        more = {"data": data, "model": model, "revision": revision, "seed": self.seed % 2**32}
        return _parsed(kind.config_class, {**given, **settings.train, **more}, f"{stage}.train")

    def check(self) -> None:
        """Raise `UsageError` for what a stage refuses, for a target that cannot be trained, for `battles` that are none, and for
        packages that are missing, before anything runs."""
        from pica.recipes.arena_learning.sources import check_battles
        from pica.train.run import need_packages
        from pica.train.stage import load_stage

        need_packages()
        self.trainable()
        check_battles(self.battles)
        if self.collapse.embedder != "none" and find_spec("sklearn") is None:
            raise UsageError('scikit-learn is not installed, which topics of answers need; run: pip install "pica[filters]", or '
                             "say collapse.embedder=none")
        for stage in self.ordered:
            made = self.train_config(stage, [{"source": "data"}], "local")
            if stage != "online" or self.online.train.get("rewards"):  # else it gets the reward model, once there is one
                load_stage(stage).check(made)

    def trainable(self) -> Start:
        """The weights that trainings start from. Raises `UsageError` where the target has none that can be trained."""
        from pica.recipes.flywheel.fighter import start_of
        from pica.train.weights import find_model

        try:
            return find_model(start_of(self).weights, self.target.revision)
        except UsageError as error:
            raise UsageError(f"target: {error}") from None

    def stage(self, name: StageName) -> StageConfig:
        """The settings of a stage."""
        found: StageConfig = getattr(self, name)
        return found


def train_file(name: str) -> Path:
    """The settings of a training by path, or by the name of those that are shipped. Raises `UsageError`."""
    return _named(name, Path(str(files("pica.train").joinpath("configs"))), "settings of a training")


def config_file(name: str) -> Path:
    """The settings of a campaign by path, or by the name of those that are shipped. Raises `UsageError`."""
    return _named(name, CONFIGS, "config")


def shipped() -> list[str]:
    """The campaigns that come with Pica."""
    return sorted(file.stem for file in CONFIGS.glob("*.yaml"))


def _named(name: str, folder: Path, what: str) -> Path:
    if Path(name).is_file():
        return Path(name)
    if (folder / f"{name}.yaml").is_file():
        return folder / f"{name}.yaml"
    known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
    raise UsageError(f"no {what} {name!r}; give a YAML file, or one of: {known}")


def _parsed(cls: type[C], values: dict[str, Any], where: str) -> C:
    """The config of another command. Raises `UsageError` that says where its settings stand."""
    try:
        return parse_config(cls, values)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None


def _refuse(kind: str, given: Mapping[str, Any], where: str = "") -> None:
    """Raise `UsageError` where settings for another command hold one that the campaign sets."""
    if taken := [name for name in given if name in GIVEN[kind]]:
        raise UsageError(f"{where or kind}.{taken[0]} is set by the campaign; leave it out")


CONFIG = FlywheelConfig
