"""The relabelling: counts, swaps, scales, rounding; and that no truncation of TRL's takes the goal from a prompt."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from tiny_chat import CHATML, DEAF, NO_SYSTEM, model, tokenizer

from pica.recipes.reward_augmented.fit import Fitter, load_tokenizer
from pica.recipes.reward_augmented.relabel import OVERALL, Labelled, Rules, ScoredPair, plain, relabel
from pica.synth.errors import Reject, UsageError
from pica.synth.models.base import assistant, system, user
from pica.synth.models.goal import Goal, show

TEN = (1.0, 10.0)
RULES = Rules(scale=TEN, source={OVERALL: TEN})

words = st.text("ab cd\nefé鵲 .", min_size=1, max_size=80).filter(str.strip)
scores = st.one_of(st.integers(1, 10).map(float), st.floats(1, 10))


@st.composite
def pairs(draw: Any) -> ScoredPair:
    """A scored pair on a scale from 1 to 10, of one turn or more, perhaps behind a system message."""
    told = [system(draw(words))] if draw(st.booleans()) else []
    before = [message for _ in range(draw(st.integers(0, 3))) for message in (user(draw(words)), assistant(draw(words)))]
    chosen, rejected = draw(words), draw(words)
    assume(chosen != rejected)
    return ScoredPair([*told, *before, user(draw(words))], [assistant(chosen)], [assistant(rejected)], draw(scores),
                      draw(scores))


def made(pair: ScoredPair, rules: Rules = RULES, **more: Any) -> list[Labelled] | str:
    """The rows of a pair, or why there are none."""
    try:
        return relabel(pair, rules, **more)
    except Reject as reject:
        return reject.reason


class TestRows:
    def test_the_two_rows_of_the_paper(self) -> None:
        prompt, good, bad = [user("Why?")], [assistant("Because.")], [assistant("No.")]
        rows = relabel(ScoredPair(prompt, good, bad, 8, 2.5), RULES)
        text = ("Write the answer that a grader would give the score below, on a scale from 1 to 10. Do not mention the score.\n"
                "Score: {}")
        assert rows == [
            Labelled(ScoredPair([system(text.format("8")), user("Why?")], good, bad, 8, 2.5), "winner",
                     Goal(value=8, style="system", scale=TEN, decimals=1)),
            Labelled(ScoredPair([system(text.format("2.5")), user("Why?")], bad, good, 2.5, 8), "loser",
                     Goal(value=2.5, style="system", scale=TEN, decimals=1))]

    @given(pairs(), st.sampled_from(["system", "prefix"]), st.integers(0, 3))
    def test_swaps_and_goals(self, pair: ScoredPair, style: Any, decimals: int) -> None:
        rules = Rules(scale=TEN, source={OVERALL: TEN}, style=style, decimals=decimals)
        shown = [show(score, decimals) for score in (pair.score_chosen or 0, pair.score_rejected or 0)]
        rows = made(pair, rules)
        if shown[0] == shown[1]:
            assert rows == "scores tie"
            return
        winner, loser = rows
        assert isinstance(winner, Labelled) and isinstance(loser, Labelled)
        assert (winner.side, loser.side) == ("winner", "loser")
        for row, goal, one, other in ((winner, shown[0], pair, pair), (loser, shown[1], pair.swapped(), pair)):
            assert row.goal is not None and row.goal.value == float(goal)
            assert (row.pair.chosen, row.pair.rejected) == (one.chosen, one.rejected)
            assert (row.pair.score_chosen, row.pair.score_rejected) == (one.score_chosen, one.score_rejected)
            assert row.goal.unwrap(row.pair.prompt) == other.prompt
            assert sum(message["content"].count(f"\nScore: {goal}") for message in row.pair.prompt) == 1
        assert winner.pair.chosen == loser.pair.rejected and winner.pair.rejected == loser.pair.chosen

    @given(st.lists(pairs(), max_size=12), st.integers(0, 2**53))
    def test_half_has_as_many_rows_as_plain_pairs(self, several: list[ScoredPair], seed: int) -> None:
        both, half, none = (Counter(type(row).__name__ if isinstance(row, Labelled) else row
                                    for pair in several for row in _listed(made(pair, rules, seed=seed)))
                            for rules in (RULES, _with(half=True), _with(goals=False)))
        assert half == none and both["Labelled"] == 2 * half["Labelled"]

    def test_half_is_either_row_by_the_seed(self) -> None:
        pair = ScoredPair([user("Why?")], [assistant("a")], [assistant("b")], 8, 2)
        rows = relabel(pair, RULES)
        assert [relabel(pair, _with(half=True), seed=seed) for seed in (4, 7)] == [rows[:1], rows[1:]]

    def test_without_goals_the_pair_stays_as_it_is(self) -> None:
        pair = ScoredPair([user("Why?")], [assistant("a")], [assistant("b")], 8, 2)
        assert relabel(pair, _with(goals=False)) == [plain(pair)] == [Labelled(pair, "plain")]

    def test_inverted_pairs_follow_the_scores_either_way(self) -> None:
        pair = ScoredPair([user("Why?")], [assistant("a")], [assistant("b")], 2, 8)
        rows = relabel(pair, RULES)
        assert [(row.goal.value, row.pair.chosen) for row in rows if row.goal] == [(2, pair.chosen), (8, pair.rejected)]
        assert {(row.goal, str(row.pair)) for row in rows} == {(row.goal, str(row.pair))
                                                               for row in relabel(pair.swapped(), RULES)}
        assert made(pair, _with(reject_inverted=True)) == "the rejected answer scores higher"

    @pytest.mark.parametrize(("high", "low", "decimals", "why"), [
        (8.0, 8.0, 1, "scores tie"), (8.04, 8.0, 1, "scores tie"), (8.04, 8.0, 2, ""), (8.4, 7.6, 0, "scores tie")])
    def test_scores_that_read_the_same_are_a_tie(self, high: float, low: float, decimals: int, why: str) -> None:
        pair = ScoredPair([user("Why?")], [assistant("a")], [assistant("b")], high, low)
        assert made(pair, _with(decimals=decimals)) == why or not why
        kept = relabel(pair, _with(decimals=decimals, ties="keep_one"))
        assert [row.side for row in kept] == (["winner"] if why else ["winner", "loser"])
        assert len(relabel(pair, _with(decimals=decimals, ties="keep_one", half=True), seed=1)) == 1

    @pytest.mark.parametrize(("change", "rules", "why"), [
        ({"score_chosen": None}, RULES, "an answer has no score"),
        ({"score_chosen": float("nan")}, RULES, "score outside of its scale"),
        ({"score_chosen": 10.001}, RULES, "score outside of its scale"),
        ({"score_rejected": 0.0}, RULES, "score outside of its scale"),
        ({"chosen": [assistant("b")]}, RULES, "chosen equals rejected"),
        ({"prompt": Goal(value=3, style="prefix").wrap([user("Why?")])}, RULES, "prompt bears a goal already"),
        ({"score_rejected": 7.0}, Rules(scale=TEN, source={OVERALL: TEN}, min_margin=1.5), "margin too small"),
        ({}, Rules(scale=TEN, source={OVERALL: TEN, "wit": TEN}, attributes=("wit",)), "an attribute has no score")])
    def test_what_is_rejected(self, change: dict[str, Any], rules: Rules, why: str) -> None:
        fields: dict[str, Any] = {"prompt": [user("Why?")], "chosen": [assistant("a")], "rejected": [assistant("b")],
                                  "score_chosen": 8.0, "score_rejected": 2.0}
        assert not isinstance(made(ScoredPair(**fields)), str)
        assert made(ScoredPair(**{**fields, **change}), rules) == why


def _with(**changes: Any) -> Rules:
    return Rules(**{"scale": TEN, "source": {OVERALL: TEN}, **changes})


def _listed(rows: list[Labelled] | str) -> Sequence[Labelled | str]:
    return [rows] if isinstance(rows, str) else rows


class TestScales:
    @pytest.mark.parametrize(("score", "source", "scale", "mapped"), [
        (0.0, (0, 1), (1, 10), 1.0), (1.0, (0, 1), (1, 10), 10.0), (0.5, (0, 1), (1, 10), 5.5), (3.0, (1, 5), (0, 100), 50.0),
        (-2.0, (-4, 4), (1, 10), 3.25), (7.3, (1, 10), (1, 10), 7.3)])
    def test_a_straight_line(self, score: float, source: Any, scale: Any, mapped: float) -> None:
        assert Rules(scale=scale, source={OVERALL: source}).mapped(score) == mapped

    @given(st.floats(-1e6, 1e6), st.floats(0.001, 1e6), st.integers(-100, 100), st.integers(1, 1000), st.floats(0, 1))
    def test_mapped_scores_are_exact_ordered_and_inside(self, low: float, width: float, least: int, range_: int,
                                                        share: float) -> None:
        source, scale = (low, low + width), (float(least), float(least + range_))
        assume(source[0] < source[1])
        rules = Rules(scale=scale, source={OVERALL: source})
        score = min(source[0] + share * (source[1] - source[0]), source[1])
        exact = scale[0] + (Fraction(score) - Fraction(source[0])) / (Fraction(source[1]) - Fraction(source[0])) * range_
        assert abs(rules.mapped(score) - exact) <= 1e-9 * max(abs(least), range_, abs(least + range_))
        assert [rules.mapped(end) for end in source] == list(scale)
        assert scale[0] <= float(show(rules.mapped(score), 1)) <= scale[1]

    def test_attributes_each_have_their_own_scale(self) -> None:
        rules = Rules(scale=(0, 4), source={OVERALL: (1, 10), "help": (1, 5), "wit": (0, 1)}, attributes=("wit", "help"))
        pair = ScoredPair([user("Why?")], [assistant("a")], [assistant("b")], 8, 8, {"help": 5, "wit": 0.25, "x": 1},
                          {"help": 2, "wit": 1, "x": 9})
        assert [row.goal and row.goal.value for row in relabel(pair, rules)] == [{"wit": 1, "help": 4}, {"wit": 4, "help": 1}]


class TestFits:
    def fitted(self, pair: ScoredPair, limit: int, **more: Any) -> list[Labelled] | str:
        return made(pair, Rules(scale=TEN, source={OVERALL: TEN}, style=more.pop("style", "system")),
                    fit=Fitter(tokenizer(), limit, **more))

    @given(pairs(), st.sampled_from(["system", "prefix"]), st.integers(40, 400))
    @settings(deadline=None)
    def test_nothing_is_over_the_limit_and_nothing_but_the_prompt_is_cut(self, pair: ScoredPair, style: Any, limit: int) -> None:
        whole = self.fitted(pair, 10**6, style=style)
        rows = self.fitted(pair, limit, style=style, policy="shorten")
        strict = self.fitted(pair, limit, style=style, policy="reject")
        if isinstance(whole, str) or isinstance(rows, str):
            assert rows == (whole if isinstance(whole, str) else "too long") == strict
            return
        tokens = [max(Fitter(tokenizer()).tokens([*row.pair.prompt, *answer]) for answer in (row.pair.chosen, row.pair.rejected))
                  for row in rows]
        fits = max(Fitter(tokenizer()).tokens([*row.pair.prompt, *answer]) for row in whole
                   for answer in (row.pair.chosen, row.pair.rejected)) <= limit
        assert max(tokens) <= limit
        assert strict == (rows if fits else "too long")
        for row, before in zip(rows, whole, strict=True):
            assert (row.pair.chosen, row.pair.rejected, row.goal) == (before.pair.chosen, before.pair.rejected, before.goal)
            assert row.goal is not None
            left, right = row.goal.unwrap(row.pair.prompt), pair.prompt
            told = right[:1] if right[0]["role"] == "system" else []
            assert left[:len(told)] == told
            short, long = left[len(told):], right[len(told):]
            assert short[1:] == long[len(long) - len(short) + 1:]
            assert long[len(long) - len(short)]["content"].endswith(short[0]["content"]) and short[0]["content"].strip()
            assert row.cut == sum(len(m["content"]) for m in right) - sum(len(m["content"]) for m in left)
            assert bool(row.cut) == (not fits)
        assert rows[0].goal and rows[1].goal
        assert rows[0].goal.unwrap(rows[0].pair.prompt) == rows[1].goal.unwrap(rows[1].pair.prompt)

    def test_as_few_words_as_possible_are_left_out(self) -> None:
        pair = ScoredPair([user(" ".join(f"word{k}" for k in range(60)))], [assistant("a")], [assistant("b")], 8, 2)
        for limit in range(80, 200, 17):
            rows = self.fitted(pair, limit, policy="shorten")
            assert not isinstance(rows, str)
            asked = rows[0].pair.prompt[-1]["content"]
            dropped = 60 - len(asked.split())
            assert asked == " ".join(f"word{k}" for k in range(dropped, 60))
            longer = [*rows[0].pair.prompt[:-1], user(f"word{dropped - 1} {asked}"), assistant("a")]
            assert Fitter(tokenizer()).tokens(longer) > limit

    @pytest.mark.parametrize(("template", "style", "why"), [
        (NO_SYSTEM, "system", r"no place for the goal with style=system \(System role not supported\); give style=prefix"),
        (DEAF, "system", r"it shows it 0 times\); give style=prefix"), (None, "system", "has no chat template"),
        (CHATML.replace("m.content", "m.content + m.content"), "prefix", r"it shows it 2 times\); give style=system")])
    def test_a_template_that_cannot_show_the_goal(self, template: str | None, style: Any, why: str) -> None:
        names = tokenizer(CHATML) if template is None else tokenizer(template)
        if template is None:
            names = type(names)(tokenizer_object=names.backend_tokenizer)
        with pytest.raises(UsageError, match=why):
            Fitter(names).check(Goal(value=10, style=style))

    def test_a_template_that_can(self) -> None:
        for template, style in ((CHATML, "system"), (CHATML, "prefix"), (NO_SYSTEM, "prefix"), (DEAF, "prefix")):
            Fitter(tokenizer(template)).check(Goal(value=10, style=style))

    def test_rows_that_the_template_refuses(self) -> None:
        pair = ScoredPair([system("Be brief."), user("Why?")], [assistant("a")], [assistant("b")], 8, 2)
        rules = Rules(scale=TEN, source={OVERALL: TEN}, style="prefix")
        assert made(pair, rules, fit=Fitter(tokenizer(NO_SYSTEM), 500)) == "the chat template refuses it"

    def test_a_tokenizer_by_its_folder(self, tmp_path: Path) -> None:
        tokenizer().save_pretrained(tmp_path / "t")
        said = [user("Why?"), assistant("Because.")]
        for name in (str(tmp_path / "t"), f"hf/{tmp_path / 't'}"):
            assert Fitter(load_tokenizer(name)).tokens(said) == Fitter(tokenizer()).tokens(said)
        with pytest.raises(UsageError, match="tokenizer=nowhere: no folder of that name"):
            load_tokenizer("nowhere")
        (tmp_path / "empty").mkdir()
        with pytest.raises(UsageError, match="no tokenizer there"):
            load_tokenizer(str(tmp_path / "empty"))


LONG = "The magpie walks along the wall and looks at itself in every window. " * 4


@pytest.fixture(scope="module")
def dpo(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """TRL's DPO trainer of a tiny model; only what it makes of data is of interest here."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    args = DPOConfig(output_dir=str(tmp_path_factory.mktemp("dpo")), report_to="none", use_cpu=True, bf16=False,
                     disable_tqdm=True)
    row = {"prompt": [user("Why?")], "chosen": [assistant("a")], "rejected": [assistant("b")]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return DPOTrainer(model(), copy.deepcopy(model()), args=args, train_dataset=Dataset.from_list([row]),
                          processing_class=tokenizer())


def fed(dpo: Any, rows: list[Labelled], limit: int, mode: str) -> list[list[str]]:
    """[chosen sequence, rejected sequence] of each row as TRL feeds them to the model, as text."""
    from datasets import Dataset
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    names = tokenizer()
    columns = [{"prompt": row.pair.prompt, "chosen": row.pair.chosen, "rejected": row.pair.rejected} for row in rows]
    args = dataclasses.replace(dpo.args, max_length=limit, truncation_mode=mode)
    examples = dpo._prepare_dataset(Dataset.from_list(columns), names, args, "train")  # drops what fills the limit
    batch = DataCollatorForPreference(names.pad_token_id, max_length=limit, truncation_mode=mode)(list(examples))
    texts = [names.decode(ids[mask.bool()]) for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)]
    return [[texts[place], texts[len(examples) + place]] for place in range(len(examples))]


