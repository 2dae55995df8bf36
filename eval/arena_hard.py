"""`pica eval arena-hard`: models against a baseline on Arena-Hard's questions, or on any others.

    pica eval arena-hard judgments=data/arena-hard-v0.1/model_judgment/JUDGE score=v0.1 --out E
    pica eval arena-hard tasks=question.jsonl answers=model_answer models=[hf/./mine] judge=openai/NAME --out E

The official files of both schemas are read: questions, answers, judgments. What is judged already costs nothing; anything else is
judged here, with our own judge's prompt, and marks of judgments made by different judges are warned of. `score` names how
verdicts become scores: upstream's two ways, or ours, whose intervals know that the games of a prompt belong together.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pica.eval.arena_hard_config import TASKS_FOR_STYLE, ArenaHardConfig
from pica.eval.arena_hard_files import OfficialAnswer, parts_of, read_tokens
from pica.eval.arena_hard_labels import given_games
from pica.eval.arena_hard_setup import Match, Setup, Wanted, set_up
from pica.eval.battle import Contest, play
from pica.eval.battle_rows import BattleRow, battle_fields
from pica.eval.contestants import check_labels, read_answers
from pica.eval.evaluation import Listed
from pica.eval.judging import ORDERS
from pica.eval.leaderboard import Leaderboard
from pica.eval.report import BATTLE_COLUMNS
from pica.synth.errors import Reject, UsageError
from pica.synth.plan import Plan, Step
from pica.synth.progress import Progress
from pica.synth.report import Column as Shown
from pica.synth.report import Section
from pica.synth.rows import Provenance
from pica.synth.run import Draft, together
from pica.synth.table import Table

if TYPE_CHECKING:
    from pica.eval.arena_hard_ranking import Ranking

class HardRow(BattleRow, kw_only=True):
    """A model's answer (b) against the baseline's (a)."""

    tag: Annotated[str, "subcategory or cluster of the question"] = ""
    judged: Annotated[Literal["here", "given"], "whether it was judged in this evaluation or before"] = "here"
    answers_known: Annotated[bool, "whether both answers are known"] = True
    tokens_a: Annotated[int | None, "tokens of answer a, as its file says"] = None
    tokens_b: Annotated[int | None, "tokens of answer b, as its file says"] = None


class ArenaHard(Listed[ArenaHardConfig]):
    """All against the baseline of the question."""

    name = "arena-hard"
    config_class = ArenaHardConfig
    report_columns: ClassVar[Sequence[Shown]] = (
        *BATTLE_COLUMNS, Shown("tag", "category", "subcategory or cluster", shown=False),
        Shown("judged", "category", "judged in this evaluation or before", shown=False))
    setup: Setup
    ranking: Ranking

    def __init__(self, config: ArenaHardConfig) -> None:
        super().__init__(config)
        self.official: dict[str, dict[str, OfficialAnswer]] = {}

    @property
    def needs_judge(self) -> bool:
        """Not where all that counts is judged already."""
        config = self.config
        return bool(config.models) or not config.judgments or bool(config.judge and config.answers)

    @property
    def row_class(self) -> type[Provenance]:
        """Battles with the baseline."""
        return HardRow

    @property
    def matches(self) -> Sequence[Match]:
        """A model against the baseline of one task."""
        return self.setup.matches

    def read(self) -> None:
        """Read tasks, answers and judgments. Raises `UsageError` for what does not go together."""
        config = self.config
        self.given = read_answers(config.answers) if config.answers else {}
        self.official = read_tokens(Path(config.answers)) if config.answers else {}
        check_labels(config.models, self.given)
        self.setup = set_up(Wanted(config.tasks, config.split, config.n, config.categories,
                                   [contestant.title for contestant in config.models], config.judgments, config.baseline,
                                   bool(config.judge)), self.given)
        self.tasks = list(self.setup.tasks)
        if config.export:
            from pica.eval.arena_hard_files import question_row

            for task in self.tasks:
                if task.conversation:
                    question_row(task, config.export)

    async def make_row(self, draft: Draft) -> HardRow:
        """What is judged already, or both answers and the games."""
        match = self.setup.matches[draft.index]
        task, labels = match.task, (match.baseline, match.label)
        draft.keep(task=task.id, category=task.category, model_a=match.baseline, model_b=match.label)
        if match.judgments:
            return self._given_row(draft, match)
        if not match.open:
            raise Reject(f"no judgment of {match.label}", f"task {task.id}")
        first, second = await together(*(self.answer(draft, label, task) for label in labels))
        contest = Contest("\x00".join((task.id, *labels)), task.conversation, first, second, task.notes)
        games = await play(draft, contest, self.panel)
        return HardRow(**battle_fields(self, draft, task, labels, contest, games, ensemble=self.config.ensemble),
                       tag="".join(task.tags[:1]), **self._tokens(match))

    def _given_row(self, draft: Draft, match: Match) -> HardRow:
        """The row of judgments made before. The answers are those of `answers`, else what the judge was shown."""
        task, labels = match.task, (match.baseline, match.label)
        shown = next((parts for made in match.judgments.values() if (parts := parts_of(made))), None)
        texts = [self.given.get(label, {}).get(task.id, None if shown is None else shown[place])
                 for place, label in enumerate(labels, 1)]
        contest = Contest("", task.conversation, texts[0] or "", texts[1] or "")
        games = [game for made in match.judgments.values()
                 for game in given_games(made, self.config.parser, ORDERS[self.config.orders])]
        return HardRow(**battle_fields(self, draft, task, labels, contest, games, ensemble=self.config.ensemble),
                       tag="".join(task.tags[:1]), judged="given", answers_known=None not in texts, **self._tokens(match))

    def _tokens(self, match: Match) -> dict[str, Any]:
        answers = [self.official.get(label, {}).get(match.task.id) for label in (match.baseline, match.label)]
        return {f"tokens_{side}": answer.tokens if answer else None for side, answer in zip("ab", answers, strict=True)}

    def rank(self, table: Table) -> Leaderboard:
        """Scores by the convention, over all questions and by category."""
        from pica.eval.arena_hard_ranking import rank

        rows = list(table.rows())
        expected = Counter(match.label for match in self.setup.matches)
        style, why_not = self._style(), ""
        if self.config.style_control == "auto":
            style, why_not = self._style_if_known(rows)
        self.ranking = rank(rows, self._counting(style), expected=expected, warnings=self.setup.warnings)
        board = self.ranking.board
        return replace(board, method=f"{board.method} Style is not taken out: {why_not}.") if why_not else board

    def _counting(self, style: Any) -> Any:
        from pica.eval.arena_hard_board import Counting

        config = self.config
        return Counting(config.score, config.level, config.rounds, config.seed, config.strong, config.ensemble, style)

    def _style_if_known(self, rows: list[dict[str, Any]]) -> tuple[Any, str]:
        """(our style control where it can be had, else None; why not, where our score should have it)."""
        from pica.eval.arena_hard_board import Style, scores_of

        if self.config.score != "pica":
            return None, ""
        unknown, tasks = sum(not row["answers_known"] for row in rows), len({row["task"] for row in rows})
        if unknown:
            return None, f"the answers of {unknown:,} of {len(rows):,} judgments are not known; give answers=DIR"
        if tasks < TASKS_FOR_STYLE:
            return None, f"{tasks} tasks are fewer than the {TASKS_FOR_STYLE} that tell style from quality"
        try:
            scores_of(rows, self._counting(Style()))
        except UsageError as error:
            return None, str(error)
        return Style(), ""

    def _style(self) -> Any:
        from pica.eval.arena_hard_board import Style
        from pica.eval.style_control import FEATURES

        control = self.config.style_control
        if not control or control == "auto":
            return None
        if isinstance(control, str):
            return Style(control)
        if control is True:
            return Style(self.config.score)
        named = {*control, *(("headers", "lists", "bold") if "markdown" in control else ())}
        return Style(self.config.score, tuple(feature for feature in FEATURES if feature in named))

    def sections(self, table: Table) -> list[Section]:
        """Categories, style, neighbours, the judges' leanings."""
        return self.ranking.sections()

    def finish(self, table: Table, progress: Progress) -> None:
        """Rank; and, where that is asked for, make the official files."""
        super().finish(table, progress)
        self._exported: dict[str, str] = {}
        if self.config.export:
            progress.say("making the official files")
            self._exported = self._export(table)

    def _export(self, table: Table) -> dict[str, str]:
        from pica.eval.arena_hard_export import answers_of, judgments_of, official_files

        assert self.config.export
        rows = list(table.rows())
        given = {(match.label, match.task.id): match.judgments.values() for match in self.setup.matches if match.judgments}
        judgments = [made for row in rows for made in given.get((row["model_b"], row["task"]), ()) or judgments_of(row)]
        answers = [self.official.get(one.model, {}).get(one.question, one) for one in answers_of(rows)]
        asked = [task for task in self.tasks if task.conversation]
        return {f"official/{name}": text for name, text in official_files(self.config.export, asked, answers, judgments).items()}

    def files(self) -> dict[str, str]:
        """The leaderboard for programs, and the official files."""
        return {**super().files(), **self._exported}

    def plan(self) -> Plan:
        """Calls for what is not judged yet: each answer is asked for once, whoever it meets."""
        self.read()
        config, todo = self.config, self.setup.to_judge
        asked: dict[str, set[str]] = defaultdict(set)
        for match in todo:
            for label in (match.baseline, match.label):
                asked[label].add(match.task.id)
        steps = [Step(f"answer {one.title}"[:14], one.model, len(asked[one.title]) / max(len(todo), 1), 200,
                      min(config.answer.max_tokens, 500)) for one in config.models]
        steps += [Step("judge", judge, len(ORDERS[config.orders]), 1500, 150) for judge in config.judge]
        return Plan(len(todo), steps)


EVALUATION = ArenaHard
