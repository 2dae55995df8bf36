"""Agreement of leaderboards, correlations and raters: published numbers, second implementations, known examples."""

from __future__ import annotations

import csv
import itertools
import math

import numpy as np
import pytest
from goldens import FOLDER, golden, golden_lines, needs_golden
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pica.eval.agreement import Scores, agreement, brier, log_loss, separability
from pica.eval.correlation import kendall, pearson, ranks, spearman
from pica.eval.reliability import alpha, kappa
from pica.synth.errors import UsageError

#: Published for each benchmark beside Chatbot Arena of 2024-03-29: half, signed, order, Spearman, Brier, separable of 190.
PUBLISHED = {
    "arena_hard": (0.903954802259887, 0.8079, 0.9157894736842105, 0.932330827067669, 0.07047865504650436, 160),
    "mt_bench": (0.6949152542372882, 0.3898, 0.868421052631579, 0.8932330827067668, 0.10082905842501223, 69)}


@needs_golden
@pytest.mark.parametrize(("name", "models", "percent"), [("arena_hard", 28, 79.89), ("mt_bench", 25, 34.33)])
def test_published_separability(name: str, models: int, percent: float) -> None:
    rows = golden_lines(f"arena_hard/bootstrap_stats_{name}.jsonl")
    made = separability(Scores.of(*([row[key] for row in rows] for key in ("score", "lower", "upper"))))
    assert (len(rows), made.pairs, round(100 * made.share, 2)) == (models, models * (models - 1) // 2, percent)


@needs_golden
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_agreement(name: str) -> None:
    half, signed, order, rank, squared, separable = PUBLISHED[name]
    rows = {row["model"].lower(): row for row in golden_lines(f"arena_hard/bootstrap_stats_{name}.jsonl")}
    with (FOLDER / "arena_hard/arena_elo_20240329.csv").open() as file:
        arena = {row[""]: row for row in csv.DictReader(file)}
    names = golden(f"arena_hard/arena_to_{name}.json")
    ours = [rows[other.lower()] for other in names.values()]
    benchmark = Scores.of(*([row[key] for row in ours] for key in ("score", "lower", "upper")))
    reference = Scores.of(*([float(arena[model][key]) for model in names] for key in ("rating", "rating_q025", "rating_q975")))
    made = agreement(benchmark, reference, fixed="separate")
    assert (made.agree + made.disagree + made.unsure, made.pairs) == (177, 190)
    assert made.score("half") == pytest.approx(half, abs=1e-15)
    assert made.score("signed") == pytest.approx(signed, abs=5e-5)
    assert made.score("signed") == pytest.approx(2 * half - 1)
    assert made.score("order") == pytest.approx(order, abs=1e-15)
    assert spearman(benchmark.score, reference.score) == pytest.approx(rank, abs=1e-14)
    assert separability(benchmark).separable == separable
    assert separability(reference).separable == 174
    draws = [row["results"] for row in ours]
    means, variances = [np.mean(draw) for draw in draws], [np.var(draw) for draw in draws]
    assert brier(means, variances, reference.score) == pytest.approx(squared, abs=1e-14)


columns = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3), st.integers(0, 3), st.integers(0, 6), st.integers(0, 3),
                             st.integers(0, 3)), min_size=2, max_size=7)


@settings(max_examples=80, deadline=None)
@given(columns, st.sampled_from(["overlap", "separate"]))
def test_agreement_is_that_of_loops(rows: list[tuple[int, ...]], fixed: str) -> None:
    first = [(row[0], row[0] - row[1], row[0] + row[2]) for row in rows]
    second = [(row[3], row[3] - row[4], row[3] + row[5]) for row in rows]

    def apart(x: tuple[int, ...], y: tuple[int, ...]) -> bool:
        low, high = sorted([x, y])
        together = max(0, min(x[2], y[2]) - max(x[1], y[1])) if fixed == "separate" else low[2] > high[1]
        return low[0] < high[0] and not together

    counts = {"agree": 0, "disagree": 0, "unsure": 0, "same_order": 0}
    every = 0
    for i, j in itertools.combinations(range(len(rows)), 2):
        same = (first[i][0] - first[j][0]) * (second[i][0] - second[j][0]) > 0
        counts["same_order"] += same
        told, known = apart(first[i], first[j]), apart(second[i], second[j])
        every += (1 if same else -1) if told and known else 0
        if known:
            counts["unsure" if not told else "agree" if same else "disagree"] += 1
    made = agreement(Scores.of(*zip(*first, strict=True)), Scores.of(*zip(*second, strict=True)), fixed=fixed)
    assert {key: getattr(made, key) for key in counts} == counts
    assert made.score("all") == every / made.pairs
    assert math.isnan(made.score("half")) == (made.both + made.unsure == 0)


