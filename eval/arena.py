"""`pica eval arena`: every model against every other on any tasks, ranked by Bradley-Terry with intervals over prompts.

    pica eval arena models=[hf/./new,hf/./old,local] judge=openai/NAME@URL --out E
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from pica.eval.arena_config import ArenaConfig
from pica.eval.battle import Contest, play
from pica.eval.battle_rows import BattleRow, battle_row, battles_of, record, verdicts_of
from pica.eval.bias import leanings
from pica.eval.connected import comparable
from pica.eval.contestants import read_answers
from pica.eval.evaluation import Evaluation
from pica.eval.judge import Kind
from pica.eval.leaderboard import UNBOUNDED, Entry, Leaderboard
from pica.eval.report import battle_sections, neighbours
from pica.eval.standing import Standing, stand
from pica.eval.style_effects import style_effects
from pica.eval.tasks import Task, read_tasks
from pica.synth.errors import UsageError
from pica.synth.plan import Plan, Step
from pica.synth.report import Section
from pica.synth.rows import Provenance
from pica.synth.run import Draft, Run, together
from pica.synth.table import Table


class Arena(Evaluation[ArenaConfig]):
    """All against all."""

    name = "arena"
    config_class = ArenaConfig

    @property
    def judge_kind(self) -> Kind:  # type: ignore[override]
        """Pairs, by outcome or by scores."""
        return self.config.verdict

    @property
    def row_class(self) -> type[Provenance]:
        """Battles."""
        return BattleRow

    @property
    def matches(self) -> Sequence[tuple[str, str]]:
        """Every pair of labels, or the target with every other one."""
        target = self.config.target
        return [(target, label) for label in self.labels if label != target] if target else list(combinations(self.labels, 2))

    async def prepare(self, run: Run) -> None:
        """Read tasks and answers. Raises `UsageError` for fewer than two models, or where target or anchor do not compete."""
        await super().prepare(run)
        labels = self.labels
        if len(labels) < 2:
            raise UsageError(f"an arena needs two models or more, and there is {labels[0] if labels else 'none'}; give "
                             "models=[NAME,NAME], or answers=DIR with a file a model")
        for name, label in (("target", self.config.target), ("anchor", self.config.anchor)):
            if label and label not in labels:
                raise UsageError(f"{name}={label!r} does not compete; labels: {', '.join(labels)}")

    async def make_row(self, draft: Draft) -> BattleRow:
        """Both answers, and the games."""
        task = self.tasks[draft.index // len(self.matches)]
        return await self.battle(draft, task, *self.matches[draft.index % len(self.matches)])

    async def battle(self, draft: Draft, task: Task, one: str, other: str) -> BattleRow:
        """The battle of these two labels on a task."""
        draft.keep(task=task.id, category=task.category, model_a=one, model_b=other)
        first, second = await together(self.answer(draft, one, task), self.answer(draft, other, task))
        contest = Contest("\x00".join((task.id, one, other)), task.conversation, first, second, task.notes)
        return battle_row(self, draft, task, (one, other), contest, await play(draft, contest, self.panel))

    def rank(self, table: Table) -> Leaderboard:
        """Bradley-Terry ratings with intervals over prompts; models without a scored game against the rest have none."""
        rows = list(table.rows())
        self.leaning = leanings(rows)
        rated = self._rated(rows)
        standing = _standing(rated, self.config)
        entries = [self._entry(rows, label, standing) for label in (standing.order(self.labels) if standing else self.labels)]
        return Leaderboard.ranked(entries, "Bradley-Terry rating, 400 points are odds of ten to one",
                                  standing.method if standing else "No game has a verdict.",
                                  level=self.config.level, warnings=self._warnings(rows, standing))

    def _rated(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The battles of the models that can be rated together."""
        names = comparable(battles_of(rows), self.config.anchor or None)
        return [row for row in rows if row["model_a"] in names and row["model_b"] in names]

    def _entry(self, rows: Sequence[dict[str, Any]], label: str, standing: Standing | None) -> Entry:
        own = [row for row in rows if label in {row["model_a"], row["model_b"]}]
        verdicts = [verdict for row in own for verdict in verdicts_of(row)[0]]
        score, lower, upper, why = standing.of(label) if standing else (None, None, None, None)
        unscored = verdicts.count(None)
        wanted = len(self.tasks) * sum(label in match for match in self.matches)
        return Entry(label, score, lower, upper, len(verdicts) - unscored, unscored, wanted - len(own),
                     {**record(own, label), UNBOUNDED: why})

    def _warnings(self, rows: Sequence[dict[str, Any]], standing: Standing | None) -> list[str]:
        """What a reader must know first, most serious first."""
        if standing is None:
            games = sum(len(row["games"]) for row in rows)
            return [f"nobody can be ranked: none of the {games:,} games has a verdict that can be read; raise judging.max_tokens "
                    "or tries, or take another judge"]
        found = self.leaning.warnings()
        for label, why in standing.ratings.unbounded.items():
            found.append(f"{label} {why}: no finite rating; prior=1 gives every model one")
        if left_out := [label for label in self.labels if label not in standing.ratings.models]:
            found.append(f"no rating of {', '.join(left_out)}: no game with a verdict against the others")
        if standing.ends is None:
            found.append("only one task has a verdict, so there are no intervals; judge more tasks")
        return [*found, *self._coverage(rows)]

    def _coverage(self, rows: Sequence[dict[str, Any]]) -> list[str]:
        """Models that were judged on other tasks than the rest."""
        by_label = {label: {row["task"] for row in rows if label in {row["model_a"], row["model_b"]}} for label in self.labels}
        every = set().union(*by_label.values())
        short = [f"{label} on {len(tasks):,}" for label, tasks in by_label.items() if tasks != every]
        if not short:
            return []
        told = ", ".join(short[:4]) + (", ..." if len(short) > 4 else "")
        return [f"models were judged on different tasks ({told}, of {len(every):,}); `pica eval compare` and the report's "
                "neighbours use those that are shared"]

    def sections(self, table: Table) -> list[Section]:
        """Neighbours, categories, who beats whom, style, the judge's leanings."""
        config, rows = self.config, list(table.rows())
        order = [entry.model for entry in self.leaderboard.entries]
        style = style_effects(rows, strong=config.strong, level=config.level, rounds=config.rounds, seed=config.seed)
        return [*neighbours(rows, order, config.level), *battle_sections(rows, order, self.leaning), *style.sections()]

    def plan(self) -> Plan:
        """The calls of all battles."""
        config = self.config
        return self.planned(len(read_tasks(config.tasks, n=config.n, split=config.split, categories=config.categories)))

    def planned(self, tasks: int) -> Plan:
        """Calls a battle on so many tasks: each answer is asked for once, whoever it meets."""
        config = self.config
        labels = len(config.models) + (len(read_answers(config.answers)) if config.answers else 0)
        pairs = labels - 1 if config.target else labels * (labels - 1) // 2
        steps = [Step(f"answer {one.title}"[:14], one.model, 1 / max(pairs, 1), 200, min(config.answer.max_tokens, 500))
                 for one in config.models]
        steps += [Step("judge", judge, len(self.panel.orders), 1500, 150) for judge in config.judge]
        return Plan(tasks * pairs, steps)


def _standing(rows: Sequence[dict[str, Any]], config: ArenaConfig) -> Standing | None:
    """How the models of these battles stand; None where nobody can be rated."""
    if not rows:
        return None
    battles = battles_of(rows, strong=config.strong)
    anchor = config.anchor if config.anchor in battles.models else None
    return stand(battles, anchor=anchor, anchor_rating=config.anchor_rating, prior=config.prior, rounds=config.rounds,
                 level=config.level, seed=config.seed)


EVALUATION = Arena
