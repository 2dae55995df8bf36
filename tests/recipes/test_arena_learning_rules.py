"""Golden rows from battles made by hand, for every rule of selection; and what holds for all battles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from arena_battles import battle, expected, gap, learn, mirror
from hypothesis import given
from hypothesis import strategies as st

from pica.recipes.arena_learning.fought import DISAGREE, UNSCORED, Fought, Turn, fought
from pica.recipes.arena_learning.rules import PAPER_K, Rules, Use
from pica.recipes.arena_learning.select import KeptOut, Pick, Selected, select
from pica.synth.errors import UsageError

LOST_3 = battle("big", (4, 7), (5, 8))      # by 3 in either order
LOST_4 = battle("wide", (3, 7), (4, 8))     # by 4
LOST_1 = battle("small", (8, 9), (8, 9))    # by 1, with the highest score
TIED, WON_2 = battle("same", (5, 5), (6, 6)), battle("weak", (8, 6), (7, 5))
BIG, WIDE = gap("big", 3.0, (4.5, 7.5), [3.0, 3.0]), gap("wide", 4.0, (3.5, 7.5), [4.0, 4.0])
SMALL, SAME = gap("small", 1.0, (8.0, 9.0), [1.0, 1.0]), gap("same", 0.0, (5.5, 5.5), [0.0, 0.0])
WEAK = gap("weak", -2.0, (7.5, 5.5), [-2.0, -2.0])
JURY = "j0, j1, j2"

#: name -> (battles, settings, the rows without their ids)
GOLDEN: dict[str, tuple[list[dict[str, Any]], dict[str, Any], list[dict[str, Any]]]] = {
    "more than k": ([LOST_4], {"k": 3}, [expected("wide", [WIDE])]),
    "just below": ([LOST_3], {"k": 2.9}, [expected("big", [BIG])]),
    "exactly k is taken": ([LOST_3], {"k": 3, "at_k": "take"}, [expected("big", [BIG])]),
    "a tie is taken": ([TIED], {"k": 0, "at_k": "take"}, [expected("same", [SAME])]),
    "the first iteration's k is 3": ([LOST_4], {}, [expected("wide", [WIDE])]),
    "a later one's is 1": ([LOST_3], {"preset": "later"}, [expected("big", [BIG])]),
    "dpo": ([LOST_3], {"use": "dpo"}, [expected("big", [BIG], use="dpo")]),
    "online": ([LOST_1], {"use": "online"}, [expected("small", [SMALL], use="online")]),
    "any of the rivals": ([LOST_3, WON_2], {"k": 2}, [expected("big", [BIG, WEAK])]),
    "all of them": ([LOST_3, LOST_4], {"k": 2, "lost_to": "all"}, [expected("wide", [BIG, WIDE])]),
    "the mean of them": ([LOST_4, TIED], {"k": 1.9, "lost_to": "mean"}, [expected("wide", [SAME, WIDE])]),
    "the highest score wins": ([LOST_1, LOST_4], {"k": 0}, [expected("small", [SMALL, WIDE])]),
    "the largest gap wins": ([LOST_1, LOST_4], {"k": 0, "winner": "gap"}, [expected("wide", [SMALL, WIDE])]),
    "the best rating wins": ([LOST_1, LOST_4], {"k": 0, "winner": "rating", "ratings": {"small": 900, "wide": 950}},
                             [expected("wide", [SMALL, WIDE])]),
    "of equal scores the larger gap wins": ([LOST_3, LOST_4], {"k": 0}, [expected("wide", [BIG, WIDE])]),
    "a rival without a rating comes last": ([LOST_1, LOST_4], {"k": 0, "winner": "rating", "ratings": {"small": -900}},
                                            [expected("small", [SMALL, WIDE])]),
    "where one has no scores the larger gap wins": (
        [LOST_1, battle("told", "b>a", "b>a")], {"k": 0},
        [expected("told", [SMALL, gap("told", 2.0, (None, None), [2.0, 2.0])])]),
    "then a draw": ([battle("zeta", (4, 7), (5, 8)), LOST_3], {"k": 0},
                    [expected("big", [BIG, gap("zeta", 3.0, (4.5, 7.5), [3.0, 3.0])])]),
    "orders in conflict have a mean": ([battle("big", (3, 9), (6, 5))], {"k": 2},
                                       [expected("big", [gap("big", 2.5, (4.5, 7.0), [6.0, -1.0])])]),
    "orders that agree": ([battle("big", (3, 9), (6, 7))], {"k": 3, "swap": "agree"},
                          [expected("big", [gap("big", 3.5, (4.5, 8.0), [6.0, 1.0])])]),
    "the smaller of both": ([battle("big", (3, 9), (4, 8))], {"k": 3, "swap": "both"},
                            [expected("big", [gap("big", 4.0, (3.5, 8.5), [6.0, 4.0])])]),
    "one order that can be read": ([battle("big", (3, 7), None)], {"k": 3},
                                   [expected("big", [gap("big", 4.0, (3.0, 7.0), [4.0, None], unscored=1)])]),
    "one order that was played": ([battle("big", (3, 7))], {"k": 3, "swap": "both"},
                                  [expected("big", [gap("big", 4.0, (3.0, 7.0), [4.0])])]),
    "a jury with one unscored": ([battle("big", [(2, 8), (4, 8), None], [(3, 8), (3, 8), (3, 7)])], {"k": 4},
                                 [expected("big", [gap("big", 4.833333334, (3.0, 7.833333334), [5.0, 4.666666667], unscored=1)],
                                           judge=JURY)]),
    "a jury whose order does not count": ([battle("big", [(1, 9), None, None], [(3, 8), (3, 8), (3, 8)])], {"k": 4},
                                          [expected("big", [gap("big", 5.0, (3.0, 8.0), [None, 5.0], unscored=2)], judge=JURY)]),
    "outcomes count points": ([battle("big", "b>>a", "b>a")], {"k": 2},
                              [expected("big", [gap("big", 3.0, (None, None), [4.0, 2.0])])]),
    "as many as the rules say": ([battle("big", "b>>a", "b>a")], {"k": 4, "better": 3, "much": 6, "use": "dpo"},
                                 [expected("big", [gap("big", 4.5, (None, None), [6.0, 3.0])], use="dpo")]),
    "a jury of outcomes": ([battle("big", ["b>>a", "b>>a", "a=b"], ["b>a", "b>>a", None])], {"k": 2},
                           [expected("big", [gap("big", 3.0, (None, None), [4.0, 2.0], unscored=1)], judge=JURY)]),
    "of outcomes the larger gap wins": ([battle("big", "b>a", "b>a"), battle("wide", "b>>a", "b>a")], {"k": 1},
                                        [expected("wide", [gap("big", 2.0, (None, None), [2.0, 2.0]),
                                                           gap("wide", 3.0, (None, None), [4.0, 2.0])])]),
    "every decided battle makes a pair for a reward model": (
        [LOST_3, LOST_4, TIED, WON_2], {"use": "reward"},
        [expected("wide", [BIG, SAME, WEAK, WIDE], use="reward"), expected("big", [BIG, SAME, WEAK, WIDE], use="reward"),
         expected("weak", [BIG, SAME, WEAK, WIDE], use="reward", won=True)]),
    "nobody learns from an answer of a prompt alone": (
        [battle("big", (4, 7), (5, 8), theirs=" ")], {"use": "online"}, [expected("big", [BIG], use="online", rival_answer=" ")]),
    "not those that were won": ([LOST_3, WON_2], {"use": "reward", "wins": False}, [expected("big", [BIG, WEAK], use="reward")]),
    "a win is no less than k either": ([LOST_3, WON_2], {"use": "reward", "k": 2}, [expected("big", [BIG, WEAK], use="reward")]),
    "wins for dpo too": ([LOST_3, WON_2], {"use": "dpo", "k": 1, "wins": True},
                         [expected("big", [BIG, WEAK], use="dpo"), expected("weak", [BIG, WEAK], use="dpo", won=True)]),
    "an empty winner gives its place to the next": (
        [battle("high", (2, 10), (2, 10), theirs=" \n"), LOST_4], {"k": 3},
        [expected("wide", [gap("high", 8.0, (2.0, 10.0), [8.0, 8.0]), WIDE])]),
    "an empty target still learns": ([battle("wide", (3, 7), (4, 8), mine="")], {"k": 3},
                                     [expected("wide", [WIDE], target_answer="", target_length=0)]),
}

KEPT_OUT: dict[str, tuple[list[dict[str, Any]], dict[str, Any], KeptOut]] = {
    "exactly k": ([LOST_3], {"k": 3}, KeptOut("the target does well", "gaps: big +3; k=3")),
    "a tie": ([TIED], {"k": 0}, KeptOut("the target does well", "gaps: same +0; k=0")),
    "not lost to all": ([LOST_3, WON_2], {"k": 1, "lost_to": "all"},
                        KeptOut("the target does well", "gaps: big +3, weak -2; k=1")),
    "a battle without a gap is not lost": ([LOST_3, battle("none", None, None)], {"k": 1, "lost_to": "all"},
                                           KeptOut("the target does well", "gaps: big +3, none none; k=1")),
    "the mean is not enough": ([LOST_4, TIED], {"k": 2, "lost_to": "mean"},
                               KeptOut("the target does well", "gaps: same +0, wide +4; k=2")),
    "orders that disagree": ([battle("big", (3, 9), (6, 5))], {"k": 0, "swap": "agree"}, KeptOut(DISAGREE, "big")),
    "a tie and a loss disagree": ([battle("big", (3, 9), (6, 6))], {"k": 0, "swap": "agree"}, KeptOut(DISAGREE, "big")),
    "both must pass": ([battle("big", (3, 9), (4, 7))], {"k": 3, "swap": "both"},
                       KeptOut("the target does well", "gaps: big +3; k=3")),
    "an order without a verdict agrees with nothing": ([battle("big", (3, 9), None)], {"k": 0, "swap": "agree"},
                                                       KeptOut(UNSCORED, "big")),
    "nor do both pass": ([battle("big", (3, 9), None)], {"k": 0, "swap": "both"}, KeptOut(UNSCORED, "big")),
    "one that cannot be read counts before one that is disagreed on": (
        [battle("big", (3, 9), (6, 5)), battle("none", None, None)], {"k": 0, "swap": "agree"}, KeptOut(UNSCORED, "big, none")),
    "the better of two that cannot be learnt from": (
        [battle("big", (3, 9), (3, 9), theirs=" "), battle("copy", (3, 8), (3, 8), theirs="my answer")], {"k": 3},
        KeptOut("the winner's answer is empty", "against big")),
    "nothing can be read": ([battle("big", None, None)], {"k": 0}, KeptOut(UNSCORED, "big")),
    "half a jury is not enough": ([battle("big", [(1, 9), None], [None, (1, 9)])], {"k": 0}, KeptOut(UNSCORED, "big")),
    "an empty winner": ([battle("big", (3, 9), (3, 9), theirs=" ")], {"k": 3},
                        KeptOut("the winner's answer is empty", "against big")),
    "equal answers": ([battle("big", (3, 9), (3, 9), theirs="my answer\n")], {"k": 3},
                      KeptOut("the answers are equal", "against big")),
    "an empty loser makes no pair": ([battle("big", (3, 9), (3, 9), mine="")], {"use": "dpo"},
                                     KeptOut("the loser's answer is empty", "against big")),
    "an answer that is not known": ([battle("big", (3, 9), (3, 9), answers_known=False)], {"k": 3},
                                    KeptOut("an answer is not known", "against big")),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_what_is_learnt(name: str, tmp_path: Path) -> None:
    battles, settings, rows = GOLDEN[name]
    for sides, some in (("a", battles), ("b", [mirror(row) for row in battles])):
        made = learn(tmp_path / sides, some, **settings)
        assert [{key: value for key, value in row.items() if key != "id"} for row in made] == rows


@pytest.mark.parametrize("name", KEPT_OUT)
def test_what_is_kept_out(name: str) -> None:
    battles, settings, kept_out = KEPT_OUT[name]
    use: Use = settings.get("use", "sft")
    rules = Rules(**{key: value for key, value in settings.items() if key != "use"})
    for rows in (battles, [mirror(row) for row in battles]):
        assert select(fought(rows, "mine", rules), rules, use, seed=0) == kept_out


def test_a_battle_from_the_targets_side() -> None:
    turns = (Turn(True, 6.0, 3.0, 9.0, 1, 0), Turn(False, -1.0, 6.0, 5.0, 1, 0))
    whole = Fought(rival="big", target_answer="my answer", rival_answer="answer of big", gap=2.5, lead=-2.5, target_score=4.5,
                   rival_score=7.0, turns=turns, judges=("j",), calls=("call-big", "call-mine"))
    row = battle("big", (3, 9), (6, 5))
    assert fought([row], "mine", Rules()) == fought([mirror(row)], "mine", Rules()) == (whole,)
    assert fought([row], "mine", Rules(swap="both")) == (replace(whole, gap=-1.0, lead=-6.0),)
    assert fought([row], "mine", Rules(), ["other"]) == fought([row], "nobody", Rules()) == ()
    assert fought([{**row, "model_b": "mine"}], "mine", Rules()) == ()  # with itself
    theirs = fought([row], "big", Rules())[0]
    assert (theirs.rival, theirs.gap, theirs.lead, theirs.target_score) == ("mine", -2.5, 2.5, 7.0)


def test_both_orders_must_say_that_it_won() -> None:
    rules = Rules(k=2, swap="both")
    close, clear = battle("close", (8, 6), (9, 4)), battle("clear", (9, 6), (9, 4))
    picked = select(fought([close, clear], "mine", rules), rules, "reward", seed=0)
    assert isinstance(picked, Selected)
    assert [(pick.battle.rival, pick.won) for pick in picked.picks] == [("clear", True)]


def test_what_cannot_be_learnt_from_is_said() -> None:
    rules = Rules()
    battles = fought([battle("empty", (2, 9), (2, 9), theirs=""), battle("copy", (2, 9), (2, 9), theirs="my answer"), LOST_3],
                     "mine", rules)
    found = select(battles, rules, "reward", seed=0)
    assert isinstance(found, Selected) and found.picks == (Pick(battles[0]),)
    assert set(found.unfit) == {KeptOut("the answers are equal", "against copy"),
                                KeptOut("the winner's answer is empty", "against empty")}


def test_a_drawn_winner_follows_from_the_seed() -> None:
    rules = Rules(k=0, winner="random")
    battles = fought([LOST_1, LOST_3, LOST_4], "mine", rules)

    def drawn(seed: int) -> str:
        found = select(battles, rules, "sft", seed=seed)
        assert isinstance(found, Selected)
        return found.picks[0].battle.rival

    winners = [drawn(seed) for seed in range(60)]
    assert winners == [drawn(seed) for seed in range(60)]
    assert all(10 < winners.count(rival) < 30 for rival in ("small", "big", "wide"))


def test_equal_winners_are_drawn_so_that_no_name_is_favoured() -> None:
    battles = fought([battle("alpha", (4, 7), (5, 8)), battle("zeta", (4, 7), (5, 8))], "mine", Rules())
    winners = []
    for seed in range(60):
        found = select(battles, Rules(k=0), "sft", seed=seed)
        assert isinstance(found, Selected)
        winners.append(found.picks[0].battle.rival)
    assert 18 < winners.count("alpha") < 42


def test_of_equal_scores_the_larger_gap_wins_whatever_is_drawn() -> None:
    battles = fought([LOST_3, LOST_4], "mine", Rules())
    picked = [select(battles, Rules(k=0), "sft", seed=seed) for seed in range(20)]
    assert picked == [Selected((Pick(battles[1]),))] * 20 and battles[1].rival == "wide"


def test_a_tie_that_is_taken_is_lost_and_not_won_too() -> None:
    rules = Rules(k=0, at_k="take")
    tied, won = fought([TIED, WON_2], "mine", rules)
    assert select([tied, won], rules, "reward", seed=0) == Selected((Pick(tied), Pick(won, won=True)))


def test_the_papers_thresholds() -> None:
    uses: list[Use] = ["sft", "dpo", "reward", "online"]
    assert [Rules().k_for(use) for use in uses] == [3, 2, 0, 0]
    assert [Rules(preset="later").k_for(use) for use in uses] == [1, 2, 0, 0]
    assert Rules(preset="later", k=4).k_for("sft") == 4 and PAPER_K["first"]["sft"] == 3


def test_wins_are_for_pairs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="wins=true makes pairs, and use=sft learns from none"):
        learn(tmp_path, [LOST_3], wins=True)


SCORES = st.integers(1, 10).map(float)
SEEN = st.one_of(st.none(), st.tuples(SCORES, SCORES))
RULES = st.builds(Rules, k=st.integers(0, 8), at_k=st.sampled_from(["skip", "take"]),
                  swap=st.sampled_from(["mean", "agree", "both"]), lost_to=st.sampled_from(["any", "all", "mean"]),
                  winner=st.sampled_from(["score", "gap", "random"]))
USES = st.sampled_from(["sft", "dpo", "reward", "online"])
TEXTS = st.sampled_from(["", "one", "two", "my answer"])


@st.composite
def battles(draw: st.DrawFn) -> list[dict[str, Any]]:
    """The battles of a prompt with up to four rivals, judged by a jury of one to three, by scores or outcomes."""
    members, orders = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    seen = SEEN if draw(st.booleans()) else st.sampled_from([None, "a>>b", "a>b", "a=b", "b>a", "b>>a"])
    return [battle(f"r{number}", *([draw(seen) for _ in range(members)] for _ in range(orders)), theirs=draw(TEXTS))
            for number in range(draw(st.integers(1, 4)))]


@given(battles(), RULES, USES, st.data())
def test_sides_and_the_order_of_battles_change_nothing(rows: list[dict[str, Any]], rules: Rules, use: Use,
                                                       data: st.DataObject) -> None:
    swapped = data.draw(st.permutations([mirror(row) if data.draw(st.booleans()) else row for row in rows]))
    whole, same = fought(rows, "mine", rules), fought(swapped, "mine", rules)
    assert same == whole
    assert select(same, rules, use, seed=1) == select(whole, rules, use, seed=1)


@given(battles(), RULES, SCORES)
def test_a_rival_that_never_wins_changes_nothing(rows: list[dict[str, Any]], rules: Rules, score: float) -> None:
    rules = rules.model_copy(update={"lost_to": "any"})
    loser = battle("aaa", (score, max(1.0, score - 3)), (score, 1.0))
    if rules.at_k == "take" and rules.k == 0 and score == 1.0:
        return  # it ties in both orders, and ties are taken
    before = select(fought(rows, "mine", rules), rules, "sft", seed=1)
    after = select(fought([*rows, loser], "mine", rules), rules, "sft", seed=1)
    assert before == after or (isinstance(before, KeptOut) and isinstance(after, KeptOut))


@given(battles(), RULES, USES, st.integers(0, 8))
def test_a_higher_k_never_adds_a_prompt(rows: list[dict[str, Any]], rules: Rules, use: Use, higher: int) -> None:
    stricter = rules.model_copy(update={"k": max(higher, rules.k or 0)})
    if isinstance(select(fought(rows, "mine", stricter), stricter, use, seed=1), Selected):
        assert isinstance(select(fought(rows, "mine", rules), rules, use, seed=1), Selected)


@given(battles(), RULES, USES)
def test_only_what_passes_is_learnt_from(rows: list[dict[str, Any]], rules: Rules, use: Use) -> None:
    found = select(fought(rows, "mine", rules), rules, use, seed=1)
    if isinstance(found, Selected):
        assert found.picks and (len(found.picks) == 1 or use == "reward")
        for pick in found.picks:
            margin = pick.battle.lead if pick.won else pick.battle.gap
            assert margin is not None and (margin > (rules.k or 0) or (margin == rules.k and rules.at_k == "take"))
            assert use == "online" or (pick.better.strip() and not pick.battle.equal)
