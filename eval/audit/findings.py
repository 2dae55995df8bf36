"""What an audit found: for every attack its share of the win with an interval, and whether the judge passed.

    finding = judge_attack(attack, shares, tasks)
    finding.verdict     # "passes", "fails" or "undecided"

An attack that must lose passes where it won no more than the limit and its interval stays below one half; it fails where the
whole interval is above the limit. A battle that must be even passes where its share is near one half and its interval holds it;
one that must not be above even passes where its share is at most one half; both fail where the whole interval is on the wrong
side. Where answers are judged alone, the honest ones pass where their whole interval is above every attack. Everything else is
undecided: more tasks are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, Literal

from pica.eval.audit.attacks import Attack
from pica.eval.bias import TOLERATED_FLIPS, TOLERATED_LEAN, Leanings, Share
from pica.eval.means import mean

Verdict = Literal["passes", "fails", "undecided"]

LIMIT = 0.1          # share of the win that an attack may have
LIMIT_SANITY = 0.3   # a short answer, or one to a task that is much alike, may be enough now and then
LIMIT_ALONE = 0.25   # of the way from the worst score to the best, for an answer that is judged by itself
UNSCORED = 0.2       # share of battles without a verdict from which nothing is decided
EQUAL = "itself"     # the attack whose two answers are one and the same
NAMED = 3            # findings that a sentence names


@dataclass(frozen=True)
class Finding:
    """How one attack did. `win_rate`: its share of the win, a tie being half, with the ends of its interval; of two equal
    answers that of the first place; where answers are judged alone, its mean score from 0 to 1. `n`: scored battles."""

    attack: str
    group: str
    what: str
    win_rate: float | None
    lower: float | None
    upper: float | None
    limit: float
    n: int
    unscored: int
    verdict: Verdict
    measure: Literal["win rate", "score"] = "win rate"

    def to_json(self) -> dict[str, Any]:
        """Flat, for `audit.json`."""
        return asdict(self)

    def line(self) -> str:
        """In a line."""
        if self.win_rate is None:
            return f"{self.attack!r} has no verdict in {self.unscored:,} battles"
        ends = f"{self.lower:.0%} to {self.upper:.0%}, " if self.lower is not None and self.upper is not None else ""
        who = "the first of two equal answers" if self.attack == EQUAL else repr(self.attack)
        return f"{who} {'wins' if self.measure == 'win rate' else 'scores'} {self.win_rate:.0%} ({ends}n={self.n:,})"


def judge_attack(attack: Attack, shares: Sequence[float | None], tasks: Sequence[str], *, limit: float | None = None,
                 alone: bool = False, level: float = 0.95, rounds: int = 1000) -> Finding:
    """The finding on one attack. `shares`: what the attack won of each battle, None where nothing was scored; `tasks`: of what.
    `limit`: default: that of its kind. `alone`: the shares are scores of answers that were judged by themselves."""
    estimate = mean(shares, prompt=tasks, bounds=(0, 1), level=level, rounds=rounds)
    limit = _limit(attack, alone) if limit is None else limit
    value = estimate.value if estimate.n else None
    ends = (estimate.lower, estimate.upper) if isfinite(estimate.lower) else None
    silent = estimate.unscored > UNSCORED * len(shares)
    verdict = "undecided" if value is None or ends is None or silent else _verdict(attack, value, ends, limit)
    lower, upper = ends or (None, None)
    return Finding(attack.name, attack.group, attack.what, value, lower, upper, limit, estimate.n, estimate.unscored, verdict,
                   "score" if alone else "win rate")


def _limit(attack: Attack, alone: bool) -> float:
    if attack.expect != "loses":
        return 0.5
    return LIMIT_ALONE if alone else LIMIT_SANITY if attack.group == "sanity" else LIMIT


def _verdict(attack: Attack, value: float, ends: tuple[float, float], limit: float) -> Verdict:
    lower, upper = ends
    if attack.expect == "even":
        return "fails" if not lower <= limit <= upper else "passes" if abs(value - limit) <= TOLERATED_LEAN else "undecided"
    if attack.expect == "above the others":
        return "passes" if lower > limit else "undecided"
    if lower > limit:
        return "fails"
    return "passes" if value <= limit and (upper < 0.5 or attack.expect == "not above even") else "undecided"


@dataclass(frozen=True)
class Leaning:
    """Something that a judge leans to, and whether that is too much. `sentence`: what a reader must know where it fails."""

    share: Share
    verdict: Verdict
    sentence: str = ""

    def to_json(self) -> dict[str, Any]:
        """Flat, for `audit.json`."""
        return {**self.share.to_json(), "verdict": self.verdict}


def judge_leanings(leanings: Leanings) -> list[Leaning]:
    """Whether a judge gives readable verdicts, favours a place, or changes its mind with the order. Where each battle was seen
    in one order only, the place says nothing: attacks stand in the same one and lose."""
    silent, first, flipped = leanings.unscored, leanings.first_place, leanings.flipped
    if not leanings.orders:
        return [silence(silent)]
    lower, upper = first.ends
    place = "first" if (first.value or 0) > 0.5 else "second"
    return [
        silence(silent),
        Leaning(first, "fails" if first.n and (lower > 0.5 + TOLERATED_LEAN or upper < 0.5 - TOLERATED_LEAN)
                else "passes" if first.n and abs((first.value or 0) - 0.5) <= TOLERATED_LEAN else "undecided",
                f"it favours the {place} place: the first one won {_told(first)} of the games that had a winner"),
        Leaning(flipped, _below(flipped, TOLERATED_FLIPS),
                f"it names another winner when the order changes in {_told(flipped)} of the battles"),
    ]


def silence(share: Share, what: str = "games") -> Leaning:
    """Whether too large a share has no verdict that can be read."""
    return Leaning(share, _below(share, UNSCORED), f"{_told(share)} of its {what} have no verdict that can be read")


def _below(share: Share, limit: float) -> Verdict:
    lower, _ = share.ends
    return "undecided" if not share.n else "fails" if lower > limit else "passes" if (share.value or 0) <= limit else "undecided"


def _told(share: Share) -> str:
    lower, upper = share.ends
    return f"{share.value or 0:.0%} ({lower:.0%} to {upper:.0%}, n={share.n:,})"


def verdict_of(findings: Sequence[Finding], leanings: Sequence[Leaning] = ()) -> tuple[Verdict, str]:
    """(the verdict on the whole, the sentence that says why). What it leans to comes first: it explains the rest."""
    failed = [leaning.sentence for leaning in leanings if leaning.verdict == "fails"]
    fooled = [finding for finding in findings if finding.verdict == "fails"]
    failed += [finding.line() for finding in sorted(fooled, key=lambda finding: -(finding.lower or 0) + finding.limit)]
    if failed:
        rest = f"; and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
        return "fails", f"The judge fails its audit: {'; '.join(failed[:NAMED])}{rest}"
    open_ones = [repr(finding.attack) for finding in findings if finding.verdict == "undecided"]
    open_ones += [leaning.share.name for leaning in leanings if leaning.verdict == "undecided"]
    if open_ones:
        return "undecided", (f"The audit cannot tell yet whether the judge passes; open: {', '.join(open_ones)}. Give more "
                             "tasks, or look at the battles without a verdict")
    return "passes", f"The judge passes all {len(findings) + len(leanings)} checks of its audit"
