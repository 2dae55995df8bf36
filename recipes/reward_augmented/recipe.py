"""Reward-augmented preference pairs: under the score of either answer, that answer is the preferred one.

    pica run reward-augmented data=PAIRS.jsonl --out DIR

Source: "Reward-Augmented Data Enhances Direct Preference Alignment of LLMs" (ICML 2025, arXiv 2410.08067). How it differs
from the authors' code is in this folder's README.
"""

from __future__ import annotations

from typing import Any

from pica.recipes.reward_augmented.config import RewardAugmentedConfig, read_evaluation
from pica.recipes.reward_augmented.fit import Fitter, load_tokenizer
from pica.recipes.reward_augmented.reading import Reader, Survey, survey
from pica.recipes.reward_augmented.records import firsts, give_goals, goal_fields, half_seed, ranges, source_pairs
from pica.recipes.reward_augmented.relabel import OVERALL, Labelled, Rules, ScoredPair, plain, relabel
from pica.recipes.reward_augmented.rows import RewardAugmentedRow
from pica.recipes.reward_augmented.scoring import all_scales, declared_scales, open_scorer
from pica.synth.errors import Reject, UsageError
from pica.synth.filters.decontaminate import EvalIndex
from pica.synth.models.base import Message, ModelConfig, assistant
from pica.synth.models.goal import Goal, Scale, prompt_hash
from pica.synth.plan import Plan, Step
from pica.synth.preferences import Diagnosis, diagnose
from pica.synth.progress import Progress
from pica.synth.recipe import Recipe
from pica.synth.report import Histogram, Section
from pica.synth.rewards import Score
from pica.synth.rows import Provenance
from pica.synth.run import Draft, Run, together
from pica.synth.table import Table

PROMPT_TOKENS, ANSWER_TOKENS = 200, 400  # typical lengths, for plans


