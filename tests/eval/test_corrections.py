"""Corrected estimates: exact small cases, and intervals that hold the truth however wrong the judge is."""

from __future__ import annotations

import numpy as np
import pytest

from pica.eval.corrections import corrected, prevalence
from pica.synth.errors import UsageError


def test_plain_prediction_powered_inference() -> None:
    """mean(judge) + mean(human - judge), with the variances of both added."""
    judge, labelled, human = [0.2, 0.4, 0.6, 0.8], [0.5, 0.7, 0.9], [0.0, 1.0, 1.0]
    made = corrected(judge, labelled, human, tuned=False)
    assert made.value == pytest.approx(0.5 + np.mean(np.subtract(human, labelled)))
    error = np.sqrt(np.var(judge, ddof=1) / 4 + np.var(np.subtract(human, labelled), ddof=1) / 3)
    assert made.upper - made.value == pytest.approx(4.302653 * error, abs=1e-5)
    assert (made.judge_only, made.human_only, made.judge_weight, made.labelled, made.unlabelled) == (0.5, 2 / 3, 1, 3, 4)


def test_a_useless_judge_is_ignored_and_a_perfect_one_trusted() -> None:
    generator = np.random.default_rng(0)
    human = generator.random(400)
    noise = corrected(generator.random(4000), generator.random(400), human)
    assert noise.judge_weight < 0.1
    assert noise.upper - noise.lower == pytest.approx(noise.human_upper - noise.human_lower, rel=0.05)
    perfect = corrected(generator.random(4000), human, human)
    assert perfect.judge_weight == pytest.approx(1 / 1.1, abs=0.05)
    assert perfect.upper - perfect.lower < 0.4 * (perfect.human_upper - perfect.human_lower)
    constant = corrected([1, 1, 1], [1, 1], [0, 1])
    assert (constant.value, constant.judge_weight) == (0.5, 0)
    assert constant.explain().startswith("0.5 [-5.853, 6.853]: the judge's mean over 3 items (1) corrected by 2 human labels")


def test_corrected_intervals_hold_the_truth() -> None:
    """A judge that adds .2 and noise: its own mean is wrong, the corrected one covers 93 to 97 % and is narrower."""
    generator = np.random.default_rng(1)
    covered, narrower, wrong = 0, 0, 0
    for _ in range(1000):
        human = generator.normal(0.5, 0.3, 1060)
        judge = human + 0.2 + generator.normal(0, 0.1, 1060)
        made = corrected(judge[60:], judge[:60], human[:60])
        covered += made.lower <= 0.5 <= made.upper
        narrower += made.upper - made.lower < made.human_upper - made.human_lower
        wrong += abs(made.judge_only - 0.5) > 0.1
    assert 0.93 <= covered / 1000 <= 0.97
    assert narrower == wrong == 1000


def test_rogan_gladen() -> None:
    """Sensitivity .8, specificity .9, .38 observed: (.38 + .9 - 1) / (.8 + .9 - 1) = .4."""
    human = [1] * 10 + [0] * 10
    labelled = [1] * 8 + [0] * 2 + [0] * 9 + [1]
    made = prevalence([1] * 38 + [0] * 62, labelled, human)
    assert (made.observed, made.sensitivity, made.specificity) == (0.38, 0.8, 0.9)
    assert made.value == pytest.approx(0.4)
    assert made.explain().endswith("the judge says yes to 0.38 of 100 items; by 20 human labels it finds 0.8 of the yes and "
                                   "0.9 of the no.")


def test_prevalence_intervals_hold_the_truth() -> None:
    generator = np.random.default_rng(2)
    covered, wrong = 0, 0
    for _ in range(2000):
        human = generator.random(1000) < 0.3
        judge = np.where(human, generator.random(1000) < 0.85, generator.random(1000) < 0.2).astype(int)
        made = prevalence(judge, judge[:100], human[:100].astype(int))
        covered += made.lower <= 0.3 <= made.upper
        wrong += abs(made.observed - 0.3) > 0.05
    assert 0.93 <= covered / 2000 <= 0.98
    assert wrong > 1800


def test_what_cannot_be_corrected_is_refused() -> None:
    with pytest.raises(UsageError, match="no better than chance"):
        prevalence([1, 0], [1, 0], [0, 1])
    with pytest.raises(UsageError, match="2 human labels are yes and 0 are no"):
        prevalence([1, 0], [1, 0], [1, 1])
    with pytest.raises(UsageError, match="label 2; allowed: 1 for yes, 0 for no"):
        prevalence([1, 2], [1, 0], [1, 0])
    with pytest.raises(UsageError, match="1 items, 2 judged and 1 human labels"):
        prevalence([1], [1, 0], [1])
    with pytest.raises(UsageError, match="2 items without labels, 1 judged and 1 human labels"):
        corrected([1, 2], [1], [1])
