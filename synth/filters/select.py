"""The choice of rows: the longest, the best, quotas by category, or at random.

    chosen = longest([len(a) for a in answers], 300_000, ids=ids)
    chosen = quotas(merge(difficulty, {"easy": ["very easy", "easy"]}, rest="hard"), {"easy": 0.5, "hard": 0.5},
                    n=200_000, ids=ids, score=rewards)
    rows = [row for row, keep in zip(rows, chosen.keep) if keep]
    print(chosen.explain())

Every choice depends on the ids and values of the rows, never on their order: equals are put in the order of a hash of
their ids. A choice that could not be met in full says so in `shortfalls`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pica.synth.errors import UsageError
from pica.synth.filters.groups import content_keys

Mask = NDArray[np.bool_]

#: What to do when a category has fewer rows than its quota: `report` leaves the gap, `shrink` lowers all quotas in
#: proportion, `fill` takes the missing rows from the other categories named.
Short = Literal["report", "shrink", "fill"]


@dataclass(frozen=True, eq=False)
class Selection:
    """Which rows were chosen, and why.

    `keep`: bool [n]. `rule`: what was asked for, in words. `candidates`: rows there were to choose from. `wanted`: rows
    asked for. `counts`: rows kept by category (one category "all" where there are none). `shortfalls`: rows missing
    from what was asked for, by category; empty when all was met. `settings`: the arguments.
    """

    keep: Mask
    rule: str
    candidates: int
    wanted: int
    counts: Mapping[str, int]
    shortfalls: Mapping[str, int]
    settings: Mapping[str, object]

    @property
    def kept(self) -> int:
        """Rows that were chosen."""
        return int(self.keep.sum())

    def explain(self) -> str:
        """One paragraph: the rule, what there was, what was kept, and what was missing."""
        parts = [f"Kept {self.kept} of {self.candidates} candidates: {self.rule}."]
        if len(self.counts) > 1:
            parts.append("By category: " + ", ".join(f"{name} {count}" for name, count in self.counts.items()) + ".")
        if self.shortfalls:
            lacking = ", ".join(f"{name} {count}" for name, count in self.shortfalls.items())
            parts.append(f"Asked for {self.wanted}; missing: {lacking}.")
        return " ".join(parts)


def longest(lengths: ArrayLike, n: int, *, ids: Sequence[str], among: ArrayLike | None = None) -> Selection:
    """The `n` rows with the greatest length (Magpie's last step). Other arguments as in `best`."""
    return _top(lengths, n, ids=ids, among=among, rule=f"the longest {n}", settings={"rule": "longest", "n": n})


def best(score: ArrayLike, n: int, *, ids: Sequence[str], among: ArrayLike | None = None) -> Selection:
    """The `n` rows with the highest score.

    `score`: [rows], higher is better; a row whose score is NaN has none, is never chosen and is no candidate.
    `ids`: a unique name for each row. `among`: bool [rows], the candidates (default: all).
    """
    return _top(score, n, ids=ids, among=among, rule=f"the {n} with the highest score",
                settings={"rule": "best", "n": n})


def random(ids: Sequence[str], n: int, *, seed: int = 0, among: ArrayLike | None = None) -> Selection:
    """`n` rows at random: those whose ids, hashed with the seed, are smallest. Growing `n` only adds rows."""
    return _top(np.zeros(len(ids)), n, ids=ids, among=among, rule=f"{n} at random (seed {seed})",
                settings={"rule": "random", "n": n, "seed": seed}, seed=seed)


def quotas(
    category: Sequence[str | None],
    wanted: Mapping[str, float],
    *,
    ids: Sequence[str],
    n: int | None = None,
    score: ArrayLike | None = None,
    seed: int = 0,
    short: Short = "report",
    among: ArrayLike | None = None,
) -> Selection:
    """So many rows of each category: `{"Math": 500, "Coding": 250}`, or shares of `n`: `{"Math": 0.5, "Coding": 0.5}`.

    A whole number (`int`) counts rows and a `float` up to 1 is a share, rounded so that shares that sum to 1 give `n`.
    Within a category the highest `score` is chosen (NaN: no candidate), or without one at random by `seed`. Categories
    that are not named, and rows whose category is None, give no rows. `short`: what happens when a category has too
    few. `shortfalls` is what is missing from what was asked for, also after `shrink`, and after `fill` what no other
    category could make up for, named by the category that lacked it.
    """
    values, candidates = _values(np.zeros(len(ids)) if score is None else score, ids, among)
    if len(category) != len(ids):
        raise UsageError(f"{len(category)} categories for {len(ids)} rows; give one for each")
    if short not in {"report", "shrink", "fill"}:
        raise UsageError(f"unknown short {short!r}; allowed: 'report', 'shrink', 'fill'")
    asked = _counts(wanted, n)
    order = _ranked(values, candidates, ids, seed)
    places: dict[str, list[int]] = {name: [] for name in asked}
    for i in order:
        name = category[i]
        if name in places:
            places[name].append(i)
    given = _give(asked, {name: len(rows) for name, rows in places.items()}, short)
    keep = np.zeros(len(ids), dtype=np.bool_)
    for name, rows in places.items():
        keep[rows[:given[name]]] = True
    missing = {name: asked[name] - given[name] for name in asked if given[name] < asked[name]}
    if short == "fill":
        missing = _fill(keep, missing, [i for i in order if category[i] in asked])
    counts = {name: int(keep[rows].sum()) for name, rows in places.items()}
    how = f"at random (seed {seed})" if score is None else "by the highest score"
    rule = ", ".join(f"{count} {name!r}" for name, count in asked.items()) + f", {how}; when short: {short}"
    settings = {"rule": "quotas", "wanted": dict(wanted), "n": n, "seed": seed, "short": short}
    return Selection(keep, rule, int(candidates.sum()), sum(asked.values()), MappingProxyType(counts),
                     MappingProxyType(missing), MappingProxyType(settings))


def merge(category: Sequence[str | None], into: Mapping[str, Sequence[str]], *, rest: str | None = None,
          ) -> list[str | None]:
    """Categories put together under new names: `merge(difficulty, {"easy": ["very easy", "easy"]}, rest="hard")`.

    What `into` does not name becomes `rest` (None: no category). None stays None.
    """
    name_of: dict[str, str] = {}
    for name, members in into.items():
        for member in members:
            if name_of.setdefault(member, name) != name:
                raise UsageError(f"category {member!r} is put into both {name_of[member]!r} and {name!r}; choose one")
    return [None if value is None else name_of.get(value, rest) for value in category]


def _top(score: ArrayLike, n: int, *, ids: Sequence[str], among: ArrayLike | None, rule: str,
         settings: Mapping[str, object], seed: int = 0) -> Selection:
    if n < 0:
        raise UsageError(f"{n} rows cannot be chosen; give 0 or more")
    values, candidates = _values(score, ids, among)
    chosen = _ranked(values, candidates, ids, seed)[:n]
    keep = np.zeros(len(ids), dtype=np.bool_)
    keep[chosen] = True
    missing = {"all": n - len(chosen)} if len(chosen) < n else {}
    return Selection(keep, rule, int(candidates.sum()), n, MappingProxyType({"all": len(chosen)}),
                     MappingProxyType(missing), MappingProxyType(dict(settings)))


def _values(score: ArrayLike, ids: Sequence[str], among: ArrayLike | None) -> tuple[NDArray[np.float64], Mask]:
    values = np.asarray(score, dtype=np.float64)
    if values.shape != (len(ids),):
        raise UsageError(f"values of shape {values.shape} for {len(ids)} ids; give one number for each")
    if len(set(ids)) != len(ids):
        seen: set[str] = set()
        twice = next(name for name in ids if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise UsageError(f"id {twice!r} stands for more than one row; ids must be unique")
    candidates = np.ones(len(ids), dtype=np.bool_) if among is None else np.asarray(among)
    if candidates.dtype != np.bool_ or candidates.shape != (len(ids),):
        raise UsageError(f"among has shape {candidates.shape} of {candidates.dtype}; give a bool for each of the "
                         f"{len(ids)} rows")
    return values, candidates & ~np.isnan(values)


def _ranked(values: NDArray[np.float64], candidates: Mask, ids: Sequence[str], seed: int) -> list[int]:
    """The candidates, best first; equals by the hash of their ids."""
    rows = np.flatnonzero(candidates)
    keys = content_keys((ids[i] for i in rows.tolist()), salt=str(seed).encode())
    ranked: list[int] = rows[np.lexsort((keys, -values[rows]))].tolist()
    return ranked


def _counts(wanted: Mapping[str, float], n: int | None) -> dict[str, int]:
    """Quotas in rows. Shares are rounded down, and the rows left over go to the largest remainders, then by name."""
    if not wanted:
        raise UsageError("quotas name no category; give as {'Math': 500} or {'Math': 0.5}")
    shares = {name: value for name, value in wanted.items() if isinstance(value, float)}
    for name, value in wanted.items():
        if isinstance(value, bool) or value < 0 or (isinstance(value, float) and not value <= 1):
            raise UsageError(f"quota {value!r} of {name!r}; allowed: a whole number of rows, or a share of 0.0 to 1.0")
    if shares and n is None:
        raise UsageError(f"quota {next(iter(shares))!r} is a share; say of how many rows with n")
    total = sum(shares.values())
    if total > 1 + 1e-9:
        raise UsageError(f"shares sum to {total:g}; they may sum to 1 at most")
    exact = {name: share * (n or 0) for name, share in shares.items()}
    counts = {name: int(exact[name] + 1e-9) if name in exact else int(value) for name, value in wanted.items()}
    over = round(sum(exact.values())) - sum(counts[name] for name in exact)
    for name in sorted(exact, key=lambda one: (counts[one] - exact[one], one))[:max(over, 0)]:
        counts[name] += 1
    return counts


def _give(asked: Mapping[str, int], there: Mapping[str, int], short: Short) -> dict[str, int]:
    """How many rows of each category are chosen before any filling."""
    if short != "shrink":
        return {name: min(count, there[name]) for name, count in asked.items()}
    lacking = [Fraction(there[name], count) for name, count in asked.items() if count > there[name]]
    scale = min(lacking, default=Fraction(1))
    return {name: int(count * scale) for name, count in asked.items()}


def _fill(keep: Mask, missing: Mapping[str, int], order: Sequence[int]) -> dict[str, int]:
    """Keeps the next best rows until nothing is missing; returns what still is, largest gaps filled first."""
    spare = [i for i in order if not keep[i]][:sum(missing.values())]
    keep[spare] = True
    left, still = len(spare), {}
    for name in sorted(missing, key=lambda one: (-missing[one], one)):
        taken = min(left, missing[name])
        left -= taken
        if missing[name] > taken:
            still[name] = missing[name] - taken
    return still
