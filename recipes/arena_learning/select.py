"""Which battles of a prompt become data: pure functions, by stated rules.

    select(fought(rows, "mine", rules), rules, "sft", seed=0)    # Selected, or KeptOut with the reason

| use | what is taken of a prompt |
|---|---|
| `sft` | the winner's answer |
| `dpo` | a pair: the winner's answer, chosen, against the target's; with `wins` also one for each battle that the target won |
| `reward` | a pair for every battle decided by more than k: lost, and, unless `wins` is false, won |
| `online` | the prompt |

A prompt counts as lost by `rules.lost_to`: `any` battle passes k, `all` do (a battle without a gap does not), or the `mean` of
the gaps does. The winner is one of the rivals whose own gap passes k and whose answer can be learnt from: by `rules.winner`, then
by the larger gap, then by a draw that the seed decides, so that no rival is favoured for its name. Where the judge gave no
scores, `winner=score` goes by the gap. An empty answer is never learnt from, equal answers make no pair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from pica.recipes.arena_learning.fought import DISAGREE, UNSCORED, Fought, fought, mean
from pica.recipes.arena_learning.rules import Rules, Use
from pica.synth.run import derive_seed

__all__ = ["Fought", "KeptOut", "Pick", "Selected", "fought", "lost", "select"]

WELL, NO_BATTLE = "the target does well", "no battle with a rival"
EMPTY, EMPTY_LOSER = "the winner's answer is empty", "the loser's answer is empty"
TIE, CLOSE, LOST_ELSE = "a tie", "decided by too little", "lost, but not to as many rivals as lost_to asks for"
EQUAL, UNKNOWN = "the answers are equal", "an answer is not known"


@dataclass(frozen=True)
class Pick:
    """A battle to learn from. `won`: whether the target did, so that its own answer is the better one."""

    battle: Fought
    won: bool = False

    @property
    def better(self) -> str:
        """The better answer."""
        return self.battle.target_answer if self.won else self.battle.rival_answer

    @property
    def worse(self) -> str:
        """The other one."""
        return self.battle.rival_answer if self.won else self.battle.target_answer


@dataclass(frozen=True)
class KeptOut:
    """Why nothing is learnt from. `reason` is a constant phrase; `detail` says what is special here."""

    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Selected:
    """The battles of a prompt to learn from: one, or several where every decided battle makes a pair. `unfit`: decided battles
    whose answers nothing can be learnt from."""

    picks: tuple[Pick, ...]
    unfit: tuple[KeptOut, ...] = ()


def lost(battles: Sequence[Fought], rules: Rules, k: float) -> bool:
    """Whether the target lost this prompt by more than `k`, going by `rules.lost_to`."""
    gaps = [battle.gap for battle in battles]
    known = [gap for gap in gaps if gap is not None]
    if not known:
        return False
    if rules.lost_to == "mean":
        whole = mean(known)
        return whole is not None and passes(whole, rules, k)
    passing = [gap is not None and passes(gap, rules, k) for gap in gaps]
    return all(passing) if rules.lost_to == "all" else any(passing)


def passes(margin: float | None, rules: Rules, k: float) -> bool:
    """Whether a margin is more than `k`; or just as much, where `rules.at_k` takes that."""
    return margin is not None and (margin > k or (margin == k and rules.at_k == "take"))


def select(battles: Sequence[Fought], rules: Rules, use: Use, *, seed: int, ratings: Mapping[str, float] | None = None,
           ) -> Selected | KeptOut:
    """What to learn from the battles of one prompt. `seed`: of the prompt, for draws. `ratings`: of rivals, for
    `winner=rating`; one without a rating comes last."""
    k = rules.k_for(use)
    passing = [battle for battle in battles if passes(battle.gap, rules, k)] if lost(battles, rules, k) else []
    losses = [Pick(battle) for battle in _ranked(passing, rules, seed, ratings or {})]
    wins = _wins(battles, rules, k) if _takes_wins(rules, use) else []
    if not losses and not wins:
        return _not_lost(battles, rules, k)
    unfit = tuple(KeptOut(why, f"against {pick.battle.rival}") for pick in [*losses, *wins] if (why := _unfit(pick, use)))
    losses, wins = ([pick for pick in picks if not _unfit(pick, use)] for picks in (losses, wins))
    picks = (losses if use == "reward" else losses[:1]) + wins
    return Selected(tuple(picks), unfit) if picks else unfit[0]


def left_out(battle: Fought, rules: Rules, use: Use) -> KeptOut:
    """Why a battle that was not picked makes no pair, where every decided battle would."""
    k = rules.k_for(use)
    if battle.gap is None or battle.lead is None:
        return KeptOut(battle.problem or UNSCORED, f"against {battle.rival}")
    won = passes(battle.lead, rules, k) and battle.lead > 0
    detail = f"against {battle.rival}: {battle.gap:+g}; k={k:g}"
    if won or passes(battle.gap, rules, k):
        return KeptOut(_unfit(Pick(battle, won), use) or (WELL if won else LOST_ELSE), detail)
    if battle.gap == battle.lead == 0:
        return KeptOut(TIE, detail)
    return KeptOut(DISAGREE if max(battle.gap, battle.lead) < 0 else CLOSE, detail)


def _takes_wins(rules: Rules, use: Use) -> bool:
    if use in {"sft", "online"}:
        return False
    return use == "reward" if rules.wins is None else rules.wins


def _wins(battles: Sequence[Fought], rules: Rules, k: float) -> list[Pick]:
    """Battles that the target won by more than `k`. A tie is nobody's win."""
    return [Pick(battle, won=True) for battle in battles if passes(battle.lead, rules, k) and (battle.lead or 0) > 0]


def _ranked(passing: Sequence[Fought], rules: Rules, seed: int, ratings: Mapping[str, float]) -> list[Fought]:
    """The rivals that won, the one whose answer is taken first."""
    scored = all(battle.rival_score is not None for battle in passing)

    def worth(battle: Fought) -> float:
        match rules.winner:
            case "score":
                return (battle.rival_score or 0.0) if scored else 0.0
            case "rating":
                return ratings.get(battle.rival, -inf)
            case "random":
                return derive_seed("winner", seed, battle.rival)
        return 0.0

    return sorted(passing, key=lambda battle: (-worth(battle), -(battle.gap or 0.0), derive_seed("tie", seed, battle.rival)))


def _unfit(pick: Pick, use: Use) -> str:
    """Why a battle cannot be learnt from; empty where it can."""
    battle = pick.battle
    if use == "online":
        return ""
    if not battle.known:
        return UNKNOWN
    if not pick.better.strip():
        return EMPTY
    if use != "sft" and not pick.worse.strip():
        return EMPTY_LOSER
    return EQUAL if battle.equal else ""


def _not_lost(battles: Sequence[Fought], rules: Rules, k: float) -> KeptOut:
    if not battles:
        return KeptOut(NO_BATTLE)
    if all(battle.gap is None for battle in battles):
        reason = UNSCORED if any(battle.problem == UNSCORED for battle in battles) else DISAGREE
        return KeptOut(reason, ", ".join(battle.rival for battle in battles))
    shown = ", ".join(f"{battle.rival} {'none' if battle.gap is None else f'{battle.gap:+g}'}" for battle in battles)
    return KeptOut(WELL, f"gaps: {shown}; k={k:g}")
