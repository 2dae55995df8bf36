"""What everything shares that asks judges: tasks, answers, the panel. `pica.eval.judging_config` has the settings,
`pica.eval.evaluation` ranks what was judged, `pica.eval.audit` looks at the judges.

What is judged is a row of a recipe. So it has what recipes have: every call is in a ledger, what was killed goes on where it
stopped, budgets hold, rejected rows keep their reason, and adding a model (`--update`) asks only for what is new.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from typing import ClassVar, TypeVar

from pica.eval.battle import Order, Panel
from pica.eval.contestants import Answers, answer, check_labels, read_answers
from pica.eval.judge import KINDS, Judge, Kind
from pica.eval.judging_config import JudgingConfig
from pica.eval.tasks import Task, read_tasks
from pica.synth.errors import ModelError, Reject, UsageError
from pica.synth.models.base import ModelConfig
from pica.synth.recipe import Recipe
from pica.synth.run import Draft, Run

ORDERS: dict[str, tuple[Order, ...]] = {"both": ("ab", "ba"), "ab": ("ab",), "ba": ("ba",)}

C = TypeVar("C", bound=JudgingConfig)


class Judging(Recipe[C]):
    """A recipe whose rows are judgments."""

    judge_kind: ClassVar[Kind] = "pairwise"

    def __init__(self, config: C) -> None:
        super().__init__(config)
        self.tasks: list[Task] = []
        self.given: Answers = {}
        self.silent: Counter[str] = Counter()  # answers that a model did not give, by label
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
        try:
            return (await answer(draft, contestant, task, self.config.answer, self.config.seed)).text
        except ModelError:
            self.silent[label] += 1
            raise

    async def requirements(self, draft: Draft, task: Task) -> Sequence[str]:
        """What an answer to the task is checked for, by a judge that goes by checklists."""
        return task.checklist

    def row_id(self, *parts: str) -> str:
        """A row's id: the same for the same task and models, whoever else competes."""
        return f"{self.name}-{blake2b(chr(0).join(parts).encode(), digest_size=7).hexdigest()}"
