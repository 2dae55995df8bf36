"""Did it change? Two runs compared prompt by prompt.

    change = compare({"p1": .5, "p2": 1}, {"p1": 0, "p2": 1})
    print(change.difference, change.p_value, change.explain())

The same prompts are hard for both runs, so their differences vary less than their scores, and a paired test sees more.
The p-value comes from flipping the signs of the differences: were both runs alike, either sign would be as likely.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pica.eval.battles import Floats
from pica.eval.distributions import t_quantile
from pica.eval.intervals import check_level
from pica.synth.errors import UsageError

#: Up to so many differences that are not zero, every pattern of signs is tried.
EXACT = 14
_FLIPS = 20_000


@dataclass(frozen=True)
class Paired:
    """Second run minus first, over the prompts that both scored.

    `difference`: mean. `lower`, `upper`: its interval by Student's t (NaN with one prompt). `p_value`: two-sided, of the
    sign-flip test. `better`, `equal`, `worse`: prompts by the sign. `spread`: standard deviation of the differences, for
    `pica.eval.power`. `prompts`: how many both scored. `only_first`, `only_second`: prompts left out.
    """

    difference: float
    lower: float
    upper: float
    p_value: float
    better: int
    equal: int
    worse: int
    spread: float
    prompts: int
    only_first: int
    only_second: int
    level: float
    seed: int

    def explain(self) -> str:
        """In a sentence or two, what changed."""
        left = self.only_first + self.only_second
        alone = f" {left} prompts that only one run scored are left out." if left else ""
        word = "changed" if self.p_value < 1 - self.level else "shows no change beyond chance"
        return (f"The score {word}: {self.difference:+.4g} [{self.lower:.4g}, {self.upper:.4g}] on {self.prompts} shared prompts "
                f"({self.better} better, {self.equal} equal, {self.worse} worse), p = {self.p_value:.3g} by sign flips.{alone}")


def compare(first: Mapping[str, float | None], second: Mapping[str, float | None], *, level: float = 0.95,
            seed: int = 0) -> Paired:
    """Compares scores by prompt; None is unscored. UsageError where no prompt was scored in both."""
    check_level(level)
    known = [{prompt: value for prompt, value in run.items() if value is not None} for run in (first, second)]
    shared = sorted(known[0].keys() & known[1].keys())
    if not shared:
        raise UsageError(f"no prompt was scored in both runs ({len(known[0])} in the first, {len(known[1])} in the second); "
                         "compare runs on the same prompts")
    change = np.array([known[1][prompt] - known[0][prompt] for prompt in shared])
    n = len(change)
    spread = float(change.std(ddof=1)) if n > 1 else math.nan
    half = t_quantile(0.5 + level / 2, n - 1) * spread / math.sqrt(n) if n > 1 else math.nan
    middle = float(change.mean())
    return Paired(middle, middle - half, middle + half, sign_flips(change, seed=seed), int((change > 0).sum()),
                  int((change == 0).sum()), int((change < 0).sum()), spread, n, len(known[0]) - n, len(known[1]) - n, level, seed)


def sign_flips(change: Floats, *, seed: int = 0) -> float:
    """Two-sided p-value that differences (float64 [n]) are centred on zero.

    Exact for up to 14 that are not zero; beyond, 20,000 random patterns of signs and the observed one.
    """
    change = change[change != 0]
    if not len(change):
        return 1.0
    least = abs(change.sum()) * (1 - 1e-9)
    if len(change) <= EXACT:
        patterns = np.arange(1 << len(change))[:, None] >> np.arange(len(change)) & 1
        return float((np.abs((2 * patterns - 1) @ change) >= least).mean())
    generator = np.random.default_rng(seed)
    batch = max(1, (1 << 22) // len(change))
    extreme = 1
    for begin in range(0, _FLIPS, batch):
        signs = 2.0 * generator.integers(0, 2, (min(batch, _FLIPS - begin), len(change)), dtype=np.int8) - 1
        extreme += int((np.abs(signs @ change) >= least).sum())
    return extreme / (_FLIPS + 1)
