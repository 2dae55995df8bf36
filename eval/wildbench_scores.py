"""WildBench's arithmetic: WB-Reward with its length penalty, WB-Score, and averages over kinds of tasks.

    extent = penalised(extent, length, baseline_length, limit=500)     # 2 much better ... -2 much worse
    outcomes = Outcomes.of(extent)
    outcomes.reward()                                                   # over the battles that were counted
    outcomes.reward(total=1024)                                         # as published: over all that were judged

Lin and others, WildBench (2024). In the published tables a reward is divided by all judged items, although battles with an
empty or cut answer are left out of the counts, which draws rewards towards 0; and averages over kinds of tasks divide by
all weights even where a kind is missing. The right denominators are the default here; the published ones go by `official`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pica.eval.battles import Battles, Floats, Ints
from pica.eval.elo import EloRatings, elo
from pica.synth.errors import UsageError

#: What a task's tag belongs to.
GROUPS: Mapping[str, str] = {
    "Information seeking": "Information/Advice seeking", "Advice seeking": "Information/Advice seeking",
    "Creative Writing": "Creative Tasks", "Editing": "Creative Tasks", "Brainstorming": "Creative Tasks",
    "Role playing": "Creative Tasks", "Others": "Creative Tasks", "Coding & Debugging": "Coding & Debugging",
    "Reasoning": "Planning & Reasoning", "Planning": "Planning & Reasoning", "Math": "Math & Data Analysis",
    "Data Analysis": "Math & Data Analysis"}
#: How much a group counts in an average over kinds of tasks.
WEIGHTS: Mapping[str, float] = {"Creative Tasks": 0.5, "Planning & Reasoning": 1.25, "Math & Data Analysis": 1.0,
                                "Information/Advice seeking": 0.75, "Coding & Debugging": 1.25}
#: What a battle of each extent is worth.
WORTH: Mapping[int, float] = {2: 1.0, 1: 0.5, 0: 0.0, -1: -0.5, -2: -1.0}


@dataclass(frozen=True)
class Outcomes:
    """Counts of battles against a baseline."""

    win_much: int
    win: int
    tie: int
    lose: int
    lose_much: int

    @classmethod
    def of(cls, extents: Iterable[int]) -> Outcomes:
        """Counts extents: 2 much better than the baseline, 1 better, 0 as good, -1 worse, -2 much worse."""
        count = dict.fromkeys(WORTH, 0)
        for extent in extents:
            if extent not in count:
                raise UsageError(f"extent {extent}; allowed: 2, 1, 0, -1, -2")
            count[extent] += 1
        return cls(*count.values())

    @property
    def counted(self) -> int:
        """All battles counted."""
        return self.win_much + self.win + self.tie + self.lose + self.lose_much

    def reward(self, total: int | None = None) -> float:
        """In [-1, 1], NaN without a battle. `total`: divide by this many (official: all judged, counted or not)."""
        items = self.counted if total is None else total
        return (self.win_much + self.win / 2 - self.lose / 2 - self.lose_much) / items if items else math.nan

    def explain(self) -> str:
        """In a sentence, what was counted."""
        return (f"WB-Reward {self.reward():+.4f} over {self.counted:,} battles: {self.win_much} much better, {self.win} better, "
                f"{self.tie} ties, {self.lose} worse, {self.lose_much} much worse.")


def penalised(extent: Sequence[int] | Ints, length: Sequence[int] | Ints, baseline_length: Sequence[int] | Ints, *,
              limit: int) -> Ints:
    """int64 [battles]: extents, where a slight win of the longer answer, by more than `limit` characters, is a tie.

    A clear win (2 or -2) stands however long it is. `limit` -1: no penalty.
    """
    given = np.asarray(extent, dtype=np.int64)
    longer = np.asarray(length, dtype=np.int64) - np.asarray(baseline_length, dtype=np.int64)
    bought = (np.abs(given) == 1) & (given * longer > limit) & (limit >= 0)
    return np.where(bought, 0, given)


def groups_of(tags: Iterable[str]) -> list[str]:
    """The groups that a task with these tags counts in, each once, in the order of `WEIGHTS`."""
    found = set()
    for tag in tags:
        if tag not in GROUPS:
            raise UsageError(f"unknown WildBench tag '{tag}'; known: {', '.join(GROUPS)}")
        found.add(GROUPS[tag])
    return [group for group in WEIGHTS if group in found]


def task_macro(by_group: Mapping[str, float], *, official: bool = False) -> float:
    """The weighted average over groups of tasks, over those there are; `official` divides by all weights. NaN without any."""
    unknown = by_group.keys() - WEIGHTS.keys()
    if unknown:
        raise UsageError(f"unknown group of tasks '{min(unknown)}'; known: {', '.join(WEIGHTS)}")
    weight = sum(WEIGHTS.values()) if official else sum(WEIGHTS[group] for group in by_group)
    return sum(WEIGHTS[group] * value for group, value in by_group.items()) / weight if by_group else math.nan


def mix(rewards: Mapping[str, float | None], *, official: bool = False) -> float:
    """The mean reward over baselines. A baseline without a reward (None) is an error, since means over other baselines do not
    compare; `official` counts it as 0."""
    missing = [baseline for baseline, reward in rewards.items() if reward is None]
    if not rewards or (missing and not official):
        raise UsageError(f"no reward against {', '.join(missing) or 'any baseline'}; judge those battles, or mix as published "
                         "(official), where a missing one counts 0")
    return sum(reward or 0.0 for reward in rewards.values()) / len(rewards)


def adjusted(score: float) -> float:
    """A mean score of 1 to 10 on WB-Score's scale of -8 to 10, where 0 is mediocre; leaderboards show ten times this."""
    return (score - 5) * 2


def virtual_battles(scores: Mapping[str, Mapping[str, float]], lengths: Mapping[str, Mapping[str, int]], *, margin: float = 2.0,
                    limit: int | None = 1500) -> Battles:
    """Battles between all models from scores by model and task: WB-Elo's votes.

    A lead of `margin` or more is a win, less a tie. A win is a tie, too, where the lengths differ by more than `limit`
    characters (None: however long). Tasks that one of two models has no score for are left out.
    """
    rows: list[tuple[str, str, float, str]] = []
    for number, first in enumerate(models := sorted(scores)):
        for second in models[number + 1:]:
            for task in sorted(scores[first].keys() & scores[second].keys()):
                lead = scores[first][task] - scores[second][task]
                apart = limit is not None and abs(lengths[first][task] - lengths[second][task]) > limit
                rows.append((first, second, 0.5 if apart or abs(lead) < margin else float(lead > 0), task))
    a, b, outcome, prompt = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Battles.of(a, b, outcome, prompt=prompt)


def wb_elo(battles: Battles, *, initial: Mapping[str, float] | None = None, rounds: int = 128, seed: int = 42) -> EloRatings:
    """WB-Elo: online Elo with K = 4 over shuffled virtual battles. `initial`: ratings to begin from, 1000 for others.

    The published leaderboard also leaves out games between two models with an initial rating and pulls those models back
    to it now and then, with an order of games that was not published; this does neither.
    """
    return elo(battles, k=4.0, initial=initial or {}, rounds=rounds, seed=seed)


def worth(extents: Sequence[int] | Ints) -> Floats:
    """float64 [battles]: what each battle adds to a reward, for `pica.eval.means.mean` with bounds (-1, 1)."""
    return np.array([WORTH[int(extent)] for extent in extents])