def test_agreement_explains_itself() -> None:
    benchmark, reference = Scores.of([3, 2, 1], [2.5, 1.5, 0], [3.5, 2.5, 1.6]), Scores.of([1, 2, 0], [1, 2, 0], [1, 2, 0])
    made = agreement(benchmark, reference)
    assert made.explain() == ("Of 3 pairs that the reference separates (of 3), the benchmark orders 1 alike and 1 the other "
                              "way; 1 it cannot separate.")
    assert (made.score(), made.score("signed"), made.differentiation) == (0.5, 0, 2 / 3)
    told = separability(Scores.of([0.5, 1.5, 1], [0, 1, 0.5], [1, 2, 1.5]))
    assert told.explain() == "33.33% of pairs of models (1 of 3) have intervals that do not overlap."


def test_brier_is_that_of_pairs() -> None:
    """Two models 1 apart with variances .5 and .5: certain to Phi(1) = .8413."""
    assert brier([0, 1], [0.5, 0.5], [5, 6]) == pytest.approx((1 - 0.8413447460685429) ** 2)
    assert brier([0, 1], [0.5, 0.5], [6, 5]) == pytest.approx(0.8413447460685429 ** 2)
    assert log_loss([0, 1], [0.5, 0.5], [5, 6]) == pytest.approx(-math.log(0.8413447460685429))
    assert brier([0, 1, 1], [0, 0, 0], [1, 2, 3]) == pytest.approx((0 + 0 + 0.25) / 3)


def test_leaderboards_that_do_not_fit_are_refused() -> None:
    three, two = Scores.of([1, 2, 3], [1, 2, 3], [1, 2, 3]), Scores.of([1, 2], [1, 2], [1, 2])
    with pytest.raises(UsageError, match="3 models on one side and 2 on the other"):
        agreement(three, two)
    with pytest.raises(UsageError, match="a score without an interval"):
        Scores.of([1, 2], [0, math.nan], [2, 3])
    with pytest.raises(UsageError, match="2 scores, 1 lower and 2 upper ends"):
        Scores.of([1, 2], [0], [2, 3])
    with pytest.raises(UsageError, match="unknown definition of agreement 'x'; known: half, signed, all, order"):
        agreement(two, two).score("x")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="unknown rule for intervals of no width 'x'"):
        separability(two, fixed="x")  # type: ignore[arg-type]


numbers = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=12)


@settings(max_examples=80, deadline=None)
@given(numbers)
def test_correlations_are_those_of_loops(rows: list[tuple[int, int]]) -> None:
    x, y = ([row[side] for row in rows] for side in (0, 1))
    assume(len(set(x)) > 1 and len(set(y)) > 1)
    places = [[sum(other < value for other in column) + (sum(other == value for other in column) + 1) / 2 for value in column]
              for column in (x, y)]
    assert ranks(x).tolist() == places[0]
    assert spearman(x, y) == pytest.approx(np.corrcoef(places)[0, 1])
    assert pearson(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1])
    pairs = list(itertools.combinations(rows, 2))
    good = sum(np.sign((a[0] - b[0]) * (a[1] - b[1])) for a, b in pairs)
    untied = [sum(a[side] != b[side] for a, b in pairs) for side in (0, 1)]
    assert kendall(x, y) == pytest.approx(good / math.sqrt(untied[0] * untied[1]))


def test_correlation_of_nothing() -> None:
    assert all(math.isnan(of([1, 1], [1, 2])) for of in (pearson, spearman, kendall))
    with pytest.raises(UsageError, match="lists of 1 and 2 scores"):
        kendall([1], [1, 2])
    with pytest.raises(UsageError, match="a score is NaN or infinite"):
        pearson([1, math.inf], [1, 2])


def test_the_example_of_krippendorff() -> None:
    """Three coders of 15 items, with gaps: nominal .691, interval .811."""
    gap = None
    coders = [[gap, gap, gap, gap, gap, 3, 4, 1, 2, 1, 1, 3, 3, gap, 3], [1, gap, 2, 1, 3, 3, 4, 3, *[gap] * 7],
              [gap, gap, 2, 1, 3, 4, 4, gap, 2, 1, 1, 3, 3, gap, 4]]
    assert alpha(coders) == pytest.approx(0.691, abs=5e-4)
    assert alpha(coders, scale="interval") == pytest.approx(0.811, abs=5e-4)
    assert math.isnan(alpha([[1, None], [1, 2]]))
    with pytest.raises(UsageError, match=r"raters with \[1, 2\] items"):
        alpha([[1], [1, 2]])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=20), st.booleans())
def test_kappa_is_that_of_loops(rows: list[tuple[int, int]], ordered: bool) -> None:
    def cost(x: int, y: int) -> float:
        return (x - y) ** 2 if ordered else x != y

    first, second = zip(*rows, strict=True)
    seen = sum(cost(x, y) for x, y in rows) / len(rows)
    chance = sum(cost(x, y) for x in first for y in second) / len(rows) ** 2
    made = kappa(first, second, order=[0, 1, 2, 3] if ordered else None)
    assert math.isnan(made) if not chance else made == pytest.approx(1 - seen / chance)


def test_kappa_of_a_table() -> None:
    """Cohen's classic: 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no give .4."""
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert kappa(first, second) == pytest.approx(0.4)
    with pytest.raises(UsageError, match="label 'no' is not in the order 'yes'"):
        kappa(first, second, order=["yes"])
    with pytest.raises(UsageError, match="0 labels and 0 labels"):
        kappa([], [])
