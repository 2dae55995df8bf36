"""Style control: against a dense logistic regression, and whether it takes out what style did."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from games import sigmoid
from hypothesis import given, settings
from hypothesis import strategies as st

from pica.eval.battles import Battles, Floats
from pica.eval.ratings import fit
from pica.eval.style_control import FEATURES, StyleControl, bootstrap_style, differences, fit_style
from pica.synth.errors import UsageError

STRENGTH = np.array([0.0, -0.8, 0.4, 0.9])


@cache
def wordy(seed: int = 0, prompts: int = 200) -> tuple[Battles, Floats, Floats]:
    """A star around m0; the judge likes length. m1 is weak and writes at length, the others write like m0."""
    generator = np.random.default_rng(seed)
    length = generator.lognormal(5.5, 0.5, (4, prompts)).round() * np.array([1, 3, 1, 1])[:, None]
    styles = np.stack([length, *generator.poisson(4, (3, 4, prompts))], axis=2).astype(float)
    rows = []
    for model in range(1, 4):
        for prompt in range(prompts):
            for a, b in ((0, model), (model, 0)):
                longer = (length[a, prompt] - length[b, prompt]) / (length[a, prompt] + length[b, prompt])
                lead = STRENGTH[a] - STRENGTH[b] + 2 * longer
                rows.append((f"m{a}", f"m{b}", float(generator.random() < sigmoid(lead)), int(generator.choice([1, 3])), prompt,
                             styles[a, prompt], styles[b, prompt]))
    a, b, outcome, weight, prompt, style_a, style_b = zip(*rows, strict=True)
    return Battles.of(a, b, outcome, weight=weight, prompt=prompt), np.array(style_a), np.array(style_b)


def regression(design: Floats, outcome: Floats, weight: Floats, penalty: Floats) -> Floats:
    """Logistic regression with a ridge, by dense Newton steps that are halved until the loss falls."""

    def loss(theta: Floats) -> float:
        logits = design @ theta
        return float(weight @ (np.logaddexp(0, logits) - outcome * logits) + penalty @ theta ** 2 / 2)

    theta = np.zeros(design.shape[1])
    for _ in range(100):
        chance = sigmoid(design @ theta)
        gradient = design.T @ (weight * (outcome - chance)) - penalty * theta
        hessian = (design * (weight * chance * (1 - chance))[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.lstsq(hessian, gradient, rcond=None)[0]
        while loss(theta + step) > loss(theta) + 1e-12 and np.abs(step).max() > 1e-12:
            step = step / 2
        theta = theta + step
        if np.abs(step).max() < 1e-11:
            break
    return theta


@pytest.mark.parametrize("convention", ["pica", "v2", "v0.1"])
def test_style_control_is_that_of_a_dense_regression(convention: str) -> None:
    battles, style_a, style_b = wordy()
    made = fit_style(battles, style_a, style_b, anchor="m0", convention=convention)
    flip = np.where(battles.a == 0, -1.0, 1.0)  # candidate first
    features = flip[:, None] * differences(style_a, style_b, convention=convention)
    copies = np.repeat(np.arange(len(battles)), battles.weight.astype(int))
    if convention == "pica":
        features = features / np.sqrt((features[copies] ** 2).mean(axis=0))
    else:
        features = (features - features[copies].mean(axis=0)) / features[copies].std(axis=0, ddof=int(convention == "v2"))
    outcome = np.where(flip > 0, battles.outcome, 1 - battles.outcome)
    candidate = np.where(flip > 0, battles.a, battles.b)
    unit = np.log(10) if convention == "v0.1" else 1.0
    one_hot = unit * (np.eye(4)[candidate] - np.eye(4)[np.zeros_like(candidate)])
    penalty = np.full(8, 0.5 if convention == "v0.1" else 0.0)
    theta = regression(np.hstack([one_hot, features])[copies], outcome[copies], np.ones(len(copies)), penalty)
    np.testing.assert_allclose(made.effects, theta[4:], atol=1e-7)
    np.testing.assert_allclose(made.ratings.strength, unit * (theta[:4] - theta[0]), atol=1e-7)


def test_the_penalty_is_that_of_scikit_learn() -> None:
    """v0.1: rows twice, a tie once won and once lost, L2 with C = 1."""
    linear = pytest.importorskip("sklearn.linear_model")
    battles, style_a, style_b = wordy()
    outcome = np.where(np.arange(len(battles)) % 9 == 0, 0.5, battles.outcome)
    tied = Battles.of(battles.a, battles.b, outcome, weight=battles.weight, prompt=battles.prompt, models=battles.models)
    made = fit_style(tied, style_a, style_b, anchor="m0", convention="v0.1")
    copies = np.repeat(np.arange(len(tied)), tied.weight.astype(int))
    home = tied.a == 0
    flip = np.where(home, 1.0, -1.0)[:, None]  # baseline first, as upstream
    features = (flip * differences(style_a, style_b, convention="v0.1"))[copies]
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    one_hot = np.log(10) * (flip * (np.eye(4)[tied.a] - np.eye(4)[tied.b]))[copies]
    won = np.where(home, tied.outcome, 1 - tied.outcome)[copies]
    twice = np.vstack([np.hstack([one_hot, features])] * 2)
    label = np.concatenate([won >= 0.5, won > 0.5])
    model = linear.LogisticRegression(fit_intercept=False, tol=1e-10, max_iter=5000).fit(twice, label)
    np.testing.assert_allclose(made.ratings.strength, np.log(10) * (model.coef_[0, :4] - model.coef_[0, 0]), atol=1e-4)
    np.testing.assert_allclose(made.effects, model.coef_[0, 4:], atol=1e-4)


def test_unconverged_is_where_the_authors_optimiser_stops() -> None:
    """The same features and settings given to torch's L-BFGS, and not the maximum."""
    torch = pytest.importorskip("torch")
    battles, style_a, style_b = wordy()
    made = fit_style(battles, style_a, style_b, anchor="m0", convention="v2-unconverged")
    cells = made.cells
    design = torch.tensor(np.hstack([np.eye(4)[cells.i] - np.eye(4)[cells.j], cells.features]))
    wins, total = torch.tensor(cells.wins), torch.tensor(cells.total)
    theta = torch.full((8,), 0.5, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([theta], lr=0.1, max_iter=50, tolerance_grad=1e-9, tolerance_change=1e-9)

    def closure() -> object:
        optimiser.zero_grad()
        logits = design @ theta
        loss = (total * torch.nn.functional.softplus(logits) - wins * logits).sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    theirs = theta.detach().numpy()
    np.testing.assert_allclose(made.ratings.strength, theirs[:4] - theirs[0], atol=1e-9)
    np.testing.assert_allclose(made.effects, theirs[4:], atol=1e-9)
    best = fit_style(battles, style_a, style_b, anchor="m0", convention="v2")
    gap = np.abs(made.ratings.against("m0") - best.ratings.against("m0")).max()
    assert 1e-5 < gap < 0.02
    draws = bootstrap_style(made, by="rows", rounds=3, level=0.9).ratings.draws
    assert np.abs(draws - draws[:, :1] - made.ratings.strength).max() < 0.5


def test_it_takes_out_what_length_did() -> None:
    """Raw, the wordy m1 looks as good as m0; at equal style it is found .8 logits weaker. Effects: length, and nothing else."""
    battles, style_a, style_b = wordy(prompts=1500)
    made = fit_style(battles, style_a, style_b, anchor="m0")
    raw = fit(battles, anchor="m0")
    assert raw.strength[1] > -0.2
    np.testing.assert_allclose(made.ratings.strength, STRENGTH, atol=0.25)
    assert made.effects[0] > 0.5
    assert np.abs(made.effects[1:]).max() < 0.1
    assert "ratings are for answers of equal style; effects in logits: length +" in made.explain()
    intervals = bootstrap_style(made, rounds=60)
    assert ((intervals.ratings.relative("m0")[0] <= STRENGTH) & (intervals.ratings.relative("m0")[1] >= STRENGTH)).all()
    assert intervals.lower[0] > 0
    assert (intervals.lower < made.effects).all()
    assert (made.effects < intervals.upper).all()


def refitted(control: StyleControl, rows: Floats, style_a: Floats, style_b: Floats) -> Floats:
    """Effects and ratings of these rows alone, on the scale of the whole."""
    battles = control.battles
    scale = np.sqrt(battles.weight @ differences(style_a, style_b) ** 2 / battles.weight.sum())
    features = differences(style_a, style_b)[rows] / scale
    n = len(battles.models)
    design = np.hstack([np.eye(n)[battles.a[rows]] - np.eye(n)[battles.b[rows]], features])
    theta = regression(design, battles.outcome[rows], battles.weight[rows], np.zeros(n + 4))
    return np.concatenate([theta[:n] - theta[0], theta[n:]])


def test_draws_are_fits_of_the_prompts_drawn() -> None:
    battles, style_a, style_b = wordy(prompts=60)
    made = fit_style(battles, style_a, style_b, anchor="m0")
    intervals = bootstrap_style(made, rounds=2, seed=9)
    generator = np.random.default_rng(9)
    for draw in intervals.ratings.draws:
        count = generator.multinomial(60, np.full(60, 1 / 60))
        rows = np.repeat(np.arange(len(battles)), count[battles.prompt])
        np.testing.assert_allclose(draw - draw[0], refitted(made, rows, style_a, style_b)[:4], atol=1e-5)
    again = bootstrap_style(made, rounds=2, seed=9)
    assert np.array_equal(intervals.ratings.draws, again.ratings.draws)


def test_rows_are_narrower_than_prompts() -> None:
    battles, style_a, style_b = wordy(prompts=60)
    made = fit_style(battles, style_a, style_b, anchor="m0")
    prompts, rows = (bootstrap_style(made, by=by, rounds=200) for by in ("prompts", "rows"))
    assert ((rows.ratings.upper - rows.ratings.lower)[1:] < (prompts.ratings.upper - prompts.ratings.lower)[1:]).all()
    assert rows.ratings.units == battles.weight.sum()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 50), min_size=8, max_size=8), min_size=1, max_size=5),
       st.sampled_from(["pica", "v2", "v0.1"]))
