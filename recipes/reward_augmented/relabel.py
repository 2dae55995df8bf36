"""One scored pair becomes two rows: under the winner's score the winner is preferred, under the loser's the loser.

    rules = Rules(scale=(1, 10), source={"": (1, 10)})
    relabel(ScoredPair(prompt, chosen, rejected, 8.0, 5.5), rules)    # [winner's row, loser's row]

Pure functions: nothing here asks a model. Source: arXiv 2410.08067, section 4: the reward of an answer y under the goal g
is -(g - r(x, y))^2, so of the two answers the one whose score is the goal is preferred.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import fsum
from typing import Literal

from pica.synth.errors import Reject
from pica.synth.formats import Pair
from pica.synth.models.base import Message
from pica.synth.models.goal import Goal, Scale, Style, bears_goal, show

Side = Literal["winner", "loser", "plain"]
Ties = Literal["reject", "keep_one"]

#: what makes a prompt fit: (prompt, answers, goals) -> the prompt, perhaps shortened; raises `Reject` where it cannot
Fit = Callable[[list[Message], Sequence[list[Message]], Sequence[Goal]], list[Message]]

OVERALL = ""  # the name of the overall score among the scales of `Rules.source`


@dataclass(frozen=True)
class ScoredPair(Pair):
    """A pair with the scores of single attributes, by name, beside the overall ones."""

    attributes_chosen: Mapping[str, float] = field(default_factory=dict)
    attributes_rejected: Mapping[str, float] = field(default_factory=dict)

    def swapped(self) -> ScoredPair:
        """The same pair with the other answer preferred."""
        return replace(self, chosen=self.rejected, rejected=self.chosen, score_chosen=self.score_rejected,
                       score_rejected=self.score_chosen, attributes_chosen=self.attributes_rejected,
                       attributes_rejected=self.attributes_chosen)

    @property
    def scores(self) -> list[tuple[str, float]]:
        """(name, score) of every score, the overall ones under `OVERALL`."""
        overall = [(OVERALL, score) for score in (self.score_chosen, self.score_rejected) if score is not None]
        return [*overall, *self.attributes_chosen.items(), *self.attributes_rejected.items()]


@dataclass(frozen=True)
class Labelled:
    """A row to be: the pair with its preferred answer as `chosen`, and the goal that stands in its prompt already.

    `cut`: characters of the prompt that were left out to make it fit.
    """

    pair: ScoredPair
    side: Side
    goal: Goal | None = None
    cut: int = 0


@dataclass(frozen=True)
class Rules:
    """How scores become goals.

    `scale`: least and greatest score that goals show. `source`: least and greatest score of what scored, by attribute
    (`OVERALL` for the overall score); it is mapped to `scale` by the straight line through the ends. `attributes`: goals
    are of these instead of the overall score. `ties`: what becomes of pairs whose goals read the same. `min_margin`: pairs
    whose scores differ by less, on `scale`, are rejected. `half`: one of the two rows, by the seed. `goals`: off leaves
    pairs that pass as they are. `reject_inverted`: pairs whose rejected answer scores higher are rejected; without it they
    are kept, since both rows follow the scores whichever answer the data prefers.
    """

    scale: Scale
    source: Mapping[str, Scale]
    style: Style = "system"
    decimals: int = 1
    attributes: tuple[str, ...] = ()
    ties: Ties = "reject"
    min_margin: float = 0.0
    half: bool = False
    goals: bool = True
    reject_inverted: bool = False

    def mapped(self, score: float, attribute: str = OVERALL) -> float:
        """The score on `scale`. Raises `Reject` for one outside of its own."""
        (low, high), (least, greatest) = self.scale, self.source[attribute]
        if not least <= score <= greatest:  # NaN too
            raise Reject("score outside of its scale", f"{attribute or 'score'} {score:g}, declared {least:g} to {greatest:g}")
        if (low, high) == (least, greatest):
            return score
        share = (score - least) / (greatest - least)
        return low + share * (high - low) if share < 0.5 else high - (1 - share) * (high - low)

    def goal(self, score: float, attributes: Mapping[str, float]) -> Goal:
        """The goal of an answer that got these scores, rounded as it is shown."""
        if not self.attributes:
            return self._goal(self._shown(score, OVERALL))
        if missing := [name for name in self.attributes if name not in attributes]:
            raise Reject("an attribute has no score", ", ".join(missing))
        return self._goal({name: self._shown(attributes[name], name) for name in self.attributes})

    def _shown(self, score: float, attribute: str) -> float:
        return float(show(self.mapped(score, attribute), self.decimals))

    def _goal(self, value: float | dict[str, float]) -> Goal:
        return Goal(value=value, style=self.style, scale=self.scale, decimals=self.decimals)


def relabel(pair: ScoredPair, rules: Rules, *, seed: int = 0, fit: Fit | None = None) -> list[Labelled]:
    """The rows of a pair: two, one where `rules` say so. `seed` decides which of them `half` keeps.

    Both rows have the same prompt but for the goal. Raises `Reject` for a pair without scores, with a score outside of its
    scale, with a goal in its prompt already, that is a tie, or that does not `fit`.
    """
    if pair.score_chosen is None or pair.score_rejected is None:
        raise Reject("an answer has no score")
    if rules.reject_inverted and pair.score_chosen < pair.score_rejected:
        raise Reject("the rejected answer scores higher", f"{pair.score_chosen:g} against {pair.score_rejected:g}")
    if bears_goal(pair.prompt):
        raise Reject("prompt bears a goal already")
    if pair.chosen == pair.rejected:
        raise Reject("chosen equals rejected")
    goals = [rules.goal(pair.score_chosen, pair.attributes_chosen), rules.goal(pair.score_rejected, pair.attributes_rejected)]
    tie = goals[0] == goals[1]
    if tie and rules.ties == "reject":
        raise Reject("scores tie", f"both show {goals[0].text().rpartition(': ')[2]}" if not rules.attributes else "")
    margin = rules.mapped(pair.score_chosen) - rules.mapped(pair.score_rejected)
    if abs(margin) < rules.min_margin:
        raise Reject("margin too small", f"{abs(margin):g}")
    if not rules.goals:
        return [plain(pair, fit)]
    prompt = fit(pair.prompt, [pair.chosen, pair.rejected], goals) if fit else pair.prompt
    cut = _characters(pair.prompt) - _characters(prompt)
    sides: list[tuple[Side, ScoredPair]] = [("winner", pair), ("loser", pair.swapped())]
    rows = [Labelled(replace(one, prompt=goal.wrap(prompt)), side, goal, cut)
            for (side, one), goal in zip(sides, goals, strict=True)]
    return rows[:1] if tie else [rows[seed % 2]] if rules.half else rows


def plain(pair: ScoredPair, fit: Fit | None = None) -> Labelled:
    """The pair as it is, without a goal."""
    prompt = fit(pair.prompt, [pair.chosen, pair.rejected], []) if fit else pair.prompt
    return Labelled(replace(pair, prompt=prompt), "plain", None, _characters(pair.prompt) - _characters(prompt))


def overall(attributes: Mapping[str, float]) -> float:
    """The overall score of an answer that has none: the mean of its attributes."""
    return fsum(attributes.values()) / len(attributes)


def _characters(messages: Sequence[Message]) -> int:
    return sum(len(message["content"]) for message in messages)
