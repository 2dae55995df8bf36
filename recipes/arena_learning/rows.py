"""The rows of Arena Learning, and how a prompt with its battles becomes some.

Every row says why it was taken: who lost to whom, by how much, and how the target did against all rivals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import blake2b
from typing import Annotated, Any, Literal

import msgspec
import orjson

from pica.recipes.arena_learning.fought import Fought, mean
from pica.recipes.arena_learning.rules import Rules, Use
from pica.recipes.arena_learning.select import KeptOut, Pick, Selected, left_out, lost, select
from pica.synth.models.base import Message, assistant
from pica.synth.rows import Messages, Provenance
from pica.synth.run import derive_seed

HELD = "holds an evaluation prompt"
KS = tuple(range(9))  # thresholds at which rows are counted, whatever k is


class Gap(msgspec.Struct, frozen=True):
    """How the target did against a rival."""

    rival: Annotated[str, "label of the rival"]
    gap: Annotated[float | None, "the rival's score less the target's; none: no verdict, or orders that disagree"]
    target_score: Annotated[float | None, "mean score of the target's answer"]
    rival_score: Annotated[float | None, "mean score of the rival's"]
    orders: Annotated[list[float | None], "the gap in every order that was played, the target's answer first in the first one"]
    unscored: Annotated[int, "verdicts that could not be read"]
    problem: Annotated[str, "why there is no gap"]


class BattleFields(Provenance, kw_only=True):
    """What every row says of the battle that it comes from."""

    task: Annotated[str, "id of the task"]
    category: Annotated[str, "category of the task", "category"]
    tags: Annotated[list[str], "further categories of the task, such as skills"]
    target: Annotated[str, "label of the model that learns"]
    rival: Annotated[str, "label of the rival", "category"]
    result: Annotated[Literal["lost", "won", "none"], "whether the target lost this battle; none: neither, or no verdict"]
    gap: Annotated[float | None, "by how many points the target lost; negative: it won"]
    target_score: Annotated[float | None, "mean score of the target's answer in this battle"]
    rival_score: Annotated[float | None, "mean score of the rival's"]
    target_answer: Annotated[str, "what the target answered"]
    rival_answer: Annotated[str, "what the rival answered"]
    target_length: Annotated[int, "characters of the target's answer"]
    gaps: Annotated[list[Gap], "how the target did against every rival"]
    judge: Annotated[str, "who judged"]


class LostSFTRow(BattleFields, kw_only=True):
    """The winner's answer where the target lost."""

    messages: Annotated[Messages, "the conversation, ending with the winner's answer"]


class LostPairRow(BattleFields, kw_only=True):
    """The better answer of a battle against the other one. Scores are the judge's, 1 to 10, where it gave some."""

    prompt: Annotated[Messages, "the conversation up to the answers"]
    chosen: Annotated[Messages, "the better answer"]
    rejected: Annotated[Messages, "the other answer"]
    score_chosen: Annotated[float | None, "mean score of the better answer; none: the judge gave outcomes"]
    score_rejected: Annotated[float | None, "mean score of the other answer"]
    model_chosen: Annotated[str, "who wrote the preferred answer"]
    model_rejected: Annotated[str, "who wrote the other answer"]


class LostPromptRow(BattleFields, kw_only=True):
    """A prompt that the target lost."""

    prompt: Annotated[Messages, "the conversation that was answered"]


ROWS: dict[Use, type[BattleFields]] = {"sft": LostSFTRow, "dpo": LostPairRow, "reward": LostPairRow, "online": LostPromptRow}


class Weighed(msgspec.Struct, kw_only=True):
    """What is known of a prompt besides its rows: needed until the table is finished, and no column of the dataset.

    `first`: the first row of its prompt. `kept_out`, `detail`: why nothing is learnt from it. `lost`, `lost_at_all`: by more than
    k, and by more than nothing. `mean_gap`: over its battles. `at`: rows that each of `KS` would select. `unfit`: reasons of
    battles that nothing can be learnt from. `prompt_length`: characters.
    """

    first: bool
    kept_out: str
    detail: str
    lost: bool
    lost_at_all: bool
    mean_gap: float | None
    at: list[int]
    unfit: list[str]
    prompt_length: int


@cache
def spooled(use: Use) -> type[msgspec.Struct]:
    """The rows of this use with the fields of `Weighed`, which stay out of the dataset."""
    own = ROWS[use]
    more = [(field.name, field.type) for field in msgspec.structs.fields(Weighed)]
    return msgspec.defstruct(f"Spooled{own.__name__}", more, bases=(own,), kw_only=True)


@dataclass(frozen=True)
class Fight:
    """A prompt and the target's battles on it. `overlap`: the evidence that it is one that must not be learnt from."""

    task: str
    category: str
    tags: tuple[str, ...]
    prompt: tuple[Message, ...]
    battles: tuple[Fought, ...] = ()
    overlap: str = ""


