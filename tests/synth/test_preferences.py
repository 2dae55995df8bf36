"""What is found in preference pairs, against pairs made to have it and against a second, naive look at them."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pica.synth.formats import Pair
from pica.synth.models.base import assistant, user
from pica.synth.preferences import MANY, Diagnosis, Finding, diagnose
from pica.synth.report import Intervals, Report, Table, write_report


def make(prompt: str, chosen: str, rejected: str, high: float | None = None, low: float | None = None) -> Pair:
    return Pair([user(prompt)], [assistant(chosen)], [assistant(rejected)], high, low)


def found(diagnosis: Diagnosis) -> dict[str, tuple[int, int, tuple[int, ...]]]:
    """(count, of, first rows) of what was found at all."""
    return {item.name: (item.count, item.of, item.rows) for item in diagnosis.findings if item.count}


SOUND = [make(f"question {number}", f"good {number}", f"poor {number}", number + 1.0, float(number)) for number in range(4)]


class TestFindings:
    def test_sound_pairs_have_none(self) -> None:
        diagnosis = diagnose(SOUND)
        assert found(diagnosis) == {}
        assert diagnosis.warnings() == []
        assert (diagnosis.pairs, diagnosis.splits, diagnosis.scored) == (4, {"train": 4}, 4)
        assert (diagnosis.margins.least, diagnosis.margins.mean, diagnosis.margins.greatest) == (1.0, 1.0, 1.0)

    @pytest.mark.parametrize(("pairs", "expected"), [
        ([make("p", "same", "same")], {"equal_answers": (1, 5, (5,))}),
        ([make("p", " \n", "x")], {"empty_answers": (1, 5, (5,))}),
        ([make("question 0", "good 0", "poor 0", 1.0, 0.0)], {"copies": (1, 5, (5,))}),
        ([make(" Question\n0", "good 0", "poor 0", 1.0, 0.0)], {"copies": (1, 5, (5,))}),
        ([make("question 0", "poor 0", "good 0", 1.0, 0.0)], {"contradictions": (2, 5, (1, 5)),
                                                              "repeated_prompts": (1, 5, (5,))}),
        ([make("question 0", "other", "another", 1.0, 0.0)], {"repeated_prompts": (1, 5, (5,))}),
        ([make(f"p{number}", "I cannot.", f"x{number}", 1.0, 0.0) for number in range(3)], {"common_answers": (3, 7, (5, 6, 7))}),
        ([make(f"p{number}", f"x{number}", "I cannot.", 1.0, 0.0) for number in range(2)], {}),
        ([make("Why?", "Why? So.", " Why? Not.", 1.0, 0.0)], {"echoes": (1, 5, (5,))}),
        ([make("p", "x", "y", 2.0, 2.0)], {"ties": (1, 5, (5,))}),
        ([make("p", "x", "y", 1.0, 2.0)], {"inversions": (1, 5, (5,))}),
        ([make("p", "x", "y", 1.0), make("q", "v", "w", None, 2.0)], {"unscored": (2, 6, (5, 6))}),
        ([make("p", "x", "y", math.nan, 1.0)], {"unscored": (1, 5, (5,))}),
    ])
    def test_each(self, pairs: list[Pair], expected: dict[str, Any]) -> None:
        scored = [pair if pair.score_chosen is not None or pair.score_rejected is not None
                  else Pair(pair.prompt, pair.chosen, pair.rejected, 2.0, 1.0) for pair in pairs]
        assert found(diagnose([*SOUND, *scored])) == expected

    def test_prompts_in_two_splits(self) -> None:
        pairs = [*SOUND, make("Question  3", "new", "newer", 2.0, 1.0)]
        assert found(diagnose(pairs, ["train"] * 4 + ["test"])) == {"leaked_prompts": (2, 5, (4, 5)),
                                                                   "repeated_prompts": (1, 5, (5,))}
        assert found(diagnose(SOUND, ["train", "train", "test", "test"])) == {}
        assert diagnose(SOUND, ["train", "test", "test", "test"]).splits == {"train": 1, "test": 3}
        with pytest.raises(ValueError, match="shorter"):
            diagnose(SOUND, ["train"])

    def test_one_value_for_all(self) -> None:
        diagnosis = diagnose([make("p", "x", "y", 5.0, 5.0), make("q", "v", "w", 5.0, 5.0), make("r", "t", "u")])
        assert found(diagnosis) == {"unscored": (1, 3, (3,)), "one_score": (2, 2, (1, 2)), "ties": (2, 2, (1, 2))}

    def test_without_scores_nothing_is_said_of_them(self) -> None:
        diagnosis = diagnose([make("p", "x", "y"), make("q", "v", "w")])
        assert (found(diagnosis), diagnosis.scored) == ({}, 0)
        assert {"ties", "unscored", "inversions", "one_score"}.isdisjoint(item.name for item in diagnosis.findings)

    def test_scores_that_are_goals_need_not_order_the_answers(self) -> None:
        pairs = [make("p", "x", "y", 1.0, 2.0), make("q", "v", "w", 1.0, 2.0)]
        assert found(diagnose(pairs)) == {"inversions": (2, 2, (1, 2))}
        assert found(diagnose(pairs, ordered=False)) == {}

    def test_several_turns_count_as_one_answer(self) -> None:
        pair = Pair([user("p")], [assistant("x"), user("go on"), assistant("")], [assistant("y")])
        assert found(diagnose([pair])) == {}
        assert [(item.feature, item.more, item.fewer) for item in diagnose([pair]).biases[:2]] == [
            ("characters", 1, 0), ("words", 0, 0)]

    def test_nothing_at_all(self) -> None:
        diagnosis = diagnose([])
        assert (diagnosis.pairs, diagnosis.warnings(), diagnosis.sections()) == (0, [], [])
        assert json.loads(json.dumps(diagnosis.to_json(), allow_nan=False))["margin"]["mean"] is None

    def test_scores_at_the_ends_of_what_a_float_holds(self) -> None:
        diagnosis = diagnose([make("p", "x", "y", 1e308, -1e308), make("q", "v", "w", 1.0, 0.0)])
        assert (diagnosis.scored, diagnosis.margins.n, diagnosis.margins.missing) == (2, 1, 1)

    @given(st.lists(st.tuples(*[st.sampled_from(["a", "A ", "b", "c", ""])] * 3, st.sampled_from([None, 1.0, 2.0]),
                              st.sampled_from([None, 1.0, 2.0]), st.sampled_from(["train", "test"])), max_size=12))
    def test_as_a_naive_look_finds_it(self, cases: list[tuple[str, str, str, float | None, float | None, str]]) -> None:
        diagnosis = diagnose([make(*case[:5]) for case in cases], [case[5] for case in cases])
        keys = [(prompt.strip().lower(), chosen, rejected) for prompt, chosen, rejected, *_ in cases]
        prompts = [key[0] for key in keys]
        under: dict[str, set[str]] = {}
        for prompt, *answers in keys:
            for answer in answers:
                under.setdefault(answer, set()).add(prompt)
        scores = [(high, low) for *_, high, low, _ in cases if high is not None and low is not None]
        expected = {
            "equal_answers": sum(key[1] == key[2] for key in keys),
            "empty_answers": sum(not (key[1].strip() and key[2].strip()) for key in keys),
            "copies": len(keys) - len(set(keys)),
            "contradictions": sum((p, r, c) in keys and c != r for p, c, r in keys),
            "leaked_prompts": sum(len({case[5] for case, key in zip(cases, keys, strict=True) if key[0] == prompt}) > 1
                                  for prompt in prompts),
            "repeated_prompts": sum(prompts[at] in prompts[:at] and keys[at] not in keys[:at] for at in range(len(keys))),
            "common_answers": sum(any(len(under[answer]) >= MANY for answer in key[1:]) for key in keys),
            "unscored": len(cases) - len(scores) if scores else 0,
            "ties": sum(high == low for high, low in scores),
            "inversions": sum(high < low for high, low in scores),
            "one_score": len(scores) if len({score for both in scores for score in both}) == 1 else 0,
        }
        counts = {name: count for name, (count, _, _) in found(diagnosis).items() if name != "echoes"}
        assert counts == {name: count for name, count in expected.items() if count}
        assert diagnosis.splits == Counter(case[5] for case in cases)


class TestWarnings:
    def test_a_line_says_how_many_which_and_what_to_do(self) -> None:
        (line,) = diagnose([*SOUND, make("p", "same", "same", 2.0, 1.0)]).warnings()
        assert line == "1 of 5 pairs (20.0%): chosen equals rejected (row 5); drop them: there is nothing to learn from"
        many = Finding("copies", "the same", 1234, 5000, "keep one", (1, 2, 3, 4, 1005), serious=True)
        assert str(many) == "1,234 of 5,000 pairs (24.7%): the same (rows 1, 2, 3, 4, 1,005, ...); keep one"

    def test_what_is_common_but_rare_is_no_warning(self) -> None:
        many = [make(f"p{number}", f"x{number}", f"y{number}") for number in range(200)]
        few = [make(f"q{number}", "I cannot.", f"z{number}") for number in range(3)]
        assert found(diagnose([*many, *few]))["common_answers"] == (3, 203, (201, 202, 203))
        assert diagnose([*many, *few]).warnings() == []


class TestBias:
    def test_chosen_is_longer(self) -> None:
        pairs = [make(f"p{number}", f"{number:03} long answer", f"{number:03}") for number in range(90)]
        pairs += [make(f"q{number}", f"{number:03}", f"{number:03} long answer") for number in range(10)]
        pairs += [make(f"r{number}", f"a{number:03}", f"b{number:03}") for number in range(20)]
        diagnosis = diagnose(pairs)
        length, words = diagnosis.biases[:2]
        assert (length.feature, length.more, length.fewer, length.same, length.share) == ("characters", 90, 10, 20, 0.9)
        assert (length.low, length.high) == pytest.approx((0.8256, 0.9448), abs=5e-5)
        assert length.mean == pytest.approx((90 - 10) / 120 * math.log(16 / 4))
        assert length.mean_low < length.mean < length.mean_high
        assert words.mean == pytest.approx((90 - 10) / 120 * math.log(4 / 2))
        assert diagnosis.warnings() == [
            f"chosen is longer ({name}) in 90.0% [82.6%, 94.5%] of the 100 pairs that differ: training may learn that instead of "
            "quality; balance it, or use a loss that allows for it" for name in ("characters", "words")]
        flipped = diagnose(Pair(pair.prompt, pair.rejected, pair.chosen) for pair in pairs)
        assert flipped.biases[0].share == 0.1
        assert len(flipped.warnings()) == 2

    def test_a_few_pairs_tell_nothing(self) -> None:
        assert diagnose([make(f"p{number}", f"long {number}", f"{number}") for number in range(5)]).warnings() == []

    def test_style(self) -> None:
        rich = "# Title\n\n- **one**\n- two\n\n```\ncode\n```\n"
        diagnosis = diagnose([make("p", rich, "plain"), make("q", "plain 2", "plain 3")])
        assert {item.feature: (item.more, item.fewer, item.same, item.mean) for item in diagnosis.biases[2:]} == {
            "headers": (1, 0, 1, 0.5), "lists": (1, 0, 1, 1.0), "bold": (1, 0, 1, 0.5), "code_blocks": (1, 0, 1, 0.5)}


class TestReport:
    def test_sections_can_be_drawn(self, tmp_path: Any) -> None:
        pairs = [*SOUND[1:], make("<script>alert(1)</script>", "same", "same", 9.0, 3.0), make("p", "longer", "short", 2.0, 1.0)]
        diagnosis = diagnose(pairs, ["train"] * 4 + ["test"])
        table, margins, shares, means = diagnosis.sections()
        assert isinstance(table, Table) and isinstance(shares, Intervals) and isinstance(means, Table)
        assert table.note == "pairs by split: train 4, test 1"
        assert list(table.rows[0]) == ["chosen equals rejected", 1, 5, "20.0%", "drop them: there is nothing to learn from"]
        assert list(table.rows[1]) == ["chosen or rejected is empty", 0, 5, "0.0%", ""]
        assert margins.title == "Margin of the pairs"
        assert list(means.rows[0]) == ["characters", 1, 0, 4, "+0.0308", "-0.0296 to +0.0913"]
        assert [item[:2] for item in shares.items] == [("characters", 1.0)]
        write_report(Report("x", "y", sections=diagnosis.sections()), tmp_path / "report.html")
        assert "chosen equals rejected" in (tmp_path / "report.html").read_text(encoding="utf-8")

    def test_json(self) -> None:
        read = json.loads(json.dumps(diagnose(SOUND).to_json(), allow_nan=False))
        assert {key: read[key] for key in ("pairs", "splits", "scored", "margin")} == {
            "pairs": 4, "splits": {"train": 4}, "scored": 4,
            "margin": {"mean": 1.0, "median": 1.0, "least": 1.0, "greatest": 1.0}}
        assert read["findings"]["ties"] == {"count": 0, "of": 4, "share": 0.0, "rows": []}
        assert read["style"]["bold"] == {"more": 0, "fewer": 0, "same": 4, "share": None, "low": 0.0, "high": 1.0, "mean": 0.0,
                                         "mean_low": 0.0, "mean_high": 0.0}