def test_differences_turn_with_the_sides(rows: list[list[int]], convention: str) -> None:
    a, b = np.array(rows, dtype=float)[:, :4], np.array(rows, dtype=float)[:, 4:]
    made = differences(a, b, convention=convention)
    np.testing.assert_allclose(made, -differences(b, a, convention=convention))
    assert np.abs(made).max() <= 1


def test_differences_by_hand() -> None:
    a, b = [[300, 3, 0, 9]], [[99, 1, 0, 0]]
    np.testing.assert_allclose(differences(a, b, convention="v0.1"), [[201 / 400, 2 / 5, 0, 0.9]])
    dense = (3 / 301 - 1 / 100) / (3 / 301 + 1 / 100 + 1)
    np.testing.assert_allclose(differences(a, b), [[201 / 399, dense, 0, (9 / 301) / (9 / 301 + 1)]])
    assert differences([[0, 0, 0, 0]], [[0, 0, 0, 0]]).tolist() == [[0, 0, 0, 0]]
    assert len(FEATURES) == 4


def test_unscored_rows_need_no_care() -> None:
    """Styles are given for every row, and those of rows without a verdict are passed over."""
    battles, style_a, style_b = wordy()
    names = np.array(battles.models)
    holes = np.insert(battles.outcome, 5, np.nan)
    again = Battles.of(np.insert(names[battles.a], 5, "m1"), np.insert(names[battles.b], 5, "m0"), holes,
                       weight=np.insert(battles.weight, 5, 1), prompt=np.insert(battles.prompt, 5, 0))
    odd = fit_style(again, np.insert(style_a, 5, 999, axis=0), np.insert(style_b, 5, 0, axis=0), anchor="m0")
    np.testing.assert_allclose(odd.ratings.strength, fit_style(battles, style_a, style_b, anchor="m0").ratings.strength)


