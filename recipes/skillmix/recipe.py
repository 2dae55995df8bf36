"""Instruct-SkillMix: instructions that each need a random combination of skills, written, criticised and refined.

    pica run skillmix n=1000 teacher=openai/NAME --out DIR

Source: Kaur, Park, Goyal, Arora, "Instruct-SkillMix: A Powerful Pipeline for LLM Instruction Tuning" (ICLR 2025,
arXiv:2408.14774). How it differs from the authors' code is in this folder's README.
"""

from __future__ import annotations

from math import floor
from pathlib import Path
from typing import Any

from pica.recipes.skillmix.config import SkillMixConfig
from pica.recipes.skillmix.conversation import Conversation
from pica.recipes.skillmix.gather import gather
from pica.recipes.skillmix.pairs import Draws
from pica.recipes.skillmix.prompts import EXAMPLES, PROMPTS, hashes
from pica.recipes.skillmix.report import card, critique_effect, shirker_notes, skill_sections, warnings
from pica.recipes.skillmix.rows import SkillMixRow
from pica.recipes.skillmix.shirkers import shirk
from pica.recipes.skillmix.skills import Skill, SkillFile, read_skills
from pica.synth.errors import Reject, UsageError
from pica.synth.filters.copies import CopyFilter
from pica.synth.filters.evaluations import drop_overlaps, read_prompts
from pica.synth.models.base import ModelConfig, assistant, user
from pica.synth.plan import Plan, Step
from pica.synth.progress import Progress
from pica.synth.recipe import Recipe
from pica.synth.report import Section
from pica.synth.run import Draft, Run, derive_seed
from pica.synth.table import Table

QUOTES = (('"', '"'), ("\u201c", "\u201d"), ("'", "'"))


