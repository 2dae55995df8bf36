"""The battles of an audit: an attack against an honest answer, or two honest answers, made into rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated, Any

from pica.eval.audit.attacks import Attack, Material
from pica.eval.battle import Contest, Game, play
from pica.eval.battle_rows import BattleRow, battle_fields
from pica.eval.judge import HIGHEST, LOWEST
from pica.eval.judging import Judging
from pica.eval.neutral import neutralise
from pica.eval.scoring import Answered, Written, agreed_items, agreed_score, check, grade
from pica.eval.tasks import Task
from pica.synth.errors import Reject
from pica.synth.run import Draft, together

NAME = "audit"  # of the split, and of the recipe in its rows
HONEST = "honest"  # stands for the attack in battles between honest answers


class AuditRow(BattleRow, kw_only=True):
    """A battle of an audit; answer a is the attack's. Where answers are judged alone there is no answer b, and `share_a` is the
    mean score of answer a on a scale from 0 to 1."""

    attack: Annotated[str, f"attack that the judge was tried with; {HONEST}: none, both answers are honest", "category"]


@dataclass(frozen=True)
class Bout:
    """A battle to be made. `attack`: None where two honest contestants meet. `one`, `other`: labels; those of an attack are its
    name and the honest contestant."""

    task: Task
    attack: Attack | None
    one: str
    other: str


@dataclass(frozen=True)
class Bouts:
    """All battles of an audit, and whose judging they try."""

    judging: Judging[Any]
    bouts: Sequence[Bout]
    following: Mapping[str, Task]  # by task id and in a circle, for the answer to another task

    @classmethod
    def of(cls, judging: Judging[Any], tasks: Sequence[Task], attacks: Sequence[Attack], labels: Sequence[str],
           searched: Attack | None = None, unseen: Sequence[Task] = ()) -> Bouts:
        """Every attack against the first of `labels` on every task; then all labels against each other. The `searched` attack
        meets only the tasks `unseen` by the search."""
        found = [Bout(task, attack, attack.name, labels[0]) for task in tasks for attack in attacks]
        found += [Bout(task, searched, searched.name, labels[0]) for task in unseen] if searched else []
        if judging.judge.sides == 2:
            found += [Bout(task, None, one, other) for task in tasks for one, other in combinations(labels, 2)]
        return cls(judging, found, {task.id: tasks[(place + 1) % len(tasks)] for place, task in enumerate(tasks)})

    def __len__(self) -> int:
        """Battles."""
        return len(self.bouts)

    async def row(self, draft: Draft, number: int) -> AuditRow:
        """The battle with this number. Raises `Reject` where it would say nothing."""
        bout = self.bouts[number]
        draft.keep(task=bout.task.id, category=bout.task.category, model_a=bout.one, model_b=bout.other,
                   attack=bout.attack.name if bout.attack else HONEST)
        try:
            first, second = await self._answers(draft, bout)
        except Reject as reject:
            raise Reject(f"{NAME}: {reject.reason}", reject.detail) from None
        key = "\x00".join((NAME, bout.task.id, bout.one, bout.other))
        if bout.attack is not None and self.judging.judge.sides == 1:
            return await self._alone(draft, bout, key, first)
        contest = Contest(key, bout.task.conversation, first, second, bout.task.notes)
        return self._row(draft, bout, contest, await play(draft, contest, self.judging.panel), {})

    async def _answers(self, draft: Draft, bout: Bout) -> tuple[str, str]:
        if bout.attack is None:
            one, other = await together(self.judging.answer(draft, bout.one, bout.task),
                                        self.judging.answer(draft, bout.other, bout.task))
            return one, other
        following = self.following[bout.task.id]
        honest, other = await together(self.judging.answer(draft, bout.other, bout.task),
                                       self.judging.answer(draft, bout.other, following))
        if not honest.strip():
            raise Reject("the honest answer is empty", f"{bout.other} on task {bout.task.id}")
        text = bout.attack.write(Material(bout.task, honest, other))
        if bout.attack.expect == "loses" and text.strip() == honest.strip():
            raise Reject("the attack is the honest answer itself", f"{bout.attack.name} on task {bout.task.id}")
        return text, honest

    def _row(self, draft: Draft, bout: Bout, contest: Contest, games: list[Game], more: dict[str, Any]) -> AuditRow:
        labels, attack = (bout.one, bout.other), bout.attack.name if bout.attack else HONEST
        own = {"id": self.judging.row_id(NAME, bout.task.id, *labels), "recipe": NAME, "attack": attack, **more}
        return AuditRow(**{**battle_fields(self.judging, draft, bout.task, labels, contest, games), **own})

    async def _alone(self, draft: Draft, bout: Bout, key: str, text: str) -> AuditRow:
        """The row of an answer that is judged by itself, by a score or against every requirement of a checklist."""
        answered = Answered(key, bout.task.conversation, text, bout.task.notes)
        if self.judging.judge.kind == "checklist":
            items = await self.judging.requirements(draft, bout.task)
            if not items:
                raise Reject(f"{NAME}: no checklist", f"task {bout.task.id}")
            checks = await check(draft, answered, items, self.judging.panel)
            values = [float(met) for met in agreed_items(checks).values() if met is not None]
            games = [_kept(one, None if one.met is None else float(one.met), one.item) for one in checks]
        else:
            grades = await grade(draft, answered, self.judging.panel)
            score = agreed_score(grades)
            values = [] if score is None else [_scaled(score)]
            games = [_kept(one, one.score) for one in grades]
        share = sum(values) / len(values) if values else None
        outcome = "unscored" if share is None else "a" if share > 0.5 else "b" if share < 0.5 else "tie"
        contest = Contest(key, bout.task.conversation, text, "", bout.task.notes)
        agreement = "none" if share is None else "single"
        return self._row(draft, bout, contest, games, {"outcome": outcome, "share_a": share, "agreement": agreement,
                                                       "flags": list(neutralise(text).flags)})


def _scaled(score: float) -> float:
    """From 0 for the worst score to 1 for the best."""
    return (score - LOWEST) / (HIGHEST - LOWEST)


def _kept(written: Written, score: float | None, item: str = "") -> Game:
    """A judgment of one answer as a game without an opponent."""
    return Game(judge=written.judge, order="a", verdict=None, score_a=score, reason=written.reason, text=written.text,
                first=item, prompt=written.prompt, parser=written.parser, call=written.call, problem=written.problem)
