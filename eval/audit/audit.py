"""`pica audit`: is this judge worth believing?

    pica audit judge=openai/NAME@URL --out A
    pica audit judge=local answers=FILE search.steps=200 --out A

An audit is a recipe whose rows are battles: attacks against honest answers, and honest answers against each other where several
models give them. It writes `audit.json` and a report whose first line says whether the judge passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pica.eval.audit.attacks import Attack, attacks_for
from pica.eval.audit.bouts import HONEST, AuditRow, Bouts
from pica.eval.audit.config import AuditConfig
from pica.eval.audit.detectors import Answered, detect, warnings_of
from pica.eval.audit.families import family_by
from pica.eval.audit.people import beside_people, read_labels
from pica.eval.audit.result import Result, Setting, result_of
from pica.eval.audit.search import Found, search
from pica.eval.bias import self_preference
from pica.eval.judge import Kind
from pica.eval.judging import Judging
from pica.eval.report import BATTLE_COLUMNS, BATTLES
from pica.eval.report import warnings_of as warnings_in
from pica.eval.tasks import Task, read_tasks
from pica.synth.errors import UsageError
from pica.synth.overview import facts_of, rows_of
from pica.synth.plan import Plan, Step
from pica.synth.progress import Progress
from pica.synth.report import Column as Shown
from pica.synth.report import Report
from pica.synth.rows import Column, Provenance
from pica.synth.run import Draft, Run
from pica.synth.table import Table

COLUMNS = (Shown("attack", "category", "attack that the judge was tried with"), *BATTLE_COLUMNS)


class Audit(Judging[AuditConfig]):
    """Battles that a fair judge decides in a known way."""

    name = "audit"
    config_class = AuditConfig
    result: Result
    bouts: Bouts
    found: Found | None = None

    def __init__(self, config: AuditConfig) -> None:
        super().__init__(config)
        if not config.models and not config.answers:
            raise UsageError("an audit needs honest answers; give models=[local] or answers=FILE")
        self.people = read_labels(config.labels) if config.labels else {}

    @property
    def judge_kind(self) -> Kind:  # type: ignore[override]
        """Pairs, by outcome or by scores, or single answers."""
        return self.config.verdict

    @property
    def row_class(self) -> type[Provenance]:
        """Battles with the name of the attack."""
        return AuditRow

    @property
    def attacks(self) -> list[Attack]:
        """What the judge is tried with, the searched attack included once it is found."""
        return [*([self.found.attack] if self.found else []), *attacks_for(self.config.attacks, self.judge.sides)]

    @property
    def source_rows(self) -> int | None:
        """Battles there are to fight."""
        return len(self.bouts)

    @property
    def wanted(self) -> int:
        """All of them."""
        return len(self.bouts)

    async def prepare(self, run: Run) -> None:
        """Read tasks and answers; search for words, where that is asked for."""
        await super().prepare(run)
        answers = self.given.get(self.labels[0])
        tasks = [task for task in self.tasks if answers is None or answers.get(task.id, "").strip()]
        seen = self.config.search.tasks if self.config.search.steps else 0
        if seen >= len(tasks):
            raise UsageError(f"search.tasks={seen}: the search needs tasks of its own, and there are {len(tasks)}; give a larger "
                             "n, or fewer search.tasks")
        fixed = self.attacks
        if seen:
            self.found = await search(self, run, tasks[:seen], self.labels[0], self.config.search)
        self.bouts = Bouts.of(self, tasks, fixed, self.labels, self.found.attack if self.found else None, tasks[seen:])
        if not len(self.bouts):
            raise UsageError("nothing to try: attacks=[] and one model; name attacks, or give several models")

    async def make_row(self, draft: Draft) -> AuditRow:
        """A battle."""
        return await self.bouts.row(draft, draft.index)

    def finish(self, table: Table, progress: Progress) -> None:
        """Say what was found."""
        rows = list(table.rows())
        honest = [row for row in rows if row["attack"] == HONEST]
        config, family = self.config, family_by(self.config.families)
        setting = Setting.by(self, self.labels[0], len({bout.task.id for bout in self.bouts.bouts}))
        self.result = result_of(
            setting, rows, self.attacks, detections=detect(self._answered(rows)), shares=self_preference(honest, family),
            people=beside_people(honest, self.people, level=config.level) if self.people else None,
            search=self.found.to_json() if self.found else None, level=config.level, rounds=config.rounds)
        table.notes["audit"] = {"verdict": self.result.verdict, "sentence": self.result.sentence}
        table.notes["judge_prompt"] = self.judge.prompt.hash
        first = [] if self.result.verdict == "passes" else [self.result.sentence]
        table.notes["warnings"] = [*first, *warnings_of(self.result.detections)]

    def _answered(self, rows: Sequence[dict[str, Any]]) -> Answered:
        """The honest answers that were judged."""
        sides = [(row, side) for row in rows if self.judge.sides == 2 for side in ("ab" if row["attack"] == HONEST else "b")]
        return Answered.of({"task": row["task"], "prompt": row["prompt"], "contestant": row[f"model_{side}"],
                            "answer": row[f"answer_{side}"]} for row, side in sides)

    def report(self, folder: Path, table: Table, manifest: dict[str, Any], wanted: list[Column]) -> Report:
        """The verdict first, then every check, then every battle."""
        return Report(title=f"audit: {', '.join(self.result.setting.judges)}", subtitle=folder.name,
                      verdict=self.result.sentence,
                      warnings=[text for text in warnings_in(manifest) if text != self.result.sentence],
                      facts=facts_of(manifest), sections=self.result.sections(), rows=rows_of(table), columns=COLUMNS,
                      panes=(BATTLES,), trace=f"pica trace {folder} {{id}}")

    def files(self) -> dict[str, str]:
        """The findings for programs."""
        return {"audit.json": self.result.to_json()}

    def plan(self) -> Plan:
        """Calls a battle; those of the search are for the whole."""
        config = self.config
        tasks: list[Task] = read_tasks(config.tasks, n=config.n, split=config.split, categories=config.categories)
        rows = max(1, len(tasks) * len(self.attacks))
        orders = 1 if self.judge.sides == 1 else len(self.panel.orders)
        steps = [Step(f"answer {one.title}"[:14], one.model, len(tasks) / rows, 200, min(config.answer.max_tokens, 500))
                 for one in config.models]
        searched = config.search.steps and (config.search.steps + 1) * config.search.tasks * orders / rows
        steps += [Step("judge", judge, orders, 1500, 150) for judge in config.judge]
        return Plan(rows, [*steps, *(Step("search", judge, searched, 1500, 150) for judge in config.judge if searched)])


EVALUATION = Audit
