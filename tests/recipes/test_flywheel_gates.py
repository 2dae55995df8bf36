"""Gates, each both ways: a worse model, contaminated data, a judge that a null model beats, a spent budget all refuse."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pica.cli import main
from pica.eval.likelihood import likelihood_interval
from pica.recipes.flywheel.gates import MEND, better, budget, categories, clean, decide, find_overlaps, fought, judge
from pica.recipes.flywheel.limits import GatesConfig
from pica.recipes.flywheel.records import Decision, Gate, Spent
from pica.synth.budget import Budget
from pica.synth.embed import open_embedder
from pica.synth.errors import UsageError
from pica.synth.source import open_source

NEW, OLD = "iteration 1", "start"
DEFAULT = GatesConfig()
HELD_OUT = ["Explain how a magpie builds the roof of its nest, and why no other crow does so, in five sentences.",
            "Name three birds."]


def battle(share: float | None, task: int, category: str = "birds", *, swapped: bool = False, rival: str = OLD) -> dict[str, Any]:
    """A battle of the candidate, `share` being what it won."""
    sides = (rival, NEW) if swapped else (NEW, rival)
    seen = share if share is None or not swapped else 1 - share
    return {"task": f"t{task}", "category": category, "model_a": sides[0], "model_b": sides[1], "share_a": seen}


def battles(shares: Sequence[float | None], category: str = "birds", begin: int = 0) -> list[dict[str, Any]]:
    return [battle(share, begin + i, category, swapped=i % 2 == 1) for i, share in enumerate(shares)]


# better -------------------------------------------------------------------------------------------------------------------------


def test_a_better_model_passes() -> None:
    shares = [1.0] * 14 + [0.5] * 4 + [0.0] * 2
    lower, upper = likelihood_interval(shares)
    assert better(battles(shares), NEW, OLD, DEFAULT) == Gate(
        "better", True, f"iteration 1 wins 80.0% (95% interval {lower:.1%} to {upper:.1%}) against start on 20 prompts with a "
        "verdict; the lower end is above 50.0%", lower, 0.5, 0.95)


def test_a_worse_and_an_equal_model_are_refused() -> None:
    worse = better(battles([0.0] * 14 + [1.0] * 6), NEW, OLD, DEFAULT)
    assert not worse.passed
    assert worse.reason.startswith("iteration 1 wins 30.0% (95% interval ")
    assert worse.reason.endswith("against start on 20 prompts with a verdict; the lower end must be above 50.0%")
    assert better(battles([0.5] * 50), NEW, OLD, DEFAULT) == Gate(
        "better", False, "iteration 1 wins 50.0% (95% interval 48.0% to 52.0%) against start on 50 prompts with a verdict; the "
        "lower end must be above 50.0%", likelihood_interval([0.5] * 50)[0], 0.5, 0.95)


def test_the_margin_must_be_cleared() -> None:
    rows = battles([1.0] * 14 + [0.5] * 4 + [0.0] * 2)
    lower = better(rows, NEW, OLD, DEFAULT).value
    assert lower is not None
    for margin, passed in ((lower - 0.5 - 1e-6, True), (lower - 0.5 + 1e-6, False)):
        gate = better(rows, NEW, OLD, GatesConfig(margin=margin))
        assert (gate.passed, gate.value, gate.limit) == (passed, lower, 0.5 + margin)
    assert better(rows, NEW, OLD, GatesConfig(level=0.6)).value > lower


def test_battles_without_a_verdict_are_counted_and_too_many_refuse() -> None:
    gate = better([*battles([1.0] * 16), *battles([None] * 4, begin=16)], NEW, OLD, DEFAULT)
    assert gate.passed
    assert "on 16 prompts with a verdict (4 battles without a verdict are left out); " in gate.reason
    assert better([*battles([1.0] * 16), *battles([None] * 5, begin=16)], NEW, OLD, DEFAULT) == Gate(
        "better", False, "5 of 21 battles of iteration 1 against start have no verdict; at most 20% may have none", None, 0.5)
    assert better(battles([None] * 9), NEW, OLD, DEFAULT) == Gate(
        "better", False, "none of the 9 battles of iteration 1 against start has a verdict", None, 0.5)


def test_too_few_prompts_are_no_proof() -> None:
    rows = battles([1.0] * 5)
    assert better(rows, NEW, OLD, DEFAULT) == Gate(
        "better", False, "only 5 prompts with a verdict of iteration 1 against start; at least 6 are needed", None, 0.5)
    assert better([*rows, *rows], NEW, OLD, DEFAULT).reason.startswith("only 5 prompts ")  # of ten battles
    assert better(battles([1.0] * 6), NEW, OLD, DEFAULT).passed
    assert better([], NEW, OLD, DEFAULT) == Gate("better", False, "there is no battle of iteration 1 against start", None, 0.5)


def test_only_battles_against_the_current_model_count() -> None:
    rows = [*battles([0.25] * 8), *(battle(1.0, i, rival="strong") for i in range(8)),
            {"task": "t0", "category": "", "model_a": OLD, "model_b": "strong", "share_a": 1.0}]
    assert [one.share for one in fought(rows, NEW, OLD)] == [0.25] * 8
    gate = better(rows, NEW, OLD, DEFAULT)
    assert (gate.passed, gate.value) == (False, likelihood_interval([0.25] * 8)[0])
    assert better(rows, NEW, "strong", DEFAULT).passed
    assert better(rows, NEW, "nobody", DEFAULT).reason == "there is no battle of iteration 1 against nobody"


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, None]), max_size=14), st.integers(0, 3))
def test_who_stands_first_and_in_which_order_changes_nothing(shares: list[float | None], turn: int) -> None:
    rows = [battle(share, i) for i, share in enumerate(shares)]
    swapped = [battle(share, i, swapped=True) for i, share in enumerate(shares)]
    gate = better(rows, NEW, OLD, DEFAULT)
    assert better(swapped, NEW, OLD, DEFAULT) == gate
    assert better(rows[turn:] + rows[:turn], NEW, OLD, DEFAULT).passed == gate.passed
    assert categories(swapped, NEW, OLD, DEFAULT) == categories(rows, NEW, OLD, DEFAULT)
    other = better([battle(None if share is None else 1 - share, i) for i, share in enumerate(shares)], NEW, OLD, DEFAULT)
    assert not (gate.passed and other.passed)  # not both are better than the other


# categories ---------------------------------------------------------------------------------------------------------------------


def test_no_category_falls_unseen() -> None:
    rows = [*battles([1.0] * 20), *battles([0.5, 0.5, 0.5, 0.25, 0.0], "trees", 20), *battles([0.0, None], "rivers", 25)]
    assert better(rows, NEW, OLD, DEFAULT).passed
    assert categories(rows, NEW, OLD, DEFAULT) == Gate(
        "categories", False, "below the limit: 'trees' wins 35.0% of 5 prompts (at least 40.0%); not judged, with fewer than 5 "
        "scored prompts: 'rivers' (1)", 0.35, 0.4)
    assert categories(rows, NEW, OLD, GatesConfig(category_drop=0.15)) == Gate(
        "categories", True, "none of 2 categories is below its limit; not judged, with fewer than 5 scored prompts: 'rivers' (1)",
        0.35, 0.35)


def test_limits_by_category() -> None:
    rows = [*battles([0.25] * 6), *battles([0.25] * 6, "trees", 6), *battles([0.25] * 6, "", 12)]
    config = GatesConfig(category_drop={"birds": 0.3, "other": 0.05}, category_least=6)
    assert categories(rows, NEW, OLD, config) == Gate(
        "categories", False, "below the limit: (no category) wins 25.0% of 6 prompts (at least 45.0%), 'trees' wins 25.0% of 6 "
        "prompts (at least 45.0%)", 0.25, 0.45)
    assert GatesConfig(category_drop={"birds": 0.3}).floor("trees") == 0.4  # what is not named has the usual limit
    config.check(["birds", "trees", ""])
    with pytest.raises(UsageError, match="category_drop names 'birds', which no held-out prompt is of; known: trees, and other"):
        config.check(["trees"])
    DEFAULT.check([])


def test_a_limit_is_met_to_the_last_bit() -> None:
    for drop in (0.1, 0.2, 0.3, 0.4):
        rows = battles([0.5 - drop] * 7)
        assert categories(rows, NEW, OLD, GatesConfig(category_drop=drop)).passed
        assert not categories(rows, NEW, OLD, GatesConfig(category_drop=drop - 0.001)).passed


def test_a_category_may_have_to_be_below_its_limit_beyond_luck() -> None:
    rows = [*battles([1.0] * 5 + [0.0] * 15), *battles([0.0], "trees", 20)]
    by_upper = GatesConfig(category_by="upper", category_least=1)
    assert not categories(rows, NEW, OLD, DEFAULT).passed
    upper = likelihood_interval([1.0] * 5 + [0.0] * 15)[1]
    assert categories(rows, NEW, OLD, by_upper) == Gate("categories", True, "none of 2 categories is below its limit", upper, 0.4,
                                                        0.95)
    gate = categories(battles([1.0] * 2 + [0.0] * 18), NEW, OLD, by_upper)
    upper = likelihood_interval([1.0] * 2 + [0.0] * 18)[1]
    assert gate == Gate("categories", False, f"below the limit: 'birds' wins 10.0% of 20 prompts, upper end {upper:.1%} (at "
                        "least 40.0%)", upper, 0.4, 0.95)


def test_categories_of_which_nothing_is_known() -> None:
    assert categories(battles([None] * 6), NEW, OLD, DEFAULT) == Gate(
        "categories", False, "no battle of iteration 1 against start has a verdict")
    assert categories([], NEW, OLD, DEFAULT).passed is False
    assert categories(battles([0.0] * 4), NEW, OLD, DEFAULT) == Gate(
        "categories", True, "none of 0 categories is below its limit; not judged, with fewer than 5 scored prompts: 'birds' (4)")
    rows = battles([0.0] * 4)
    assert categories([*rows, *rows], NEW, OLD, DEFAULT).passed  # eight battles on four prompts


# clean --------------------------------------------------------------------------------------------------------------------------


def test_clean_and_contaminated_data() -> None:
    prompts = {"data-sft": ["How do rooks nest?", f"Please: {HELD_OUT[0].upper()}"],
               "data-dpo": ["name three BIRDS!", "Name five."]}
    assert find_overlaps({"data-sft": prompts["data-sft"][:1]}, {"held out": HELD_OUT}) == []
    overlaps = find_overlaps(prompts, {"held out": HELD_OUT})
    thirteen = "explain how a magpie builds the roof of its nest and why no"
    assert overlaps == [
        f"row 2 of data-sft shares '{thirteen}' with prompt 0 of held out (ngram)",
        "row 1 of data-dpo shares 'name three birds' with prompt 1 of held out (equal)"]
    assert clean([], 4) == Gate("clean", True, "none of 4 rows trained on holds an evaluation prompt", 0, 0)
    assert clean(overlaps, 4) == Gate(
        "clean", False, f"2 of 4 rows trained on hold an evaluation prompt: {overlaps[0]}; {overlaps[1]}. {MEND}", 2, 0)
    assert clean(["a", "b", "c", "d", "e"], 9).reason.endswith(f"prompt: a; b; c; and 2 more. {MEND}")


def test_nothing_trained_on_is_clean() -> None:
    assert find_overlaps({"data-sft": []}, {"held out": HELD_OUT}) == find_overlaps({}, {"held out": HELD_OUT}) == []
    assert clean([], 0) == Gate("clean", True, "nothing was trained on, so nothing can hold an evaluation prompt", 0, 0)


def test_nothing_to_look_for_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="there is no evaluation prompt to look for in the training data"):
        find_overlaps({"data-sft": ["x"]}, {"held out": []})


def test_embeddings_find_what_words_do_not() -> None:
    near = HELD_OUT[0].replace("a magpie", "one magpie").replace("no other", "never another").replace("in five", "within five")
    assert find_overlaps({"data-sft": [near]}, {"held out": HELD_OUT}) == []
    (found,) = find_overlaps({"data-sft": ["Where do rooks nest?", near]}, {"held out": HELD_OUT}, distance=0.5,
                             embedder=open_embedder("hash"))
    assert found.startswith("row 2 of data-sft lies at a squared distance of 0.")
    assert found.endswith("from prompt 0 of held out")


def test_a_long_overlap_is_shown_short() -> None:
    text = " ".join(f"{'w' * 60}{i}" for i in range(13))
    (found,) = find_overlaps({"data-sft": [text]}, {"held out": [text]})
    assert found.startswith("row 1 of data-sft shares 'www")
    assert found.endswith("...")
    assert len(found) < 250


# judge --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("verdict", "passes", "not_fails"), [("passes", True, True), ("undecided", False, True),
                                                             ("fails", False, False), ("not audited", False, False)])
def test_what_an_audit_says(verdict: str, passes: bool, not_fails: bool) -> None:
    audit = {"verdict": verdict, "sentence": "So it is"}
    assert judge(audit, DEFAULT) == Gate("judge", passes, "So it is")
    assert judge(audit, GatesConfig(judge="not-fails")) == Gate("judge", not_fails, "So it is")
    assert judge(audit, GatesConfig(judge="off")) == Gate("judge", True, "not asked for (judge=off). So it is")


def test_without_an_audit() -> None:
    refused = Gate("judge", False, "The judge was not audited")
    assert judge(None, DEFAULT) == judge(None, GatesConfig(judge="not-fails")) == refused
    assert judge(None, GatesConfig(judge="off")).passed


def arena(folder: Path, spec: str, *, worse: bool = False) -> tuple[list[dict[str, Any]], Mapping[str, Any]]:
    """A real evaluation of two models with its audit: (battles, audit). The new model gives longer answers, or shorter ones."""
    tasks, answers = folder / "tasks.jsonl", folder / "answers.jsonl"
    folder.mkdir(exist_ok=True)
    tasks.write_text("".join(json.dumps({"id": f"t{i}", "category": "birds", "prompt": f"What is known of magpie number {i}?"})
                             + "\n" for i in range(8)))
    short = "Magpie number {} lives near woods."
    long = "Magpie number {} lives near open woods, in pairs, and builds a nest with a roof."
    texts = {NEW: short, OLD: long} if worse else {NEW: long, OLD: short}
    answers.write_text("".join(json.dumps({"id": f"t{i}", "model": label, "answer": text.format(i)}) + "\n"
                               for label, text in texts.items() for i in range(8)))
    assert main(["eval", "arena", f"judge={spec}", f"tasks={tasks}", f"answers={answers}", f"target={NEW}", "durability=normal",
                 "rounds=200", "--quiet", "--out", str(folder / "e")]) == 0
    audit: dict[str, Any] = json.loads((folder / "e" / "audit.json").read_text(encoding="utf-8"))
    return list(open_source(str(folder / "e"))), audit


def gates(rows: Sequence[Mapping[str, Any]], audit: Mapping[str, Any] | None, *, overlaps: Sequence[str] = (),
          spent: Spent | None = None, caps: Budget | None = None) -> list[Gate]:
    return [better(rows, NEW, OLD, DEFAULT), categories(rows, NEW, OLD, DEFAULT), clean(overlaps, 10), judge(audit, DEFAULT),
            budget(spent or Spent(), caps or Budget())]


def test_a_judge_that_a_null_model_beats_promotes_nothing(tmp_path: Path) -> None:
    """It prefers what is long, so the model with the longer answers wins every battle; so does an attack on the judge."""
    rows, audit = arena(tmp_path, "fake/judge?prefers=long")
    every = gates(rows, audit)
    assert [gate.passed for gate in every] == [True, True, True, False, True]
    assert every[3].reason == audit["sentence"]
    assert audit["sentence"].startswith("The judge fails its audit: ")
    decision = decide(every, candidate=NEW, current=OLD)
    assert decision == Decision(promoted=False, reason=f"start stays. judge: {audit['sentence']}", best=OLD)


def test_a_worse_model_in_a_real_arena(tmp_path: Path) -> None:
    rows, audit = arena(tmp_path, "fake/judge?prefers=long", worse=True)
    every = gates(rows, audit)
    assert [gate.passed for gate in every] == [False, False, True, False, True]
    assert decide(every, candidate=NEW, current=OLD).reason.startswith(
        "start stays. better: iteration 1 wins 0.0% (95% interval 0.0% to 29.5%) against start on 8 prompts with a verdict; the "
        "lower end must be above 50.0%. categories: below the limit: 'birds' wins 0.0% of 8 prompts (at least 40.0%). judge: The "
        "judge fails")


# budget -------------------------------------------------------------------------------------------------------------------------


def test_a_budget_that_holds_and_one_that_is_spent() -> None:
    caps = Budget(calls=100, cost=2.5, seconds=60)
    assert budget(Spent(calls=100, tokens=10**9, cost=1.0, seconds=30), caps) == Gate(
        "budget", True, "nothing is above its cap: 100 of 100 calls, 1 of 2.5 US dollars, 30 of 60 seconds", 100, 100)
    assert budget(Spent(calls=101, cost=10.0, seconds=30), caps) == Gate(
        "budget", False, "101 calls are spent, and the cap is 100; 10 US dollars are spent, and the cap is 2.5", 10, 2.5)
    assert budget(Spent(tokens=5001), Budget(tokens=5000)).reason == "5,001 tokens are spent, and the cap is 5,000"
    assert budget(Spent(calls=10**6), Budget()) == Gate("budget", True, "no cap is set")


@given(st.builds(Spent, calls=st.integers(0, 20), tokens=st.integers(0, 20), cost=st.floats(0, 2), seconds=st.floats(0, 2)),
       st.builds(Budget, calls=st.none() | st.integers(1, 20), tokens=st.none() | st.integers(1, 20),
                 cost=st.none() | st.floats(0.1, 2), seconds=st.none() | st.floats(0.1, 2)))
def test_a_budget_is_a_comparison_of_each_cap(spent: Spent, caps: Budget) -> None:
    above = [name for name, cap in caps.model_dump().items() if cap is not None and getattr(spent, name) > cap]
    gate = budget(spent, caps)
    assert gate.passed is not bool(above)
    if gate.value is not None and gate.limit is not None:
        assert (gate.value > gate.limit) is bool(above)


# decision -----------------------------------------------------------------------------------------------------------------------


def test_a_promotion_says_how_much_better() -> None:
    every = gates(battles([1.0] * 18 + [0.5] * 2), {"verdict": "passes", "sentence": "The judge passes"})
    assert decide(every, candidate=NEW, current=OLD) == Decision(
        promoted=True, reason=f"iteration 1 replaces start: {every[0].reason}", best=NEW)
    assert every[0].reason.startswith("iteration 1 wins 95.0% (")


@given(st.lists(st.booleans(), min_size=1, max_size=5))
def test_every_gate_that_refuses_is_named(passed: list[bool]) -> None:
    every = [Gate(f"g{i}", one, f"because of {i}") for i, one in enumerate(passed)]
    decision = decide(every, candidate=NEW, current=OLD)
    assert (decision.promoted, decision.best) == (all(passed), NEW if all(passed) else OLD)
    assert [f"g{i}: because of {i}" in decision.reason for i in range(len(passed))] == [not one for one in passed]


def test_each_fault_alone_refuses() -> None:
    rows, audit = battles([1.0] * 18 + [0.5] * 2), {"verdict": "passes", "sentence": "The judge passes"}
    faults: dict[str, dict[str, Any]] = {
        "better": {"rows": battles([0.5] * 20)}, "categories": {"rows": [*rows, *battles([0.0] * 5, "trees", 20)]},
        "clean": {"overlaps": ["row 1"]}, "judge": {"audit": {"verdict": "fails", "sentence": "No"}},
        "budget": {"spent": Spent(calls=2), "caps": Budget(calls=1)}}
    for name, fault in faults.items():
        every = gates(**{"rows": rows, "audit": audit, **fault})
        assert [gate.name for gate in every if not gate.passed] == [name]
        assert decide(every, candidate=NEW, current=OLD).reason.startswith(f"start stays. {name}: ")


# settings -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("values", "said"), [
    ({"category_drop": 0.6}, "0.6 is no share to fall by; allowed: 0 to 0.5"),
    ({"category_drop": {"birds": -1}}, "birds: -1 is no share to fall by"), ({"margin": 0.5}, "less than 0.5"),
    ({"judge": "fails"}, "'passes', 'not-fails' or 'off'"), ({"margni": 0}, "not permitted")])
def test_settings_that_mean_nothing_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        GatesConfig.model_validate(values)


def test_every_setting_is_described() -> None:
    assert [name for name, field in GatesConfig.model_fields.items() if not field.description] == []