class SkillMix(Recipe[SkillMixConfig]):
    """Skill combinations, a conversation for each, checks of the answers."""

    name = "skillmix"
    config_class = SkillMixConfig

    def __init__(self, config: SkillMixConfig) -> None:
        super().__init__(config)
        self.skills: SkillFile
        self.draws: Draws
        if config.skills not in {"ask", "extract"}:
            self._use(read_skills(config.skills))

    def _use(self, skills: SkillFile) -> None:
        """Draw from these skills. Raises `UsageError` where they are too few."""
        config, there = self.config, len(skills.skills)
        if config.k > there:
            raise UsageError(f"k={config.k} needs as many skills and skills={config.skills} has {there}; lower k or give more")
        self.skills = skills
        self.draws = Draws(there, config.k, len(skills.query_types), n=config.n, held_out=config.held_out, seed=config.seed)
        total = self.draws.combinations.total
        if config.n > total:
            raise UsageError(f"n={config.n}: k={config.k} of {there} skills has {total:,} combinations, and none is used twice; "
                             "lower n, give more skills, or another k")

    @property
    def row_class(self) -> type[SkillMixRow]:
        """Conversations of one turn."""
        return SkillMixRow

    @property
    def models(self) -> list[ModelConfig]:
        """Only the teacher is asked for rows."""
        return [self.config.teacher]

    @property
    def candidates(self) -> int:
        """No more than there are combinations."""
        return min(self.config.candidate_limit, self.draws.combinations.total)

    @property
    def remedy(self) -> str:
        """More skills, where every combination was tried."""
        every = self.draws.combinations.total <= self.config.candidate_limit
        return "give more skills or another k, since every combination was tried" if every else "raise max_candidates"

    async def prepare(self, run: Run) -> None:
        """Find files, packages and weights; then, where they are asked for or extracted, the skills."""
        config = self.config
        self.evaluations = {name: read_prompts(Path(name)) for name in config.decontaminate}
        self.copies = CopyFilter(config.duplicates)
        if config.skills in {"ask", "extract"}:
            self._use(await gather(run, config))
            run.say(f"{len(self.skills.skills)} skills, {len(self.skills.query_types)} query types")

    async def make_row(self, draft: Draft) -> SkillMixRow:
        """One combination: create, critique, refine, look for low effort, replace where the ablation says so."""
        config, index = self.config, draft.index
        split, place = self.draws.place(index)
        chosen = [self.skills.skills[number] for number in self.draws.skills(index)]
        query_type = self.skills.query_types[self.draws.query_type(index)]
        draft.keep(skills=[skill.name for skill in chosen], topics=_topics(chosen), query_type=query_type.name, split=split,
                   flow=config.flow)
        talk = Conversation(draft, config)
        pair = first = await talk.create(chosen, query_type)
        if config.flow != "create":
            draft.keep(draft_instruction=first.instruction, draft_response=first.response,
                       draft_response_words=len(first.response.split()))
            strengths, weaknesses = await talk.critique()
            draft.keep(critique_strengths=strengths, critique_weaknesses=weaknesses)
            pair = await talk.refine()
        draft.keep(instruction=pair.instruction, messages=[user(pair.instruction), assistant(pair.response)],
                   rewrites=talk.rewrites)
        found = shirk(pair.instruction, pair.response)
        if found is not None and config.shirkers == "reject":
            raise Reject(f"low effort: {found.kind}", found.detail)
        replaced = None
        if split == "train" and self._ablated(place):
            replaced, pair = pair.response, type(pair)(pair.instruction, await self._bad(draft, pair.instruction))
        none = dict.fromkeys(("draft_instruction", "draft_response", "draft_response_words", "critique_strengths",
                              "critique_weaknesses"))
        fields: dict[str, Any] = {
            **none, **draft.kept, "messages": [user(pair.instruction), assistant(pair.response)],
            "instruction_words": len(pair.instruction.split()), "response_words": len(pair.response.split()),
            "shirker": found.kind if found else None, "ablation": "none" if replaced is None else config.ablation.kind,
            "replaced_response": replaced}
        return SkillMixRow(id=draft.id, recipe=self.name, model=config.teacher.name, seed=draft.seed, calls=draft.calls, **fields)

    def _ablated(self, place: int) -> bool:
        """Whether the train row at `place` gets a bad answer: evenly spread, from a place that the seed decides."""
        share = self.config.ablation.share
        start = derive_seed("ablation", self.config.seed) / 2**53
        return floor((place + 1) * share + start) > floor(place * share + start)

    async def _bad(self, draft: Draft, instruction: str) -> str:
        """A brief or a junk answer of the teacher, given the instruction and one prompt alone."""
        prompt = PROMPTS[f"ablate_{self.config.ablation.kind}"].fill(instruction=instruction)
        answer = await draft.chat("ablation", self.config.teacher, [user(prompt)], self.config.writing)
        text = _without_quotes(answer.text.strip())
        if not text or answer.truncated:
            raise Reject("ablation: cut" if answer.truncated else "ablation: empty answer")
        return text

    def finish(self, table: Table, progress: Progress) -> None:
        """Contamination, copies, and as many rows of each split as were asked for."""
        config = self.config
        table.notes.update(shirkers=shirker_notes(table, config), critique=critique_effect(table), prompts=hashes(),
                           skills={"source": config.skills, "skills": len(self.skills.skills),
                                   "query_types": len(self.skills.query_types), "k": config.k,
                                   "combinations": self.draws.combinations.total, "provenance": self.skills.provenance})
        table.notes["warnings"] = warnings(table.notes["shirkers"], table)
        if config.flow == "full":
            own = {"the prompt's examples": [one["instruction"] for one in EXAMPLES]}
            drop_overlaps(table, own, reason="copies an example of the prompt")
        if config.decontaminate:
            drop_overlaps(table, self.evaluations)
        self.copies.drop(table, progress)
        self._split(table)

    def _split(self, table: Table) -> None:
        left = {"train": self.config.n - self.config.held_out, "test": self.config.held_out}
        mask = []
        for split in table.column("split"):
            left[split] -= 1
            mask.append(left[split] >= 0)
        table.keep(mask, "beyond the number asked for")
        table.split(table.column("split"))

    def files(self) -> dict[str, str]:
        """The skill file, to edit and share."""
        return {"skills.yaml": self.skills.text()}

    def plan(self) -> Plan:
        """Calls a row; token counts are typical lengths."""
        config = self.config
        assert config.mentor is not None
        steps, n = [], config.n
        if config.skills == "ask":
            lists = config.ask.topics + 2
            steps.append(Step("skills", config.mentor, lists / n, 300, min(config.listing.max_tokens, 30 * config.ask.skills)))
        if config.skills == "extract":
            steps.append(Step("skills", config.mentor, config.extract.rows / n, 500, min(config.listing.max_tokens, 150)))
        pair, points = min(config.writing.max_tokens, 600), min(config.critique.max_tokens, 200)
        before = 1900 if config.flow == "full" else 350
        steps.append(Step("create", config.teacher, 1, before, pair))
        if config.flow != "create":
            steps.append(Step("critique", config.teacher, 1, before + pair + 150, points))
            steps.append(Step("refine", config.teacher, 1, before + pair + points + 300, pair))
        if config.ablation.share:
            share = config.ablation.share * (n - config.held_out) / n
            steps.append(Step("ablation", config.teacher, share, 200, 80 if config.ablation.kind == "brief" else 400))
        return Plan(n, steps)

    def sections(self, table: Table) -> list[Section]:
        """Skills used, low-effort answers, what critique changed."""
        return skill_sections(table)

    def card(self, table: Table) -> str:
        """What the data is."""
        return card(self.config, table)


def _topics(skills: list[Skill]) -> list[str]:
    return list(dict.fromkeys(topic for skill in skills for topic in skill.topics))


def _without_quotes(text: str) -> str:
    for opening, closing in QUOTES:
        if len(text) > 1 and text.startswith(opening) and text.endswith(closing):
            return text[1:-1].strip()
    return text


RECIPE = SkillMix