def test_bad_styles_are_refused() -> None:
    battles = Battles.of(["a", "b", "a", "c"], ["b", "a", "c", "b"], [1, 1, 0, 0.5])
    plain = np.ones((4, 4))
    with pytest.raises(UsageError, match=r"styles of shapes \(4, 3\) and \(4, 4\)"):
        fit_style(battles, plain[:, :3], plain)
    with pytest.raises(UsageError, match="a style is negative, NaN or infinite"):
        fit_style(battles, -plain, plain)
    with pytest.raises(UsageError, match="3 rows of style for battles made of 4 rows or more"):
        fit_style(battles, plain[:3], plain[:3])
    with pytest.raises(UsageError, match="v2 compares with one baseline; give it as anchor"):
        fit_style(battles, plain, plain, anchor="a", convention="v2")
    with pytest.raises(UsageError, match=r"unknown convention of style control 'x'; known: pica, v2, v2-unconverged, v0\.1"):
        fit_style(battles, plain, plain, convention="x")  # type: ignore[arg-type]
    longer = np.array([[9, 0, 0, 0], [1, 0, 0, 0]] * 10, dtype=float)
    with pytest.raises(UsageError, match="style alone tells the outcome"):
        fit_style(Battles.of(["a"] * 20, ["b"] * 20, [1, 0] * 10), longer, longer[::-1])


def test_styles_that_never_differ_have_no_effect() -> None:
    battles = Battles.of(["a", "b", "a"], ["b", "a", "b"], [1, 1, 0.5])
    made = fit_style(battles, np.ones((3, 4)), np.ones((3, 4)), anchor="a")
    assert made.effects.tolist() == [0, 0, 0, 0]
    np.testing.assert_allclose(made.ratings.strength, fit(battles, anchor="a").strength)
