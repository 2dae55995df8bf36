"""`pica eval checklist`: answers checked item by item against a checklist (TICK), with pass rates and their intervals.

    pica eval checklist models=[local] judge=openai/NAME@URL --out E

Tasks that bring a checklist are checked against it. For the others the `writer` (default: the first judge) writes one from the
conversation alone, once for all models. Each item is a call of its own.

Source: Cook and others, "TICKing All the Boxes" (2024): PR is the share of items that an answer meets; DRFR is that of all
items of all answers together, which is the score here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from math import isnan
from typing import Annotated, Any, ClassVar

import msgspec

from pica.eval.checklist_config import ChecklistConfig
from pica.eval.evaluation import Evaluation
from pica.eval.judge import Kind
from pica.eval.leaderboard import Entry, Leaderboard
from pica.eval.means import Estimate, mean
from pica.eval.neutral import neutralise
from pica.eval.report import neighbours
from pica.eval.scoring import Answered, Check, agreed_items, check
from pica.eval.tasks import Task, read_tasks
from pica.synth.errors import Reject, UsageError
from pica.synth.models.base import ModelConfig, Request, conversation_text, user
from pica.synth.plan import Plan, Step
from pica.synth.prompts import TooLong
from pica.synth.report import Column as Shown
from pica.synth.report import Pane, Section, Side
from pica.synth.report import Table as Figures
from pica.synth.rewards.written import LEAST, MOST, SCHEMA, items_of, writing
from pica.synth.rows import Messages, Provenance
from pica.synth.run import Draft, Run, derive_seed
from pica.synth.structured import Unparsed, ask_json
from pica.synth.table import Table

SHOWN = 20  # items that the report lists


class ChecklistRow(Provenance, kw_only=True):
    """One answer, checked item by item."""

    task: Annotated[str, "id of the task"]
    category: Annotated[str, "category of the task", "category"]
    prompt: Annotated[Messages, "the conversation that was answered"]
    contestant: Annotated[str, "who answered", "category"]
    answer: Annotated[str, "the answer"]
    items: Annotated[list[str], "the checklist"]
    checks: Annotated[list[Check], "every judge's verdict on every item"]
    met: Annotated[int, "items that the answer meets"]
    unmet: Annotated[int, "items that it does not meet"]
    unscored: Annotated[int, "items without a verdict"]
    score: Annotated[float | None, "share of the items with a verdict that the answer meets"]
    all_met: Annotated[bool | None, "whether it meets every item; none where a verdict is missing"]
    checklist_by: Annotated[str, "who wrote the checklist", "category"]
    length: Annotated[int, "characters of the answer"] = 0
    flags: Annotated[list[str], "what was broken up or noticed in the answer"] = msgspec.field(default_factory=list)


class Checklist(Evaluation[ChecklistConfig]):
    """Every answer against its checklist."""

    name = "checklist"
    config_class = ChecklistConfig
    judge_kind: ClassVar[Kind] = "checklist"
    report_columns: ClassVar[Sequence[Shown]] = (
        Shown("task", "text", "id of the task"), Shown("category", "category", "category of the task"),
        Shown("contestant", "category", "who answered"), Shown("score", "number", "share of the items that the answer meets"),
        Shown("met", "number", "items met"), Shown("unmet", "number", "items not met"),
        Shown("unscored", "number", "items without a verdict"))
    panes: ClassVar[Sequence[Pane]] = (Pane((Side("answer", "Answer", name="contestant", score="score"),), title="Answer"),)

    @property
    def row_class(self) -> type[Provenance]:
        """Checked answers."""
        return ChecklistRow

    @property
    def matches(self) -> Sequence[str]:
        """Every label by itself."""
        return self.labels

    @property
    def models(self) -> list[ModelConfig]:
        """Contestants, judges, and who writes checklists."""
        return [*super().models, *([self.config.writer] if self.config.writer else [])]

    async def prepare(self, run: Run) -> None:
        """Read tasks and answers. Raises `UsageError` where nobody competes."""
        await super().prepare(run)
        if not self.labels:
            raise UsageError("nobody competes; give models=[SPEC, ...] or answers=FILE")

    async def make_row(self, draft: Draft) -> ChecklistRow:
        """The answer, the checklist, the verdicts."""
        task, label = self.tasks[draft.index // len(self.matches)], self.matches[draft.index % len(self.matches)]
        draft.keep(task=task.id, category=task.category, contestant=label)
        given = bool(task.checklist) and not self.config.rewrite
        items = await self.requirements(draft, task)
        text = await self.answer(draft, label, task)
        checks = await check(draft, Answered(f"{task.id}\x00{label}", task.conversation, text), items, self.panel)
        verdicts = list(agreed_items(checks).values())
        met, unmet = verdicts.count(True), verdicts.count(False)
        assert self.config.writer is not None
        return ChecklistRow(
            id=self.row_id(task.id, label), recipe=self.name, model=label, seed=self.config.seed, calls=draft.calls, task=task.id,
            category=task.category, prompt=[{"role": m["role"], "content": m["content"]} for m in task.conversation],
            contestant=label, answer=text, items=items, checks=checks, met=met,
            unmet=unmet, unscored=len(verdicts) - met - unmet, score=met / (met + unmet) if met + unmet else None,
            all_met=None if None in verdicts else not unmet, checklist_by="the task" if given else self.config.writer.name,
            length=len(text), flags=list(neutralise(text).flags))

    async def requirements(self, draft: Draft, task: Task) -> list[str]:
        """The task's own checklist without repeats, else one that is written for it."""
        given = list(dict.fromkeys(task.checklist))
        return given if given and not self.config.rewrite else await self._written(draft, task)

    async def _written(self, draft: Draft, task: Task) -> list[str]:
        """A checklist from the conversation alone: the same for every model. Raises `Reject` where none can be read."""
        writer = self.config.writer
        assert writer is not None
        try:
            prompt = writing(conversation_text(task.conversation))
        except TooLong as error:
            raise Reject("too long for a checklist", str(error)) from None

        async def ask(attempt: int) -> Any:
            sampling = self.config.judging if not attempt else self.config.judging.model_copy(update={"temperature": 0.7})
            seed = None if sampling.greedy else derive_seed(self.config.seed, "checklist", task.id, attempt)
            request = Request(task="chat", messages=(user(prompt),), sampling=sampling, schema=dict(SCHEMA), seed=seed)
            return (await draft.ask("checklist", writer, request, attempt=attempt))[0]

        try:
            found = await ask_json(ask, SCHEMA, tries=self.config.tries)
        except Unparsed as error:
            raise Reject("no checklist", str(error)) from None
        items = items_of(found)
        if not items:
            raise Reject("no checklist", "all its items are blank")
        return items

    def rank(self, table: Table) -> Leaderboard:
        """DRFR with its interval over tasks."""
        rows = list(table.rows())
        entries = [self._entry([row for row in rows if row["contestant"] == label], label) for label in self.labels]
        by = sorted({row["checklist_by"] for row in rows})
        return Leaderboard.ranked(entries, "share of all items met, in percent (DRFR)",
                                  f"Checklists by {', '.join(by)}; {self.config.level:.0%} intervals by {self.config.rounds:,} "
                                  "bootstrap draws of tasks with all their items.", level=self.config.level,
                                  warnings=_warnings(rows))

    def _mean(self, values: Sequence[float | None], tasks: Sequence[str]) -> Estimate:
        config = self.config
        return mean(values, prompt=tasks, bounds=(0, 1), level=config.level, rounds=config.rounds, seed=config.seed)

    def _drfr(self, rows: Sequence[dict[str, Any]]) -> Estimate:
        """The share of all items of these rows that are met."""
        values = [met for row in rows for met in [1.0] * row["met"] + [0.0] * row["unmet"]]
        return self._mean(values, [row["task"] for row in rows for _ in range(row["met"] + row["unmet"])])

    def _entry(self, rows: Sequence[dict[str, Any]], label: str) -> Entry:
        drfr, tasks = self._drfr(rows), [row["task"] for row in rows]
        rate = self._mean([row["score"] for row in rows], tasks)
        whole = self._mean([None if row["all_met"] is None else float(row["all_met"]) for row in rows], tasks)
        return Entry(label, _percent(drfr.value), _percent(drfr.lower), _percent(drfr.upper), drfr.n,
                     sum(row["unscored"] for row in rows), len(self.tasks) - len(rows), {
                         "answers": len(rows), "pass_rate": _percent(rate.value), "pass_rate_lower": _percent(rate.lower),
                         "pass_rate_upper": _percent(rate.upper), "all_met": _percent(whole.value),
                         "mean_length": round(sum(row["length"] for row in rows) / max(len(rows), 1), 1)})

    def sections(self, table: Table) -> list[Section]:
        """Pass rates by category, and the items that are met least."""
        rows = list(table.rows())
        categories = sorted({row["category"] for row in rows if row["category"]})
        lines = [[label, *(self._share([row for row in rows if row["contestant"] == label and row["category"] == category])
                           for category in categories)] for label in self.labels]
        note = f"items met of items with a verdict, with {self.config.level:.0%} intervals over tasks"
        found: list[Section] = [Figures("By category", ["model", *categories], lines, note=note)] if categories else []
        hardest = _hardest(rows)
        if hardest:
            found.append(Figures("Items met least", ["task", "item", "met by", "of"], hardest))
        return [*neighbours(rows, [entry.model for entry in self.leaderboard.entries], self.config.level), *found]

    def _share(self, rows: Sequence[dict[str, Any]]) -> str:
        estimate = self._drfr(rows)
        ends = "" if isnan(estimate.lower) else f" ({estimate.lower:.0%} to {estimate.upper:.0%})"
        return f"{estimate.value:.0%}{ends} of {estimate.n:,}" if estimate.n else "-"

    def plan(self) -> Plan:
        """Calls an answer; items are counted where tasks bring them."""
        config = self.config
        tasks = read_tasks(config.tasks, n=config.n, split=config.split, categories=config.categories)
        bare = [task for task in tasks if not task.checklist or config.rewrite]
        items = sum((MOST + LEAST) / 2 if task in bare else len(task.checklist) for task in tasks) / len(tasks)
        labels = max(len(config.models), 1)
        steps = [Step(f"answer {one.title}"[:14], one.model, 1 / labels, 200, min(config.answer.max_tokens, 500))
                 for one in config.models]
        if config.writer is not None and bare:
            steps.append(Step("checklist", config.writer, len(bare) / len(tasks) / labels, 500, 200))
        return Plan(len(tasks) * labels, [*steps, *(Step("check", judge, items, 800, 80) for judge in config.judge)])


def _percent(value: float) -> float | None:
    return None if isnan(value) else 100 * value


def _hardest(rows: Sequence[dict[str, Any]]) -> list[list[object]]:
    """The items that the fewest answers meet: task, item, answers that meet it, answers with a verdict."""
    found: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for row in rows:
        checks = [Check(judge=one["judge"], item=one["item"], met=one["met"]) for one in row["checks"]]
        for item, met in agreed_items(checks).items():
            found[row["task"], item] += [] if met is None else [met]
    missed = {key: met for key, met in found.items() if met and not all(met)}
    order = sorted(missed, key=lambda key: (sum(missed[key]) / len(missed[key]), key))
    return [[*key, sum(missed[key]), len(missed[key])] for key in order[:SHOWN]]


def _warnings(rows: Sequence[dict[str, Any]]) -> list[str]:
    unscored, asked = sum(row["unscored"] for row in rows), sum(len(row["items"]) for row in rows)
    if asked and unscored / asked > 0.05:
        return [f"{unscored:,} of {asked:,} items have no verdict that can be read; they count for nobody. Raise "
                "judging.max_tokens or tries, or take another judge"]
    return []


EVALUATION = Checklist
