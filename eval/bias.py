"""What a panel of judges leans to, from the battles it judged: place, length, its own words.

All counts are of games with a verdict. Shares carry their interval (Wilson), and say of how many games they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pica.eval.battle import flips
from pica.eval.judge import WORTH
from pica.synth.intervals import wilson

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Share:
    """A share of `n` cases with its 95 % interval."""

    name: str
    count: int
    n: int

    @property
    def value(self) -> float | None:
        """The share; None of nothing."""
        return self.count / self.n if self.n else None

    @property
    def ends(self) -> tuple[float, float]:
        """Wilson's interval; 0 to 1 of nothing."""
        return wilson(self.count, self.n)

    def to_json(self) -> dict[str, Any]:
        """Share, ends and counts."""
        lower, upper = self.ends
        return {"name": self.name, "share": self.value, "lower": lower, "upper": upper, "count": self.count, "n": self.n}


@dataclass(frozen=True)
class Leanings:
    """What the judges of some battles lean to. `orders`: how the two orders of a battle go together, by judge and battle."""

    first_place: Share
    longer: Share
    flipped: Share
    orders: Mapping[str, int]
    unscored: Share

    def shares(self) -> list[Share]:
        """All shares, for tables and plots."""
        return [self.first_place, self.longer, self.flipped, self.unscored]

    def warnings(self) -> list[str]:
        """What a reader must know of these judges, most serious first."""
        found = []
        lower, upper = self.first_place.ends
        value = self.first_place.value
        if value is not None and (lower > 0.5 or upper < 0.5) and abs(value - 0.5) > TOLERATED_LEAN:
            place = "first" if lower > 0.5 else "second"
            found.append(f"the judge favours the {place} place: the first one won {_percent(self.first_place)} of the games "
                         "that had a winner; keep orders=both, or take another judge")
        if self.flipped.n and self.flipped.ends[0] > TOLERATED_FLIPS:
            found.append(f"the judge changes its mind with the order in {_percent(self.flipped)} of the battles; read small "
                         "differences as none, or take another judge")
        if self.unscored.n and (self.unscored.value or 0) > TOLERATED_UNSCORED:
            found.append(f"{_percent(self.unscored)} of the games have no verdict that can be read; they count for nobody. "
                         "Raise judging.max_tokens or tries, or take another judge")
        return found


TOLERATED_LEAN = 0.1       # of the share of games that the first place wins, from one half
TOLERATED_FLIPS = 0.25     # of battles whose two orders name different winners
TOLERATED_UNSCORED = 0.05  # of games


def _percent(share: Share) -> str:
    lower, upper = share.ends
    return f"{share.value or 0:.0%} ({lower:.0%} to {upper:.0%}, n={share.n:,})"


def leanings(rows: Iterable[Row]) -> Leanings:
    """What the judges of these battle rows lean to."""
    orders: Counter[str] = Counter()
    first = decided = longer = uneven = unscored = games = 0
    for row in rows:
        orders.update(flips(row["games"]))
        for game in row["games"]:
            games += 1
            verdict = game["verdict"]
            if verdict is None:
                unscored += 1
                continue
            if (worth := WORTH[verdict]) == 0.5:
                continue
            decided += 1
            first += (worth == 1.0) == (game["order"] == "ab")
            if row["length_a"] != row["length_b"]:
                uneven += 1
                longer += (worth == 1.0) == (row["length_a"] > row["length_b"])
    both = sum(orders[name] for name in ("same", "flipped", "half"))
    return Leanings(Share("first place wins", first, decided), Share("longer answer wins", longer, uneven),
                    Share("winner changes with the order", orders["flipped"], both), dict(orders),
                    Share("games without a verdict", unscored, games))


def self_preference(rows: Sequence[Row], family: Callable[[str], str]) -> list[Share]:
    """For each judge, how often the answer of its own family wins against one of another family, where there is a winner."""
    counts: dict[str, list[int]] = {}
    for row in rows:
        kin = {side: family(row[f"model_{side}"]) for side in "ab"}
        for game in row["games"]:
            own = [side for side in "ab" if kin[side] == family(game["judge"])]
            if len(own) != 1 or game["verdict"] is None or WORTH[game["verdict"]] == 0.5:
                continue
            count = counts.setdefault(game["judge"], [0, 0])
            count[0] += (WORTH[game["verdict"]] == 1.0) == (own[0] == "a")
            count[1] += 1
    return [Share(f"{judge} prefers its own family", won, n) for judge, (won, n) in sorted(counts.items())]
