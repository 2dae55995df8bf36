"""How often gates promote, worked out from all that can happen: `python tests/recipes/lucky.py` prints the figures of the README.

Of n prompts a model wins some, ties on some and loses the others; prompts are independent. The signed root of the empirical
likelihood ratio at one half is then that of the binomial likelihood of wins and losses, so every outcome is one formula.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pica.eval.battles import Bools, Floats, Ints
from pica.eval.distributions import t_quantile
from pica.recipes.flywheel.gates import categories
from pica.recipes.flywheel.limits import GatesConfig

PROMPTS, TIES, ITERATIONS, DECISIONS = (30, 54, 200), (0.0, 0.5), (3, 10, 30), (1, 3, 10)
SETTINGS = PER_DECISION, FAMILYWISE = GatesConfig(), GatesConfig(error_rate="familywise")


def roots(wins: Ints, losses: Ints) -> Floats:
    """The signed root of the likelihood ratio at a share of one half, 0 where there are not more wins."""
    told = np.maximum(wins + losses, 1)
    parts = [count * np.log(np.maximum(2 * count / told, 1)) + count * np.log(np.minimum(np.maximum(2 * count, 1) / told, 1))
             for count in (wins, losses)]
    return np.where(wins > losses, np.sqrt(2 * np.maximum(parts[0] + parts[1], 0)), 0.0)


def passes(wins: Ints, losses: Ints, prompts: int, level: float) -> Bools:
    """Whether each outcome promotes."""
    through: Bools = roots(wins, losses) > -t_quantile((1 - level) / 2, prompts - 1)
    return through


def outcomes(prompts: int, share: float, ties: float) -> tuple[Ints, Ints, Floats]:
    """Wins, losses and the chance of every outcome, for a model whose share of the win this is."""
    chances = (share - ties / 2, 1 - share - ties / 2)
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, prompts + 1)))])
    wins, losses = np.array([(i, j) for i in range(prompts + 1) for j in range(prompts + 1 - i)]).T
    rest = prompts - wins - losses
    log = factorials[prompts] - factorials[wins] - factorials[losses] - factorials[rest]
    for count, chance in ((wins, chances[0]), (losses, chances[1]), (rest, ties)):
        log = log + (count * np.log(chance) if chance else np.where(count > 0, -np.inf, 0.0))
    return wins, losses, np.exp(log)


def promoted(prompts: int, share: float, ties: float, level: float) -> float:
    """The chance that a model of this share is promoted."""
    wins, losses, chance = outcomes(prompts, share, ties)
    return float(chance[passes(wins, losses, prompts, level)].sum())


def any_promoted(prompts: int, ties: float, config: GatesConfig, iterations: int) -> float:
    """The chance that at least one of so many equal models is promoted, each decided by itself."""
    wins, losses, chance = outcomes(prompts, 0.5, ties)
    each = [chance[passes(wins, losses, prompts, config.level_of(number))].sum() for number in range(1, iterations + 1)]
    return float(1 - np.prod(1 - np.array(each)))


def chains(prompts: int, config: GatesConfig, iterations: int, campaigns: int, inherits: float, seed: int) -> Bools:
    """bool [campaigns]: whether a campaign promoted at all, where every model is equally good and all meet on the same prompts.

    A model answers each prompt well or badly once and for all; the better answer wins. A candidate's answers resemble those of
    the model that it started from with correlation `inherits`. So decisions depend on each other, and on whom the gates let pass.
    """
    generator = np.random.default_rng(seed)
    current = generator.normal(size=(campaigns, prompts))
    lucky = np.zeros(campaigns, dtype=bool)
    for number in range(1, iterations + 1):
        own = generator.normal(size=(campaigns, prompts))
        candidate = inherits * current + np.sqrt(1 - inherits**2) * own
        wins = (candidate > current).sum(axis=1)
        through = passes(wins, prompts - wins, prompts, config.level_of(number))
        current = np.where(through[:, None], candidate, current)
        lucky |= through
    return lucky


def table() -> str:
    """In percent: one of equal models promoted in 3, 10 and 30 iterations; a better one in the 1st, 3rd and 10th."""
    heads = [f"{what}, {config.error_rate}" for what in ("none better", "share .6", "share .7") for config in SETTINGS]
    lines = [f"| prompts | ties | {' | '.join(heads)} |", "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for prompts in PROMPTS:
        for ties in TIES:
            cells = [_told(any_promoted(prompts, ties, config, number) for number in ITERATIONS) for config in SETTINGS]
            for share in (0.6, 0.7):
                cells += [_told([promoted(prompts, share, ties, PER_DECISION.level)]),
                          _told(promoted(prompts, share, ties, FAMILYWISE.level_of(number)) for number in DECISIONS)]
            lines.append(f"| {prompts} | {ties:.0%} | {' | '.join(cells)} |")
    return "\n".join(lines)


def fallen(share: float, config: GatesConfig, *, each: int = 20, many: int = 10) -> float:
    """The chance that one of `many` categories of `each` prompts refuses a model of this share in all of them; no ties."""
    wins, losses, chance = outcomes(each, share, 0.0)
    kept = sum(weight for won, lost, weight in zip(wins, losses, chance, strict=True) if won + lost == each and categories(
        [{"task": str(task), "category": "", "model_a": "new", "model_b": "old", "share_a": float(task < won)}
         for task in range(each)], "new", "old", config).passed)
    return float(1 - kept**many)


def category_figures() -> list[str]:
    """Sentences of the README on categories."""
    equal, more, upper = (f"{fallen(share, GatesConfig(category_by=by)):.1%}" for share, by in (
        (0.5, "share"), (0.6, "share"), (0.5, "upper")))
    return [f"refuses a model that is equal in all of them with a chance of {equal}", f"one that wins 60% in each with {more}",
            f"the equal one is refused with {upper}"]


def _told(chances: Iterable[float]) -> str:
    return ", ".join(f"{100 * chance:.{1 if chance < 0.0995 else 0}f}" for chance in chances)


if __name__ == "__main__":
    print(table(), *category_figures(), sep="\n")
