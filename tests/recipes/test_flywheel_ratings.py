"""Ratings of a campaign: one scale for the models of all iterations, whatever the order of rows, sides and names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pica.eval.battle_rows import battles_of
from pica.eval.intervals import bootstrap
from pica.eval.ratings import fit
from pica.recipes.flywheel.ratings import Rated, rate
from pica.recipes.flywheel.records import Rating

Rows = dict[int, list[dict[str, Any]]]
SWAPPED = {"a>b": "b>a", "b>a": "a>b", "a=b": "a=b", None: None}
THREE_TO_ONE = 400 * math.log10(3)


def battle(task: str, one: str, other: str, verdicts: Sequence[str | None], *, said: str = "") -> dict[str, Any]:
    """A battle with a verdict in each order."""
    return {"task": task, "model_a": one, "model_b": other, "answer_a": f"{one} {task}{said}",
            "answer_b": f"{other} {task}{said}", "outcome": "unscored" if set(verdicts) == {None} else "tie",
            "games": [{"judge": "j", "order": order, "verdict": verdict}
                      for order, verdict in zip(("ab", "ba"), verdicts, strict=False)]}


def swapped(row: dict[str, Any]) -> dict[str, Any]:
    """The same battle told from the other side."""
    return {**row, "model_a": row["model_b"], "model_b": row["model_a"], "answer_a": row["answer_b"], "answer_b": row["answer_a"],
            "games": [{**game, "verdict": SWAPPED[game["verdict"]]} for game in row["games"]]}


def meet(one: str, other: str, wins: int, games: int, *, tasks: int = 4) -> list[dict[str, Any]]:
    """`games` battles of one verdict, of which the first model wins so many, over `tasks` tasks."""
    return [battle(f"t{number % tasks} {number // tasks}", one, other, ["a>b" if number < wins else "b>a"])
            for number in range(games)]


def two_iterations() -> Rows:
    """The rival beats the start 3 to 1, iteration 1 beats the start 3 to 1 and equals the rival: odds that agree."""
    return {0: meet("start", "rival", 2, 8), 1: [*meet("iteration 1", "start", 6, 8), *meet("iteration 1", "rival", 4, 8)]}


def quick(rows: Rows, **more: Any) -> Rated:
    return rate(rows, rounds=200, **more)


def test_odds_of_three_to_one_are_191_points_on_one_scale() -> None:
    rated = quick(two_iterations())
    assert [(one.model, one.n) for one in rated.ratings] == [("iteration 1", 16), ("rival", 16), ("start", 16)]
    high = round(1000 + THREE_TO_ONE, 2)
    assert [one.rating for one in rated.ratings] == [high, high, 1000.0]
    for one in rated.ratings[:2]:
        assert one.lower is not None and one.upper is not None and one.lower < high < one.upper
    assert rated.ratings[2] == Rating("start", 1000.0, 1000.0, 1000.0, 16)
    assert rated.warnings == []
    assert "3 models" in rated.method and "'start' is set to 1000" in rated.method
    assert rated.method.endswith("95% intervals by 200 bootstrap draws of 8 prompts (seed 0). An interval is that of the "
                                 "lead over 'start'.")


def test_an_iteration_has_the_ratings_of_those_that_met_in_it() -> None:
    rows = two_iterations()
    rows[2] = [*meet("iteration 2", "iteration 1", 4, 8), *meet("iteration 2", "rival", 4, 8)]
    rated = quick(rows)
    by_label = {one.model: one for one in rated.ratings}
    assert {number: {one.model for one in some} for number, some in rated.by_iteration.items()} == {
        0: {"start", "rival"}, 1: {"start", "rival", "iteration 1"}, 2: {"rival", "iteration 1", "iteration 2"}}
    assert all(by_label[one.model] == one for some in rated.by_iteration.values() for one in some)


def test_anchor_and_its_rating_move_the_scale() -> None:
    rated = quick(two_iterations(), anchor="rival", anchor_rating=1200.0)
    found = {one.model: one.rating for one in rated.ratings}
    assert found == {"iteration 1": 1200.0, "rival": 1200.0, "start": round(1200 - THREE_TO_ONE, 2)}


def test_a_higher_level_is_a_wider_interval() -> None:
    wide, narrow = (quick(two_iterations(), level=level).ratings[1] for level in (0.99, 0.5))
    assert None not in (wide.lower, wide.upper, narrow.lower, narrow.upper)
    assert wide.lower < narrow.lower < narrow.upper < wide.upper  # type: ignore[operator]


# ---- battles that come again ----


@pytest.mark.parametrize("again", [lambda row: row, swapped])
def test_the_same_battle_in_two_iterations_counts_once(again: Any) -> None:
    rows = two_iterations()
    rows[1] += [again(row) for row in rows[0]]
    assert quick(rows) == quick(two_iterations())


def test_of_battles_with_other_answers_the_earlier_counts_and_a_warning_says_so() -> None:
    rows = two_iterations()
    rows[1] += [battle("t0 0", "rival", "start", ["b>a"], said=" anew"), battle("t1 0", "rival", "start", ["b>a"], said=" anew")]
    rated = quick(rows)
    assert rated.ratings == quick(two_iterations()).ratings
    assert rated.warnings == ["2 held-out battles of two models that had met on the same task before bear other answers; only "
                              "the earlier ones count"]


def test_a_battle_without_a_verdict_gives_way_to_a_later_one_with_one() -> None:
    rows = two_iterations()
    lost = rows[0].pop()
    rows[0].append({**lost, "games": [{**lost["games"][0], "verdict": None}], "outcome": "unscored"})
    rows[1].append(lost)
    assert quick(rows) == quick(two_iterations())


# ---- what cannot be rated as it is ----


def swept_by_the_second() -> Rows:
    """Three models whose odds agree, and a second iteration that won all of its games."""
    return {**two_iterations(), 2: [*meet("iteration 2", "iteration 1", 8, 8), *meet("iteration 2", "rival", 8, 8)]}


def test_a_normal_campaign_has_the_figures_of_an_evaluation() -> None:
    rows = two_iterations()
    battles = battles_of([row for some in rows.values() for row in some])
    ratings = fit(battles, anchor="start")
    ends = bootstrap(battles, ratings, rounds=200, level=0.9, seed=5)
    for one in quick(rows, level=0.9, seed=5).ratings:
        code = ratings.code(one.model)
        expected = [round(float(values[code]), 2) for values in (ratings.points, ends.lower, ends.upper)]
        assert [one.rating, one.lower, one.upper] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("won", "why"), [(8, "won every game against the rest"), (0, "lost every game against the rest")])
def test_who_won_or_lost_everything_has_no_rating_and_the_others_are_as_if_it_was_not_there(won: int, why: str) -> None:
    rows = two_iterations()
    rows[2] = [*meet("iteration 2", "iteration 1", won, 8), *meet("iteration 2", "rival", won, 8)]
    rated = quick(rows)
    swept = Rating("iteration 2", None, None, None, 16, why)
    assert rated.ratings[0 if won else -1] == swept == rated.by_iteration[2][0 if won else -1]
    known = {one.model: one for one in rated.ratings if one != swept}
    assert {one.model: one.rating for one in known.values()} == {one.model: one.rating for one in quick(two_iterations()).ratings}
    for one in (known["iteration 1"], known["rival"]):
        assert one.lower is not None and one.upper is not None and one.lower < 1000 < one.upper
    assert f"No finite rating: 'iteration 2' ({why})." in rated.method and "tied games of every model" not in rated.method
    assert rated.warnings == [f"no finite rating of iteration 2: {why}"]


def test_a_prior_that_the_user_sets_gives_every_model_a_rating() -> None:
    rows = swept_by_the_second()
    rated = quick(rows, prior=0.5)
    expected = fit(battles_of([row for some in rows.values() for row in some]), anchor="start", prior=0.5)
    assert {one.model: one.rating for one in rated.ratings} == {
        label: pytest.approx(expected.points[code], abs=0.006) for code, label in enumerate(expected.models)}
    assert all(None not in (one.lower, one.upper) and not one.unbounded for one in rated.ratings) and rated.warnings == []
    assert "with 0.5 tied games of every model against an average opponent" in rated.method


def test_equal_answers_are_equal_ratings_whoever_else_is_swept() -> None:
    """All games of the start and the writer are ties; `no` lost every game, `yes` won every one."""
    rows = {0: [battle(f"t{task}", "start", other, verdicts) for task in range(8) for other, verdicts in (
        ("writer", ["a=b", "a=b"]), ("no", ["a>b", "b>a"][:1]), ("yes", ["b>a", "b>a"]))]}
    assert quick(rows).ratings == [
        Rating("yes", None, None, None, 16, "won every game against the rest"), Rating("start", 1000.0, 1000.0, 1000.0, 40),
        Rating("writer", 1000.0, 1000.0, 1000.0, 16), Rating("no", None, None, None, 8, "lost every game against the rest")]


def test_where_draws_have_no_bound_an_end_is_open_at_that_level_only() -> None:
    """One game of the second iteration is lost: more than one draw in three is without it."""
    rows = swept_by_the_second()
    rows[2][:1] = meet("iteration 2", "iteration 1", 0, 1)
    wide, narrow = (next(one for one in quick(rows, level=level).ratings if one.model == "iteration 2") for level in (0.95, 0.2))
    assert wide.rating == narrow.rating is not None and wide.unbounded == ""
    assert wide.lower is not None and wide.upper is None and wide.lower < (wide.rating or 0)
    assert narrow.upper is not None and narrow.rating is not None and narrow.upper > narrow.rating


def test_where_the_start_lost_everything_the_others_are_rated_among_themselves() -> None:
    rows = {0: meet("rival", "start", 8, 8), 1: [*meet("iteration 1", "start", 8, 8), *meet("iteration 1", "rival", 6, 8)]}
    rated = quick(rows)
    half = THREE_TO_ONE / 2
    assert {one.model: one.rating for one in rated.ratings} == {
        "iteration 1": round(1000 + half, 2), "rival": round(1000 - half, 2), "start": None}
    assert rated.warnings == ["start has no finite rating against most others, so 1000 is the mean of theirs",
                              "no finite rating of start: lost every game against the rest"]
    assert "their mean is 1000" in rated.method and "lead over" not in rated.method
    only = quick({0: meet("rival", "start", 8, 8)}).ratings
    assert only == [Rating("rival", None, None, None, 8, "won every game against the rest"),
                    Rating("start", 1000.0, 1000.0, 1000.0, 8)]


def test_a_verdict_much_better_counts_as_often_as_is_said() -> None:
    rows = {0: [battle("t0", "start", "rival", ["a>>b"]), battle("t1", "start", "rival", ["b>a"])]}
    plain, strong = quick(rows), quick(rows, strong=3)
    assert {one.model: one.rating for one in plain.ratings} == {"start": 1000.0, "rival": 1000.0}
    assert {one.model: one.rating for one in strong.ratings} == {"start": 1000.0, "rival": round(1000 - THREE_TO_ONE, 2)}


def test_one_prompt_has_no_interval() -> None:
    rated = quick({0: [battle("t", "start", "rival", ["a>b", "b>a"])]})
    assert rated.ratings == [Rating("rival", 1000.0, None, None, 2), Rating("start", 1000.0, None, None, 2)]
    assert rated.warnings == ["only one prompt has a verdict, so there are no intervals; hold out more prompts"]
    assert rated.method.endswith("One task has no interval.")


@pytest.mark.parametrize("rows", [[], [battle("t", "start", "rival", [None, None])]])
def test_without_a_verdict_nobody_is_rated(rows: list[dict[str, Any]]) -> None:
    rated = quick({0: rows})
    nobody = [Rating("rival", None, None, None, 0), Rating("start", None, None, None, 0)] if rows else []
    told = "no model has a rating: no held-out game has a verdict that can be read"
    assert rated == Rated(nobody, "No game has a verdict.", [told], {0: nobody})


def test_who_has_no_game_with_a_verdict_has_no_rating_and_the_others_do() -> None:
    rows = two_iterations()
    rows[0].append(battle("t0 0", "start", "silent", [None]))
    rated = quick(rows)
    assert rated.ratings[-1] == Rating("silent", None, None, None, 0)
    assert rated.ratings[:3] == quick(two_iterations()).ratings
    assert rated.warnings == ["no rating of silent: no game with a verdict against the others"]


def test_without_a_game_of_the_start_the_mean_of_all_is_the_anchor() -> None:
    rows = {0: [battle("t0 0", "start", "rival", [None])], 1: meet("iteration 1", "rival", 6, 8)}
    rated = quick(rows)
    half = THREE_TO_ONE / 2
    assert {one.model: one.rating for one in rated.ratings} == {
        "iteration 1": round(1000 + half, 2), "rival": round(1000 - half, 2), "start": None}
    assert rated.warnings == ["start has no game with a verdict, so 1000 is the mean of all ratings",
                              "no rating of start: no game with a verdict against the others"]


# ---- what must not matter ----

LABELS = ("start", "rival", "other", "iteration 1")


@st.composite
def campaigns(draw: st.DrawFn) -> Rows:
    """Rows of two iterations on up to four tasks; any verdicts."""
    verdicts = st.lists(st.sampled_from(["a>b", "b>a", "a=b", None]), min_size=1, max_size=2)
    pairs = {0: [("start", "rival"), ("start", "other")],
             1: [("iteration 1", "start"), ("iteration 1", "rival"), ("iteration 1", "other")]}
    return {number: [battle(f"t{task}", *pair, draw(verdicts)) for task in range(draw(st.integers(1, 4))) for pair in some]
            for number, some in pairs.items()}


@settings(max_examples=40, deadline=None)
@given(campaigns(), st.randoms(use_true_random=False))
def test_the_order_of_rows_and_sides_decides_nothing(rows: Rows, random: Any) -> None:
    mixed = {number: [swapped(row) if random.random() < 0.5 else row for row in random.sample(some, len(some))]
             for number, some in reversed(rows.items())}
    assert rate(mixed, rounds=20) == rate(rows, rounds=20)


@settings(max_examples=40, deadline=None)
@given(campaigns(), st.permutations(LABELS))
def test_names_decide_nothing(rows: Rows, names: list[str]) -> None:
    new = dict(zip(LABELS, [f"model {name}" for name in names], strict=True))
    renamed = {number: [{**row, "model_a": new[row["model_a"]], "model_b": new[row["model_b"]]} for row in some]
               for number, some in rows.items()}
    plain, other = rate(rows, rounds=20), rate(renamed, rounds=20, anchor=new["start"])
    found = {one.model: one for one in other.ratings}
    for one in plain.ratings:
        twin = found[new[one.model]]
        assert (one.n, one.unbounded, one.rating is None) == (twin.n, twin.unbounded, twin.rating is None)
        for mine, yours in zip((one.rating, one.lower, one.upper), (twin.rating, twin.lower, twin.upper), strict=True):
            assert (mine is None) == (yours is None)
            assert mine is None or mine == pytest.approx(yours, abs=0.02)


@settings(max_examples=40, deadline=None)
@given(campaigns())
def test_every_model_that_met_has_a_record_and_every_rating_is_finite(rows: Rows) -> None:
    rated = rate(rows, rounds=20)
    assert sorted(one.model for one in rated.ratings) == sorted(LABELS)
    known = [one.rating for one in rated.ratings if one.rating is not None]
    assert known == sorted(known, reverse=True)
    assert all(math.isfinite(rating) for rating in known)