class RewardAugmented(Recipe[RewardAugmentedConfig]):
    """Scored pairs in, two rows for each out: conditioned on the winner's score, and on the loser's."""

    name = "reward-augmented"
    config_class = RewardAugmentedConfig

    def __init__(self, config: RewardAugmentedConfig) -> None:
        super().__init__(config)
        self.reader = Reader(config)
        self.scorer = open_scorer(config, self.reader)
        self.declared = declared_scales(config, self.scorer, self.reader.format)
        self.fit: Fitter | None = None
        self.rules: Rules | None = None  # None: the scores decide the scale, so goals wait until all are known
        self.survey: Survey
        self.diagnosis: Diagnosis

    @property
    def row_class(self) -> type[Provenance]:
        """Preference pairs under a goal."""
        return RewardAugmentedRow

    @property
    def models(self) -> list[ModelConfig]:
        """The policy where it answers, and what scores; none where the data has scores."""
        policy = [self.config.policy] if self.config.on_policy.k and self.config.policy else []
        return [*policy, *(self.scorer.models if self.scorer else ())]

    @property
    def source_rows(self) -> int | None:
        """Rows of the data."""
        return len(self.reader)

    @property
    def wanted(self) -> int:
        """Rows asked for, or as many as the data can give."""
        return self.config.n or len(self.reader) * self._per_pair

    @property
    def _per_pair(self) -> int:
        return 1 if self.config.half or self.config.relabel == "none" else 2

    async def prepare(self, run: Run) -> None:
        """Look at all of the data before the first call: what is wrong with it shows now."""
        config = self.config
        self._open_tokenizer()
        index = EvalIndex({name: read_evaluation(name) for name in config.decontaminate}) if config.decontaminate else None
        wanted = () if self.scorer else self._scores_of_the_data()
        self.survey = survey(self.reader, wanted=wanted, declared=self.declared, index=index, seed_of=run.seed)
        if self.scorer is not None:
            await self.scorer.prepare(run)
        if self.scorer is None or len(self.declared) == len({OVERALL, *config.attributes}):
            self.rules = self._rules(self.survey.ranges)

    def _scores_of_the_data(self) -> tuple[str, ...]:
        return (OVERALL, *self.config.attributes)

    def _open_tokenizer(self) -> None:
        config = self.config
        if config.tokenizer:
            self.fit = Fitter(load_tokenizer(config.tokenizer), config.max_length, config.too_long)
            if config.relabel == "goals":
                self.fit.check(self._goal_of(config.scale[1]))

    def _goal_of(self, value: float) -> Goal:
        """A goal as this config shows them."""
        config = self.config
        return Goal(value=dict.fromkeys(config.attributes, value) if config.attributes else value, style=config.style,
                    scale=config.scale, decimals=config.decimals)

    def _rules(self, ranges: dict[str, Scale]) -> Rules:
        config = self.config
        return Rules(scale=config.scale, source=all_scales(config, self.declared, ranges), style=config.style,
                     decimals=config.decimals, attributes=tuple(config.attributes), ties=config.ties,
                     min_margin=config.min_margin, half=config.half, goals=config.relabel == "goals",
                     reject_inverted=config.inverted == "reject")

    @property
    def _scorer_name(self) -> str:
        """Who scored and on what scale, for columns and notes."""
        if self.scorer is not None:
            return self.scorer.name
        assert self.rules is not None
        low, high = self.rules.source[OVERALL]
        return f"the data ({'its range, ' if self.config.source_scale == 'data' else ''}{low:g} to {high:g})"

    async def make_row(self, draft: Draft) -> list[RewardAugmentedRow]:
        """The rows of one row of the data."""
        row = self.reader.row(draft.index)  # before anything is awaited, so that rows are read in order
        if draft.index in self.survey.bad:
            raise Reject(*self.survey.bad[draft.index])
        if draft.index in self.survey.overlaps:
            raise Reject("holds an evaluation prompt", self.survey.overlaps[draft.index])
        pair, more = await self._scored(draft, row)
        draft.keep(score_chosen=pair.score_chosen, score_rejected=pair.score_rejected)
        split, place = self.reader.place(draft.index)
        identity = row.get("id", row.get("prompt_id"))
        common = {"pair_id": draft.id, "recipe": self.name, "seed": draft.seed, "calls": draft.calls, "scorer": self._scorer_name,
                  "source_row": place, "source_split": split, "source_id": "" if identity is None else str(identity), **more}
        return [RewardAugmentedRow(**goal_fields(one, draft.id), **common) for one in self._labelled(draft, pair)]

    def _labelled(self, draft: Draft, pair: ScoredPair) -> list[Labelled]:
        """The rows of a pair; places for them where goals must wait."""
        split, place = self.reader.place(draft.index)
        if not self._goals_for(self._split_of({"source_split": split, "source_row": place})):
            return [plain(pair, self.fit)]
        if self.rules is None:
            return [Labelled(pair, "plain")] * self._per_pair
        return relabel(pair, self.rules, seed=half_seed(draft.seed), fit=self.fit)

    async def _scored(self, draft: Draft, row: dict[str, Any]) -> tuple[ScoredPair, dict[str, Any]]:
        """(the pair with its scores, what its row says of who made it)."""
        if self.config.on_policy.k:
            return await self._answered(draft, row)
        pair = self.reader.pair(row, draft.seed)
        draft.keep(prompt=pair.prompt, chosen=pair.chosen, rejected=pair.rejected)
        if self.scorer is not None:
            first, second = await together(self._score(draft, "chosen", [*pair.prompt, *pair.chosen], row),
                                           self._score(draft, "rejected", [*pair.prompt, *pair.rejected], row))
            pair = _with_scores(pair, first, second)
        name = row.get("model")
        return pair, {"model": name if isinstance(name, str) and name else "unknown"}

    async def _answered(self, draft: Draft, row: dict[str, Any]) -> tuple[ScoredPair, dict[str, Any]]:
        """The best of the policy's own answers against the worst; of equal scores the first sample counts."""
        config, prompt = self.config, self.reader.prompt(row)
        assert config.policy is not None
        draft.keep(prompt=prompt)
        answers = await draft.samples("response", config.policy, prompt, config.response, config.on_policy.k)
        texts = [answer.text.strip() for answer in answers]
        draft.keep(responses=texts)
        if not all(texts):
            raise Reject("empty answer")
        if config.response_never_stopped == "reject" and any(answer.truncated for answer in answers):
            raise Reject("answer never stopped", f"{sum(answer.truncated for answer in answers)} of {len(answers)}")
        scores = await together(*(self._score(draft, str(k), [*prompt, assistant(text)], row) for k, text in enumerate(texts)))
        values = [score.value for score in scores]
        best, worst = values.index(max(values)), values.index(min(values))
        pair = ScoredPair(prompt, [assistant(texts[best])], [assistant(texts[worst])])
        return (_with_scores(pair, scores[best], scores[worst]),
                {"model": config.policy.name, "responses": texts, "scores": values})

    async def _score(self, draft: Draft, step: str, messages: list[Message], row: dict[str, Any]) -> Score:
        """The score of an answer. Raises `Reject` where there is none, or one outside of its declared scale."""
        assert self.scorer is not None
        score = await self.scorer.score(draft, f"score_{step}", messages, row)
        if score.value is None:
            raise Reject("an answer has no score", f"{score.reason}{f': {score.detail}' if score.detail else ''}")
        for name, value in {OVERALL: score.value, **score.attributes}.items():
            low, high = self.declared.get(name, (value, value))
            if not low <= value <= high:
                said = f"{self.scorer.name} gave {name or 'the score'} {value:g}, declared {low:g} to {high:g}"
                if self.config.invalid == "error":
                    raise UsageError(f"row {draft.index + 1:,}: {said}; declare another source_scale, or drop such rows with "
                                     "invalid=reject (answers are kept)")
                raise Reject("score outside of its scale", said)
        return score

    def finish(self, table: Table, progress: Progress) -> None:
        """Goals that had to wait for all scores; splits; the diagnosis of the pairs."""
        rules = self.rules
        if rules is None and len(table):
            progress.say("giving goals by the range of the scores")
            rules = self._rules(ranges(table, self.config.attributes))
            give_goals(table, rules, self.fit, augment=lambda row: self._goals_for(self._split_of(row)))
        if rules is None or not len(table):
            why = ", ".join(f"{reason} ({count:,})" for reason, count in table.reasons().most_common(3))
            raise UsageError(f"no pair of {self.config.data} is left: {why}; look at the data, or loosen what rejects them")
        table.split([self._split_of(row) for row in table.rows()])
        self.diagnosis = diagnose(source_pairs(table, rules), (split for split, _ in firsts(table)))
        self._note(table, rules)

    def _split_of(self, row: dict[str, Any]) -> str:
        """The split that a row goes to, by its row of the data."""
        carried = row["source_split"] != self.config.split
        return "test" if carried or row["source_row"] - 1 in self.survey.test else "train"

    def _goals_for(self, split: str) -> bool:
        return split == "train" or self.config.augment_test

    def _note(self, table: Table, rules: Rules) -> None:
        config = self.config
        table.notes["data"] = [source.describe() for source in self.reader.sources]
        table.notes["scores"] = {"scorer": self._scorer_name, **(self.scorer.describe() if self.scorer else {}),
                                 "scales": {name or "score": list(scale) for name, scale in rules.source.items()}}
        if config.relabel == "goals":
            table.notes["goal"] = {**self._goal_of(config.scale[1]).describe(),
                                   "prompt_hash": prompt_hash(bool(config.attributes))}
        table.notes["preferences"] = self.diagnosis.to_json()
        if warnings := self.diagnosis.warnings():
            table.notes["warnings"] = warnings

    def plan(self) -> Plan:
        """Calls a row of the data; token counts are typical lengths."""
        config, k = self.config, self.config.on_policy.k
        answers = min(config.response.max_tokens, ANSWER_TOKENS)
        steps = [Step("response", config.policy, k, PROMPT_TOKENS, answers)] if k and config.policy else []
        if self.scorer is not None:
            steps += self.scorer.plan("score", PROMPT_TOKENS + ANSWER_TOKENS, k or 2)
        rows = -(-self.wanted // self._per_pair)
        return Plan(min(rows, len(self.reader)), steps)

    def sections(self, table: Table) -> list[Section]:
        """The diagnosis of the pairs; goals of single attributes (the report draws the overall one by itself)."""
        goals = table.column("goals") if self.config.attributes else []
        drawn: list[Section] = [
            Histogram(f"Goal: {name}", [values[place] for values in goals if values], note="score that the prompt asks for")
            for place, name in enumerate(self.config.attributes) if any(goals)]
        return [*self.diagnosis.sections(), *drawn]

    def card(self, table: Table) -> str:
        """What the data is, and how its goals were made."""
        config, notes = self.config, table.notes
        about = (f"The policy `{config.policy.name}` answered the prompts of" if config.on_policy.k and config.policy
                 else "Preference pairs of")
        lines = [f"{about} `{config.data}`. Scores: {notes['scores']['scorer']}."]
        if config.relabel == "none":
            return f"{lines[0]} No goals: these are the pairs that reward augmentation would relabel, for comparison."
        low, high = config.scale
        lines += [
            "Each pair gives a row under the winner's score with the winner preferred, and one under the loser's score with the "
            "loser preferred (reward-augmented preference data, [arXiv:2410.08067](https://arxiv.org/abs/2410.08067))"
            f"{'; of the two one is kept, at random' if config.half else ''}. In the loser's row, `score_chosen` is lower.",
            f"Goals: {', '.join(config.attributes) or 'the overall score'}, shown from {low:g} to {high:g} with up to "
            f"{config.decimals} decimals (halves to the even digit), {_where(config.style)}. "
            + " ".join(f"{name.capitalize()} {a:g} to {b:g} becomes {low:g} to {high:g} by a straight line."
                       for name, (a, b) in notes["scores"]["scales"].items() if (a, b) != (low, high)),
            f"Ask a model trained on it for {high:g}: `goal={high:g}` in its role, such as `teacher.goal={high:g}`. The split "
            f"`test`, where there is one, has {'goals too' if config.augment_test else 'no goals'}."]
        return "\n\n".join(lines)


def _where(style: str) -> str:
    return "in the system message, before what stands there" if style == "system" else "before the first user message"


def _with_scores(pair: ScoredPair, chosen: Score, rejected: Score) -> ScoredPair:
    return ScoredPair(pair.prompt, pair.chosen, pair.rejected, chosen.value, rejected.value, chosen.attributes,
                      rejected.attributes)


RECIPE = RewardAugmented
