"""`pica eval wildbench`: answers scored against checklists (WB-Score), or compared with baselines (WB-Reward).

    pica eval wildbench scores=eval_results/v2.0625/score.v2/eval=JUDGE --out E
    pica eval wildbench rewards=eval_results/v2.0522/pairwise.v2/eval=JUDGE length_penalty=500 --out E
    pica eval wildbench tasks=allenai/WildBench:v2 split=test models=[hf/./mine] judge=openai/NAME --out E
    pica eval wildbench mode=reward baselines=[haiku] answers=result_dirs models=[hf/./mine] judge=openai/NAME --out E

What is judged already costs nothing; anything else is judged here, with our own judge's prompt, which gets the task's checklist
as notes and answers uncut. Intervals draw tasks. `denominators=official` counts as the published tables do. An answer without a
word needs no judge: it has the score 1, and loses by much against an answer that has words (`empty=judge` asks nevertheless).

Source: Lin and others, "WildBench: Benchmarking LLMs with Challenging Tasks from Real Users in the Wild" (2024).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pica.eval.battle import BOTH, Contest, Game, Order, Panel, play
from pica.eval.battle_rows import battle_fields
from pica.eval.contestants import check_labels, read_answers
from pica.eval.evaluation import Listed
from pica.eval.judge import LOWEST, Kind
from pica.eval.judging import ORDERS
from pica.eval.leaderboard import Leaderboard
from pica.eval.neutral import neutralise
from pica.eval.report import BATTLE_COLUMNS, BATTLES
from pica.eval.scoring import Answered, Grade, agreed_score, grade
from pica.eval.wildbench_board import sections
from pica.eval.wildbench_config import WildBenchConfig
from pica.eval.wildbench_export import official_files
from pica.eval.wildbench_files import Record
from pica.eval.wildbench_parts import RULE, Counting
from pica.eval.wildbench_ranking import Ranking, rank
from pica.eval.wildbench_rows import ANSWER, SCORE_COLUMNS, RewardRow, ScoreRow, by_rule, given_reward, given_score, tags_of
from pica.eval.wildbench_setup import Match, Setup, set_up
from pica.synth.errors import Reject
from pica.synth.models.base import ModelConfig
from pica.synth.plan import Plan, Step
from pica.synth.progress import Progress
from pica.synth.report import Column as Shown
from pica.synth.report import Pane, Section
from pica.synth.rows import Messages, Provenance
from pica.synth.run import Draft, derive_seed, together
from pica.synth.table import Table


class WildBench(Listed[WildBenchConfig]):
    """Every answer by itself, or against every baseline."""

    name = "wildbench"
    config_class = WildBenchConfig
    setup: Setup
    ranking: Ranking

    @property
    def judge_kind(self) -> Kind:  # type: ignore[override]
        """A score, or one of five outcomes."""
        return "score" if self.config.mode == "score" else "pairwise"

    @property
    def needs_judge(self) -> bool:
        """Not where everything is judged already."""
        config = self.config
        return bool(config.models or (config.answers and config.judge)) or not (config.scores or config.rewards)

    @property
    def panel(self) -> Panel:
        """Who judges; a random order is drawn by `_panel`."""
        config = self.config
        return Panel(tuple(config.judge), self.judge, ORDERS.get(config.orders, BOTH), config.tries, config.judging, config.seed)

    def _panel(self, match: Match) -> Panel:
        if self.config.orders != "random":
            return self.panel
        order: Order = BOTH[derive_seed(self.config.seed, "order", match.task.id, match.baseline, match.label) % 2]
        return replace(self.panel, orders=(order,))

    @property
    def row_class(self) -> type[Provenance]:
        """Scores, or battles with the baselines."""
        return ScoreRow if self.config.mode == "score" else RewardRow

    @property
    def report_columns(self) -> Sequence[Shown]:  # type: ignore[override]
        """What the report lists of a row."""
        return SCORE_COLUMNS if self.config.mode == "score" else BATTLE_COLUMNS

    @property
    def panes(self) -> Sequence[Pane]:  # type: ignore[override]
        """How the report shows answers."""
        return (ANSWER,) if self.config.mode == "score" else (BATTLES,)

    @property
    def matches(self) -> Sequence[Match]:
        """An answer, or a model against a baseline."""
        return self.setup.matches

    def read(self) -> None:
        """Read tasks, answers and results. Raises `UsageError` for what does not go together."""
        self.given = read_answers(self.config.answers) if self.config.answers else {}
        check_labels(self.config.models, self.given)
        self.setup = set_up(self.config, self.given)
        self.tasks = list(self.setup.tasks)
        self._check_answers()

    async def make_row(self, draft: Draft) -> ScoreRow | RewardRow:
        """What is judged already, or the answers and their judgment."""
        match = self.setup.matches[draft.index]
        if self.config.mode == "score":
            return await self._score(draft, match)
        return await self._reward(draft, match)

    async def _score(self, draft: Draft, match: Match) -> ScoreRow:
        task, label = match.task, match.label
        draft.keep(task=task.id, category=task.category, contestant=label)
        if match.results:
            return self._score_row(draft, match, **given_score(match, self.given))
        if not match.open:
            raise Reject(f"no score of {label}", f"task {task.id}")
        text = await self.answer(draft, label, task)
        empty = not text.strip()
        if empty and self.config.empty == "official":
            grades = [Grade(judge=RULE, score=float(LOWEST), reason="the answer is empty")]
        else:
            grades = await grade(draft, Answered(f"{task.id}\x00{label}", task.conversation, text, task.notes), self.panel)
        return self._score_row(draft, match, text, grades, empty=empty, left_out=empty, flags=list(neutralise(text).flags))

    def _score_row(self, draft: Draft, match: Match, text: str, grades: list[Grade], **more: Any) -> ScoreRow:
        task, label = match.task, match.label
        prompt: Messages = [{"role": message["role"], "content": message["content"]} for message in task.conversation]
        return ScoreRow(id=self.row_id(task.id, label), recipe=self.name, model=label, seed=self.config.seed, calls=draft.calls,
                        task=task.id, category=task.category, tags=tags_of(task), prompt=prompt, contestant=label, answer=text,
                        score=agreed_score(grades), grades=grades, length=len(text), **more)

    async def _reward(self, draft: Draft, match: Match) -> RewardRow:
        task, labels = match.task, (match.baseline, match.label)
        draft.keep(task=task.id, category=task.category, model_a=match.baseline, model_b=match.label)
        if match.results:
            contest, games, more = given_reward(match, self.given)
            return self._reward_row(draft, match, contest, games, **more)
        if not match.open:
            raise Reject(f"no result of {match.label} against {match.baseline}", f"task {task.id}")
        first, second = await together(*(self.answer(draft, label, task) for label in labels))
        contest = Contest("\x00".join((task.id, *labels)), task.conversation, first, second, task.notes)
        panel, empty = self._panel(match), (not first.strip(), not second.strip())
        ruled = any(empty) and self.config.empty == "official"
        games = by_rule(empty, panel.orders) if ruled else await play(draft, contest, panel)
        return self._reward_row(draft, match, contest, games, empty_a=empty[0], empty_b=empty[1], left_out=any(empty))

    def _reward_row(self, draft: Draft, match: Match, contest: Contest, games: list[Game], **more: Any) -> RewardRow:
        fields = battle_fields(self, draft, match.task, (match.baseline, match.label), contest, games)
        return RewardRow(**{**fields, "tags": tags_of(match.task)}, **more)

    def rank(self, table: Table) -> Leaderboard:
        """WB-Scores or WB-Rewards, by group of tasks too."""
        config = self.config
        counting = Counting(config.mode, config.denominators == "official", self.setup.baselines, config.length_penalty,
                            config.level, config.rounds, config.seed, config.elo_rounds)
        self.ranking = rank(list(table.rows()), counting, expected=self.setup.expected, told=self.setup.warnings)
        return self.ranking.board

    def sections(self, table: Table) -> list[Section]:
        """Groups of tasks, WB-Elo or baselines, the judges' leanings."""
        return sections(self.ranking)

    def finish(self, table: Table, progress: Progress) -> None:
        """Rank; and, where that is asked for, make the official files."""
        super().finish(table, progress)
        self._exported: dict[str, str] = {}
        if self.config.export:
            progress.say("making the official files")
            self._exported = official_files(self.ranking, self._records())

    def _records(self) -> Any:
        """What rows came from, for the export."""
        records: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
        for match in self.setup.matches:
            records[match.task.id, match.baseline, match.label] = [one.record for one in match.results]
        return lambda row: records[row["task"], row.get("model_a", ""), row.get("model_b", row.get("contestant"))]

    def files(self) -> dict[str, str]:
        """The leaderboard for programs, and the official files."""
        return {**super().files(), **self._exported}

    def plan(self) -> Plan:
        """Calls for what is not judged yet: each answer is asked for once, whoever it meets."""
        self.read()
        config, todo = self.config, [match for match in self.setup.matches if match.open]
        asked = Counter[str]()
        for label, _ in {(label, match.task.id) for match in todo for label in (match.label, match.baseline)}:
            asked[label] += 1
        steps = [Step(f"answer {one.title}"[:14], one.model, asked[one.title] / max(len(todo), 1), 200,
                      min(config.answer.max_tokens, 500)) for one in config.models]
        games = 1 if config.mode == "score" or config.orders == "random" else len(self.panel.orders)
        steps += [Step("judge", judge, games, 1500, 200) for judge in config.judge]
        return Plan(len(todo), steps)

    @property
    def models(self) -> list[ModelConfig]:
        """Contestants and judges."""
        return super().models if self.needs_judge else []


EVALUATION = WildBench
