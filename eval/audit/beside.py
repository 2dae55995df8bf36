"""An evaluation with the audit of its judge: what `pica eval` makes, whatever the benchmark.

The evaluation makes its own judgments and ranks them as if it were alone. After them come the battles of the audit, as rows of
the split `audit`. Where the judge fails, the first line of the leaderboard says so. Where judgments are given and no judge is
asked, only the answers are looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec

from pica.eval.audit.attacks import Attack, attacks_for
from pica.eval.audit.bouts import NAME, AuditRow, Bouts
from pica.eval.audit.detectors import Answered, detect, warnings_of
from pica.eval.audit.result import Result, Setting, result_of
from pica.eval.evaluation import Evaluation
from pica.eval.report import BATTLES
from pica.eval.tasks import Task
from pica.synth.models.base import ModelConfig
from pica.synth.plan import Plan, Step
from pica.synth.progress import Progress
from pica.synth.recipe import Recipe
from pica.synth.report import Column as Shown
from pica.synth.report import Report
from pica.synth.rows import Column, Provenance
from pica.synth.run import Draft, Run
from pica.synth.table import Table

ATTACK = Shown("attack", "category", "attack of the judge's audit; none: a judgment of the benchmark")


class Audited(Recipe[Any]):
    """An evaluation, and the audit of its judge beside it."""

    result: Result

    def __init__(self, evaluation: Evaluation[Any]) -> None:
        super().__init__(evaluation.config)
        self.name = evaluation.name  # type: ignore[misc]  # of the evaluation that it wraps
        self.evaluation = evaluation

    @property
    def asks(self) -> bool:
        """Whether there is a judge to try."""
        return bool(self.config.judge) and self.evaluation.needs_judge and self.config.audit.tasks > 0

    @property
    def attacks(self) -> list[Attack]:
        """What it is tried with."""
        return attacks_for(self.config.audit.attacks, self.evaluation.judge.sides)

    @property
    def row_class(self) -> type[Provenance]:
        """The evaluation's rows, with the columns of an audit's that they do not have."""
        own = self.evaluation.row_class
        if not self.asks:
            return own
        known, hints = set(own.__struct_fields__), get_type_hints(AuditRow, include_extras=True)
        more = [(name, _optional(hints[name]), None) for name in AuditRow.__struct_fields__ if name not in known]
        whole = msgspec.defstruct(own.__name__, more, bases=(own,), kw_only=True)
        assert issubclass(whole, Provenance)
        return whole

    @property
    def models(self) -> list[ModelConfig]:
        """The evaluation's."""
        return self.evaluation.models

    @property
    def own(self) -> int:
        """Judgments of the evaluation."""
        return self.evaluation.candidates

    @property
    def source_rows(self) -> int | None:
        """The evaluation's judgments, then the audit's."""
        return self.own + len(self.bouts)

    @property
    def wanted(self) -> int:
        """All of them."""
        return self.evaluation.wanted + len(self.bouts)

    @cached_property
    def tasks(self) -> list[Task]:
        """Tasks of the audit: the first ones to which the first contestant has, or can give, an answer."""
        evaluation = self.evaluation
        answers = evaluation.given.get(evaluation.labels[0])
        return [task for task in evaluation.tasks if task.conversation and (answers is None or answers.get(task.id, "").strip())
                ][:self.config.audit.tasks]

    @cached_property
    def bouts(self) -> Bouts:
        """Battles of the audit, known after `prepare`."""
        if not self.asks or not self.evaluation.labels or not self.tasks:
            return Bouts(self.evaluation, [], {})
        return Bouts.of(self.evaluation, self.tasks, self.attacks, self.evaluation.labels[:1])

    async def prepare(self, run: Run) -> None:
        """The evaluation's."""
        await self.evaluation.prepare(run)

    async def make_row(self, draft: Draft) -> msgspec.Struct | Sequence[msgspec.Struct]:
        """A judgment of the evaluation, or a battle of the audit."""
        if draft.index < self.own:
            return await self.evaluation.make_row(draft)
        return await self.bouts.row(draft, draft.index - self.own)

    def finish(self, table: Table, progress: Progress) -> None:
        """Let the evaluation rank its part; then say what the audit found."""
        table.split([NAME if row["recipe"] == NAME else "train" for row in table.rows()])
        own = table.part("train")
        self.evaluation.finish(own, progress)
        detections = detect(Answered.of(own.rows()))
        tried = len(self.bouts) > 0
        setting = Setting.by(self.evaluation, self.evaluation.labels[0] if tried else "", len(self.tasks) if tried else 0)
        if tried:
            self.result = result_of(setting, list(table.part(NAME).rows()), self.attacks, detections=detections,
                                    level=self.config.level, rounds=self.config.rounds)
        else:
            self.result = Result(setting, "not audited", self._why_not(), detections=detections, level=self.config.level)
        self._tell(table)

    def _why_not(self) -> str:
        if not self.config.judge or not self.evaluation.needs_judge:
            return "The judge was not audited: judgments are given, and no judge is asked"
        if not self.config.audit.tasks:
            return "The judge was not audited: audit.tasks=0"
        return "The judge was not audited: there is no task with an answer to set an attack against"

    def _tell(self, table: Table) -> None:
        """A judge that fails comes first in the warnings, what the detectors found comes last."""
        board, warnings = self.evaluation.leaderboard, table.notes.setdefault("warnings", [])
        first = [self.result.sentence] if self.result.fails else []
        last = warnings_of(self.result.detections)
        warnings[:] = [*first, *warnings, *last]
        self.evaluation.leaderboard = replace(board, warnings=(*first, *board.warnings, *last))
        table.notes["audit"] = {"verdict": self.result.verdict, "sentence": self.result.sentence}

    def report(self, folder: Path, table: Table, manifest: dict[str, Any], wanted: list[Column]) -> Report:
        """The evaluation's report with the audit, its battles among the rows."""
        own = self.evaluation.report(folder, table.part("train"), manifest, wanted)
        if not len(self.bouts):
            return replace(own, sections=[*own.sections, *self.result.sections(whole=False)],
                           facts=[*own.facts, ("audit", self.result.sentence)])
        panes = own.panes if BATTLES in own.panes else (*own.panes, BATTLES)
        return replace(own, sections=[*own.sections, *self.result.sections(whole=False)], panes=panes,
                       columns=[*own.columns, ATTACK], rows=chain(own.rows, table.part(NAME).rows()),
                       facts=[*own.facts, ("audit", self.result.sentence)])

    def files(self) -> dict[str, str]:
        """The evaluation's, and `audit.json`."""
        return {**self.evaluation.files(), "audit.json": self.result.to_json()}

    def card(self, table: Table) -> str:
        """The evaluation's."""
        return self.evaluation.card(table.part("train"))

    def plan(self) -> Plan:
        """The evaluation's calls and those of the audit."""
        return self.beside(self.evaluation.plan())

    def beside(self, plan: Plan) -> Plan:
        """The audit's calls beside those of the evaluation."""
        if not self.asks or not plan.rows:
            return plan
        alone = self.evaluation.judge.sides == 1
        tasks = min(self.config.audit.tasks, self.config.n or self.config.audit.tasks)
        battles = tasks * len(self.attacks) * (1 if alone else len(self.evaluation.panel.orders))
        audit = [Step(NAME, judge, battles / plan.rows, 1500, 150) for judge in self.config.judge]
        return Plan(plan.rows, [*plan.steps, *audit])


def _optional(hint: Any) -> Any:
    """The annotated type of a field, None beside it."""
    inner, *said = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    return Annotated[(inner | None, *said)] if said else inner | None
