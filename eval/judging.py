"""What everything shares that asks judges: tasks, answers, the panel and its settings. `pica.eval.evaluation` ranks what was
judged, `pica.eval.audit` looks at the judges.

What is judged is a row of a recipe. So it has what recipes have: every call is in a ledger, what was killed goes on where it
stopped, budgets hold, rejected rows keep their reason, and adding a model (`--update`) asks only for what is new.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import Field, field_validator

from pica.eval.battle import Order, Panel
from pica.eval.contestants import Answers, Contestant, answer, check_labels, read_answers
from pica.eval.judge import KINDS, Judge, Kind
from pica.eval.tasks import SHIPPED, Task, read_tasks
from pica.synth.config import CallConfig
from pica.synth.errors import Reject, UsageError
from pica.synth.models.base import ModelConfig, Sampling
from pica.synth.recipe import Recipe
from pica.synth.run import Draft, Run

EMBEDDED_TOKENS = 256  # of an answer or a verdict of the embedded model, where nothing is said
ORDERS: dict[str, tuple[Order, ...]] = {"both": ("ab", "ba"), "ab": ("ab",), "ba": ("ba",)}


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


C = TypeVar("C", bound=JudgingConfig)


class Judging(Recipe[C]):
    """A recipe whose rows are judgments."""

    judge_kind: ClassVar[Kind] = "pairwise"

    def __init__(self, config: C) -> None:
        super().__init__(config)
        self.tasks: list[Task] = []
        self.given: Answers = {}
        if self.needs_judge and not config.judge:
            raise UsageError(f"{self.name} needs a judge; give judge=SPEC, such as judge=openai/NAME@URL or judge=local")

    @property
    def needs_judge(self) -> bool:
        """Whether verdicts must be asked for."""
        return True

    @property
    def models(self) -> list[ModelConfig]:
        """Contestants and judges."""
        return [*(contestant.model for contestant in self.config.models), *self.config.judge]

    @property
    def labels(self) -> list[str]:
        """Everybody who competes: models in the given order, then those whose answers are given."""
        return [*(contestant.title for contestant in self.config.models), *self.given]

    @property
    def panel(self) -> Panel:
        """Who judges, and how."""
        config = self.config
        return Panel(tuple(config.judge), self.judge, ORDERS[config.orders], config.tries, config.judging, config.seed)

    @property
    def judge(self) -> Judge:
        """The judge's prompt and parse: its kind's own, or with the user's prompt."""
        kind = KINDS[self.judge_kind]
        return kind.with_prompt(self.config.judge_prompt) if self.config.judge_prompt else kind

    async def prepare(self, run: Run) -> None:
        """Read tasks and answers. Raises `UsageError` for what does not go together."""
        config = self.config
        self.tasks = read_tasks(config.tasks, n=config.n, split=config.split, categories=config.categories)
        self.given = read_answers(config.answers) if config.answers else {}
        check_labels(config.models, self.given)
        self._check_answers()

    def _check_answers(self) -> None:
        """Given answers must be answers to these tasks."""
        known = {task.id for task in self.tasks}
        for label, answers in self.given.items():
            if not known & set(answers):
                raise UsageError(f"no answer of {label!r} is to a task of {self.config.tasks!r}: it answers {min(answers)!r} and "
                                 f"others, and the tasks are {self.tasks[0].id!r} and others; give the tasks they belong to")

    async def answer(self, draft: Draft, label: str, task: Task) -> str:
        """The answer of whoever bears this label. Raises `Reject` where it was given answers and none is to this task."""
        if label in self.given:
            text = self.given[label].get(task.id)
            if text is None:
                raise Reject(f"no answer of {label}", f"task {task.id}")
            return text
        contestant = next(contestant for contestant in self.config.models if contestant.title == label)
        return (await answer(draft, contestant, task, self.config.answer, self.config.seed)).text

    async def requirements(self, draft: Draft, task: Task) -> Sequence[str]:
        """What an answer to the task is checked for, by a judge that goes by checklists."""
        return task.checklist

    def row_id(self, *parts: str) -> str:
        """A row's id: the same for the same task and models, whoever else competes."""
        return f"{self.name}-{blake2b(chr(0).join(parts).encode(), digest_size=7).hexdigest()}"


def _content(path: Path) -> str:
    """A hash of a file, or of all files of a folder by name."""
    digest = blake2b(digest_size=8)
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(str(file.relative_to(path)).encode())
            digest.update(blake2b(file.read_bytes()).digest())
    return digest.hexdigest()
