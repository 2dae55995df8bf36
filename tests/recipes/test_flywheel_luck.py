"""How often gates promote by luck, and what it costs to make that rare: from all outcomes, and from campaigns drawn."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as tried
from hypothesis import strategies as st
from lucky import (
    FAMILYWISE,
    PER_DECISION,
    SETTINGS,
    any_promoted,
    category_figures,
    chains,
    outcomes,
    passes,
    promoted,
    table,
)

from pica.recipes.flywheel.gates import better, wins_needed
from pica.recipes.flywheel.limits import GatesConfig, percent

README = Path(__file__).parents[2] / "recipes" / "flywheel" / "README.md"


def rows(wins: int, ties: int, losses: int) -> list[dict[str, object]]:
    """Battles of `new` against `old` that went so."""
    shares = [1.0] * wins + [0.5] * ties + [0.0] * losses
    return [{"task": f"t{task}", "category": "", "model_a": "new", "model_b": "old", "share_a": share}
            for task, share in enumerate(shares)]


@tried(max_examples=100, deadline=None)
@given(st.integers(0, 40), st.integers(0, 20), st.integers(0, 20), st.sampled_from(SETTINGS), st.integers(1, 40))
def test_the_gate_is_that_of_the_binomial_likelihood(wins: int, ties: int, losses: int, config: GatesConfig, number: int) -> None:
    prompts = wins + ties + losses
    gate = better(rows(wins, ties, losses), "new", "old", config, decision=number)
    if prompts < config.least:
        assert gate.reason.startswith(("only ", "there is no"))
    else:
        expected = passes(np.array([wins]), np.array([losses]), prompts, config.level_of(number))[0]
        assert (gate.passed, gate.level) == (bool(expected), config.level_of(number))
        assert f"({percent(config.level_of(number))} interval " in gate.reason


def test_of_two_equal_models_one_is_seldom_promoted() -> None:
    """In 2.5% of decisions, and a little more where almost all prompts are ties."""
    chances = {(prompts, ties): promoted(prompts, 0.5, ties, 0.95) for prompts in (6, 8, 12, 30, 54, 200)
               for ties in (0.0, 0.5, 0.9)}
    assert max(chances.values()) == chances[54, 0.9] < 0.039
    assert max(chance for (_, ties), chance in chances.items() if ties < 0.9) < 0.029


def test_a_campaign_promotes_none_of_equal_models_however_long_it_is() -> None:
    """The whole campaign errs as seldom as one decision may; without that, in half of the campaigns of 30 iterations."""
    for prompts in (12, 54, 200):
        for ties in (0.0, 0.5, 0.9):
            assert any_promoted(prompts, ties, FAMILYWISE, 60) <= (0.035 if ties == 0.9 else 0.025)
        assert any_promoted(prompts, 0.0, PER_DECISION, 30) > 0.4


@pytest.mark.parametrize("inherits", [0.0, 0.9])
def test_who_was_promoted_on_the_same_prompts_does_not_make_luck_likelier(inherits: float) -> None:
    for config in SETTINGS:
        found = chains(54, config, 10, 2000, inherits, seed=0).mean()
        assert found <= any_promoted(54, 0.0, config, 10) + 0.02


def test_the_error_is_spent_but_never_used_up() -> None:
    parts = [Fraction(1, number * (number + 1)) for number in range(1, 1001)]
    assert sum(parts) == Fraction(1000, 1001)
    config = GatesConfig(level=0.9, error_rate="familywise")
    assert [config.level_of(number) for number in (1, 2, 3, 1000)] == pytest.approx(
        [1 - 0.1 * float(parts[number - 1]) for number in (1, 2, 3, 1000)], abs=1e-15)
    assert config.lucky(1000) == pytest.approx(0.05 * 1000 / 1001)
    assert (GatesConfig().level_of(30), GatesConfig().lucky(30), GatesConfig(level=0.6).lucky(9)) == (
        0.95, pytest.approx(0.75), 1)


@pytest.mark.parametrize(("level", "told"), [(0.6, "60%"), (0.95, "95%"), (0.975, "97.5%"), (1 - 0.05 / 6, "99.17%"),
                                             (1 - 0.05 / 930, "99.9946%")])
def test_a_level_is_told_by_what_it_misses(level: float, told: str) -> None:
    assert percent(level) == told


@pytest.mark.parametrize("config", [*SETTINGS, GatesConfig(margin=0.1)])
def test_how_many_wins_are_needed(config: GatesConfig) -> None:
    for prompts, number in ((30, 1), (30, 7), (55, 3)):
        wins = wins_needed(prompts, config, number)
        assert wins is not None
        assert better(rows(wins, 0, prompts - wins), "new", "old", config, decision=number).passed
        assert not better(rows(wins - 1, 0, prompts - wins + 1), "new", "old", config, decision=number).passed
    assert wins_needed(5, config, 1) is None
    assert wins_needed(8, FAMILYWISE, 2) is None
    assert better(rows(8, 0, 0), "new", "old", FAMILYWISE, decision=2).reason.endswith(
        "the lower end must be above 50.0%, and not even wins alone would be: hold out more prompts")


def test_the_chances_of_all_outcomes_are_one() -> None:
    for share, ties in ((0.5, 0.0), (0.6, 0.5), (0.5, 1.0)):
        assert outcomes(30, share, ties)[2].sum() == pytest.approx(1)


def test_the_figures_of_the_readme() -> None:
    said = " ".join(README.read_text(encoding="utf-8").split())
    assert " ".join(table().split()) in said
    assert [figure for figure in category_figures() if figure not in said] == []
