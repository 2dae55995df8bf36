"""How small a difference so many prompts can show.

    power = detectable(spread=0.4, prompts=60)
    print(power.difference, power.explain())

`spread` is the standard deviation, over prompts, of what is averaged: of the differences for two runs on the same
prompts (`Paired.spread`), of the scores for one model against a fixed bar. The test is a two-sided t-test; its power
is taken from the t distribution around the difference, which is within a percent of the exact one from 10 prompts on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pica.eval.distributions import normal_quantile, t_cdf, t_quantile
from pica.eval.intervals import check_level
from pica.synth.errors import UsageError


@dataclass(frozen=True)
class Power:
    """What a comparison can show. `difference`: the smallest true difference that is found with probability `power`."""

    difference: float
    spread: float
    prompts: int
    power: float
    level: float

    def chance(self, difference: float) -> float:
        """Probability that a true difference of this size is found."""
        if not self.spread:
            return float(difference != 0)
        freedom = self.prompts - 1
        shift = abs(difference) / self.spread * math.sqrt(self.prompts)
        bar = t_quantile(0.5 + self.level / 2, freedom)
        return t_cdf(shift - bar, freedom) + t_cdf(-shift - bar, freedom)

    def prompts_for(self, difference: float) -> int:
        """The fewest prompts that find a true difference of this size with probability `power`."""
        if not difference > 0:
            raise UsageError(f"difference {difference:g}; allowed: numbers above 0, in the unit of the score")
        wanted = normal_quantile(0.5 + self.level / 2) + normal_quantile(self.power)
        prompts = max(2, math.floor((wanted * self.spread / difference) ** 2))  # never more than t needs
        while detectable(self.spread, prompts, power=self.power, level=self.level).difference > difference:
            prompts += 1
        return prompts

    def explain(self) -> str:
        """In a sentence, what can be seen and what cannot."""
        return (f"{self.prompts:,} prompts show a difference of {self.difference:.3g} or more with a probability of "
                f"{self.power:.0%} (spread {self.spread:.3g} over prompts, two-sided test at {1 - self.level:.2g}); a smaller "
                "one may go unseen.")


def detectable(spread: float, prompts: int, *, power: float = 0.8, level: float = 0.95) -> Power:
    """The smallest difference that `prompts` prompts find with probability `power`. See the module for `spread`."""
    check_level(level)
    if prompts < 2:
        raise UsageError(f"{prompts} prompts; a difference needs at least 2 to be tested")
    if not (math.isfinite(spread) and spread >= 0):
        raise UsageError(f"spread {spread:g}; allowed: a standard deviation over prompts, at least 0")
    if not 0.5 <= power < 1:
        raise UsageError(f"power {power:g}; allowed: .5 to below 1, usually .8")
    needed = t_quantile(0.5 + level / 2, prompts - 1) + t_quantile(power, prompts - 1)
    return Power(needed * spread / math.sqrt(prompts), spread, prompts, power, level)