@pytest.mark.filterwarnings("ignore")  # TRL's own: keep_end is deprecated there, and the point here
class TestThroughTRL:
    """What TRL's DPO trainer makes of the rows: its tokenisation, its dropping of long prompts, its truncation."""

    def rows(self, several: list[ScoredPair], style: Any, fit: Fitter | None) -> list[Labelled]:
        rules = Rules(scale=TEN, source={OVERALL: TEN}, style=style)
        return [row for pair in several for row in _listed(made(pair, rules, fit=fit)) if isinstance(row, Labelled)]

    @given(several=st.lists(pairs(), min_size=4, max_size=8), style=st.sampled_from(["system", "prefix"]),
           mode=st.sampled_from(["keep_start", "keep_end"]), limit=st.sampled_from([64, 80, 100, 128, 200, 400]))
    @settings(max_examples=16, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate],
              suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
    def test_the_goal_stands_in_every_sequence_once(self, dpo: Any, several: list[ScoredPair], style: Any, mode: str,
                                                    limit: int) -> None:
        rows = self.rows(several, style, Fitter(tokenizer(), limit, "shorten"))
        assume(rows)
        sequences = fed(dpo, rows, limit, mode)
        assert len(sequences) == len(rows)
        for row, both in zip(rows, sequences, strict=True):
            assert row.goal is not None
            for sequence, answer in zip(both, (row.pair.chosen, row.pair.rejected), strict=True):
                assert sequence.count(row.goal.text()) == sequence.count("Score: ") == 1
                assert sequence.endswith(f"<|im_start|>assistant\n{answer[0]['content']}<|im_end|>\n")

    @pytest.mark.parametrize("style", ["system", "prefix"])
    def test_without_a_limit_of_ours_truncation_at_the_left_takes_the_goal(self, dpo: Any, style: Any) -> None:
        rows = self.rows([ScoredPair([user(LONG)], [assistant(LONG + "!")], [assistant(LONG + "?")], 8, 2)], style, None)
        counts = {mode: [sequence.count("on a scale from 1 to 10") for both in fed(dpo, rows, 400, mode) for sequence in both]
                  for mode in ("keep_start", "keep_end")}
        assert counts == {"keep_start": [1] * 4, "keep_end": [0] * 4}