@dataclass(frozen=True)
class Maker:
    """Makes the rows of fights."""

    target: str
    rules: Rules
    use: Use
    seed: int
    ratings: Mapping[str, float]

    @cached_property
    def _at_each_k(self) -> list[Rules]:
        return [self.rules.model_copy(update={"k": float(k)}) for k in KS]

    def rows(self, fight: Fight) -> list[msgspec.Struct]:
        """The rows of a prompt: one that says why, where nothing is learnt from it. Of pairs for a reward model one for each of
        its battles, those that make no pair with the reason."""
        battles = () if fight.overlap else fight.battles
        found = self._selected(fight, self.rules)
        k = self.rules.k_for(self.use)
        weighed = {
            "kept_out": "", "detail": "", "lost": lost(battles, self.rules, k), "prompt_length": characters(fight.prompt),
            "lost_at_all": lost(battles, self.rules.model_copy(update={"at_k": "skip"}), 0.0),
            "mean_gap": mean(battle.gap for battle in battles), "at": self._at(fight), "unfit": []}
        if self.use == "reward" and fight.battles:
            return self._each(fight, found, weighed)
        if isinstance(found, KeptOut):
            nearest = max(fight.battles, key=lambda battle: (battle.gap is not None, battle.gap or 0.0), default=None)
            why = {"kept_out": found.reason, "detail": found.detail, "first": True}
            return [self._row(fight, None, nearest, {**weighed, **why})]
        weighed["unfit"] = [one.reason for one in found.unfit]
        return [self._row(fight, pick, pick.battle, {**weighed, "first": place == 0}) for place, pick in enumerate(found.picks)]

    def _each(self, fight: Fight, found: Selected | KeptOut, weighed: dict[str, Any]) -> list[msgspec.Struct]:
        """A row for every battle: pairs first, then those that make none."""
        picks = {pick.battle.rival: pick for pick in found.picks} if isinstance(found, Selected) else {}
        weighed["unfit"] = [one.reason for one in found.unfit] if isinstance(found, Selected) else []
        battles = [*(pick.battle for pick in picks.values()), *(one for one in fight.battles if one.rival not in picks)]
        rows = []
        for place, battle in enumerate(battles):
            pick = picks.get(battle.rival)
            why = KeptOut("") if pick else self._left_out(fight, battle)
            rows.append(self._row(fight, pick, battle, {**weighed, "kept_out": why.reason, "detail": why.detail,
                                                        "first": place == 0}))
        assert len(rows) == len(fight.battles), "battles = pairs + battles that make none"
        return rows

    def _left_out(self, fight: Fight, battle: Fought) -> KeptOut:
        return KeptOut(HELD, fight.overlap) if fight.overlap else left_out(battle, self.rules, self.use)

    def _selected(self, fight: Fight, rules: Rules) -> Selected | KeptOut:
        if fight.overlap:
            return KeptOut(HELD, fight.overlap)
        return select(fight.battles, rules, self.use, seed=derive_seed("winner", self.seed, fight.task), ratings=self.ratings)

    def _at(self, fight: Fight) -> list[int]:
        """How many rows each of `KS` would select."""
        found = (self._selected(fight, rules) for rules in self._at_each_k)
        return [len(one.picks) if isinstance(one, Selected) else 0 for one in found]

    def _row(self, fight: Fight, pick: Pick | None, battle: Fought | None, weighed: dict[str, Any]) -> msgspec.Struct:
        gap = battle.gap if battle else None
        rival, answer = (battle.rival, battle.target_answer) if battle else ("", "")
        named = rival if pick or self.use == "reward" else ""
        result = "none" if pick is None else "won" if pick.won else "lost"
        fields = {
            "id": row_id(fight, self.target, named), "recipe": "arena-learning", "seed": self.seed,
            "model": "" if pick is None else self.target if pick.won else rival,
            "calls": list(dict.fromkeys(call for one in fight.battles for call in one.calls)), "task": fight.task,
            "category": fight.category, "tags": list(fight.tags), "target": self.target, "rival": rival, "result": result,
            "gap": gap, "target_score": battle.target_score if battle else None,
            "rival_score": battle.rival_score if battle else None, "target_answer": answer,
            "rival_answer": battle.rival_answer if battle else "", "target_length": len(answer),
            "gaps": [_gap(one) for one in fight.battles],
            "judge": ", ".join(dict.fromkeys(judge for one in fight.battles for judge in one.judges)),
            **self._taught(fight, pick), **weighed}
        return spooled(self.use)(**fields)

    def _taught(self, fight: Fight, pick: Pick | None) -> dict[str, Any]:
        """What is learnt, in the format of its use; the prompt alone of what is kept out."""
        prompt = list(fight.prompt)
        if self.use == "online":
            return {"prompt": prompt}
        if self.use == "sft":
            return {"messages": [*prompt, assistant(pick.better)] if pick else prompt}
        if pick is None:
            return {"prompt": prompt, "chosen": [], "rejected": [], "score_chosen": None, "score_rejected": None,
                    "model_chosen": "", "model_rejected": ""}
        sides = [(pick.battle.rival, pick.battle.rival_score), (self.target, pick.battle.target_score)]
        (chosen, high), (rejected, low) = reversed(sides) if pick.won else sides
        return {"prompt": prompt, "chosen": [assistant(pick.better)], "rejected": [assistant(pick.worse)], "score_chosen": high,
                "score_rejected": low, "model_chosen": chosen, "model_rejected": rejected}


def row_id(fight: Fight, target: str, rival: str) -> str:
    """A row's id: the same for the same prompt, target and rival, whatever else is selected."""
    known = orjson.dumps([fight.task, [[message["role"], message["content"]] for message in fight.prompt], target, rival])
    return f"arena-learning-{blake2b(known, digest_size=7).hexdigest()}"


def characters(messages: Sequence[Message]) -> int:
    """Characters of what is said in messages."""
    return sum(len(message["content"]) for message in messages)


def _gap(battle: Fought) -> Gap:
    return Gap(battle.rival, battle.gap, battle.target_score, battle.rival_score, [turn.gap for turn in battle.turns],
               battle.unscored, battle.problem)
