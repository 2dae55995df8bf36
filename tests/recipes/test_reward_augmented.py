"""Reward augmentation end to end: every kind of data and scorer, every policy, and data that is wrong."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from books import rejects, rows
from small import Scripted, data, stored
from tiny_chat import NO_SYSTEM, tokenizer

from pica.recipes.reward_augmented.config import RewardAugmentedConfig
from pica.recipes.reward_augmented.recipe import RewardAugmented
from pica.recipes.reward_augmented.rows import RewardAugmentedRow
from pica.synth.config import load_config
from pica.synth.errors import FolderError, UsageError
from pica.synth.models.base import Answer, Message, Request, TokenLogprob, assistant, system, user
from pica.synth.models.fake import Script
from pica.synth.models.goal import Goal
from pica.synth.recipe import make
from pica.synth.rows import columns


def build(out: Path, *words: str, **more: Any) -> dict[str, Any]:
    """Make a folder; its manifest."""
    return asyncio.run(make(RewardAugmented(load_config(RewardAugmentedConfig, words=[*words, "durability=normal"])), out,
                            **more)).manifest


def write(path: Path, rows_: list[dict[str, Any]]) -> str:
    """JSON lines; the setting that names them."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows_))
    return f"data={path}"


def pair(k: int, **changes: Any) -> dict[str, Any]:
    """A pair of texts with scores from 1 to 10, no two alike."""
    return {"prompt": f"Question {k}?", "chosen": f"Good answer {k}.", "rejected": f"Bad {k}.", "score_chosen": 6 + k % 5,
            "score_rejected": 1 + k % 4, **changes}


def text_of(goal: str) -> str:
    """What a goal of 1 to 10 reads like."""
    return ("Write the answer that a grader would give the score below, on a scale from 1 to 10. Do not mention the score.\n"
            f"Score: {goal}")


@pytest.fixture
def pairs(tmp_path: Path) -> str:
    return write(tmp_path / "pairs.jsonl", [pair(k) for k in range(20)])


class TestGivenScores:
    @pytest.mark.parametrize("style", ["system", "prefix"])
    @pytest.mark.parametrize("messages", [False, True])
    def test_the_two_rows_of_a_pair(self, tmp_path: Path, out: Path, style: str, messages: bool) -> None:
        told = {"prompt": [system("Be brief."), user("Why?")], "chosen": [assistant("Because.")], "rejected": [assistant("No.")],
                "score_chosen": 8, "score_rejected": 2.25, "id": 7}
        texts = {**told, "prompt": "Why?", "chosen": "Because.", "rejected": "No."}
        manifest = build(out, write(tmp_path / "p.jsonl", [told if messages else texts]), f"style={style}")
        winner, loser = rows(out)
        assert list(winner) == [column.name for column in columns(RewardAugmentedRow)]
        good, bad = [assistant("Because.")], [assistant("No.")]
        for row, goal, side, chosen, rejected, scores in ((winner, "8", "winner", good, bad, (8, 2.25)),
                                                          (loser, "2.2", "loser", bad, good, (2.25, 8))):
            assert row["prompt"] == self.wrapped(goal, style, messages)
            assert (row["chosen"], row["rejected"]) == (chosen, rejected)
            assert (row["score_chosen"], row["score_rejected"]) == scores
            assert (row["goal"], row["side"], row["goal_style"]) == (float(goal), side, style)
            assert (row["goal_text"], row["goals"], row["attributes"]) == (text_of(goal), [], [])
            assert (row["scorer"], row["margin"], row["model"]) == ("the data (1 to 10)", 5.75, "unknown")
            assert (row["source_id"], row["source_row"], row["source_split"]) == ("7", 1, "train")
            assert (row["calls"], row["responses"], row["prompt_cut"]) == ([], [], 0)
        assert winner["pair_id"] == loser["pair_id"] and [winner["id"], loser["id"]] == [
            f"{winner['pair_id']}-winner", f"{winner['pair_id']}-loser"]
        assert manifest["notes"]["goal"].pop("prompt_hash")
        assert manifest["notes"]["goal"] == {"style": style, "scale": [1, 10], "decimals": 1, "attributes": []}

    def wrapped(self, goal: str, style: str, messages: bool) -> list[Message]:
        if style == "system":
            return [system(text_of(goal) + ("\n\nBe brief." if messages else "")), user("Why?")]
        return [*([system("Be brief.")] if messages else []), user(f"{text_of(goal)}\n\nWhy?")]

    def test_no_model_is_needed(self, pairs: str, out: Path) -> None:
        manifest = build(out, pairs)
        assert manifest["rows"] == {"in": 40, "out": 40, "rejected": {}, "splits": {"train": 40}}
        assert manifest["calls"] == {"made": 0, "cached": 0, "failed": 0} and manifest["models"] == {} and stored(out) == 0
        assert RewardAugmented(load_config(RewardAugmentedConfig, words=[pairs])).models == []
        assert manifest["notes"]["data"][0]["rows"] == 20

    def test_the_same_config_makes_the_same_bytes(self, pairs: str, tmp_path: Path, out: Path) -> None:
        build(out, pairs, "half=true")
        build(tmp_path / "again", pairs, "half=true", "concurrency=1")
        assert data(out) == data(tmp_path / "again")
        build(tmp_path / "other", pairs, "half=true", "seed=1")
        assert data(out) != data(tmp_path / "other")

    def test_half_and_none_have_as_many_rows_as_pairs(self, pairs: str, tmp_path: Path) -> None:
        for name, words in {"both": [], "half": ["half=true"], "none": ["relabel=none"]}.items():
            build(tmp_path / name, pairs, *words)
        both, half, none = (rows(tmp_path / name) for name in ("both", "half", "none"))
        assert (len(both), len(half), len(none)) == (40, 20, 20)
        assert 3 <= sum(row["side"] == "winner" for row in half) <= 17
        assert all(row in both for row in half)
        for row, plain in zip(both[::2], none, strict=True):
            assert plain == {**row, "id": row["pair_id"], "prompt": row["prompt"][1:], "goal": None, "goal_text": "",
                             "goal_style": None, "side": "plain"}
        assert "goal" not in json.loads((tmp_path / "none" / "manifest.json").read_text())["notes"]

    def test_n_is_rows_and_by_default_all(self, pairs: str, tmp_path: Path) -> None:
        assert build(tmp_path / "a", pairs, "n=6")["rows"]["out"] == 6
        assert build(tmp_path / "b", pairs, "n=1000")["rows"]["out"] == 40
        assert rows(tmp_path / "a") == rows(tmp_path / "b")[:6]
        assert "Only 40 of the 1,000 rows" in (tmp_path / "b" / "report.html").read_text()

    def test_scales(self, tmp_path: Path, out: Path) -> None:
        write(tmp_path / "p.jsonl", [pair(1, score_chosen=0.9, score_rejected=-1.0), pair(2, score_chosen=0.5, score_rejected=0)])
        words = [f"data={tmp_path / 'p.jsonl'}", "scale=[0, 5]", "decimals=2"]
        manifest = build(out, *words, "source_scale=[-1, 1]")
        assert [row["goal"] for row in rows(out)] == [4.75, 0, 3.75, 2.5]
        assert [row["score_chosen"] for row in rows(out)] == [0.9, -1, 0.5, 0]
        assert manifest["notes"]["scores"] == {"scorer": "the data (-1 to 1)", "scales": {"score": [-1, 1]}}
        build(out, *words, "source_scale=data", update=True)
        assert [row["goal"] for row in rows(out)] == [5, 0, 3.95, 2.63]
        assert {row["scorer"] for row in rows(out)} == {"the data (its range, -1 to 0.9)"}

    def test_ties_margins_and_inversions(self, tmp_path: Path, out: Path) -> None:
        words = write(tmp_path / "p.jsonl", [pair(1), pair(2, score_chosen=8.04, score_rejected=8), pair(3, score_rejected=9.5),
                                             pair(4, rejected="Good answer 4.")])
        build(out, words, "min_margin=1")
        assert [(row["reject_reason"], row["reject_detail"], row["index"]) for row in rejects(out)] == [
            ("scores tie", "both show 8", 1), ("margin too small", "0.5", 2), ("chosen equals rejected", "", 3)]
        build(out, words, "ties=keep_one", "inverted=reject", update=True)
        assert [(row["source_row"], row["side"]) for row in rows(out)] == [(1, "winner"), (1, "loser"), (2, "winner")]
        assert [row["reject_reason"] for row in rejects(out)] == ["the rejected answer scores higher", "chosen equals rejected"]
        build(out, words, update=True)
        assert [(row["goal"], row["side"], row["margin"]) for row in rows(out)[2:]] == [(9, "winner", -0.5), (9.5, "loser", -0.5)]

    def test_test_rows_have_no_goals_and_share_no_prompt_with_train(self, tmp_path: Path, out: Path) -> None:
        words = write(tmp_path / "p.jsonl", [pair(k, prompt=f"Question {k // 2}?") for k in range(20)])
        build(out, words, "test_rows=5")
        train, test = rows(out, "data/train*"), rows(out, "data/test*")
        assert (len(train), len(test)) == (32, 4)  # whole prompts of two pairs
        assert {(row["side"], row["goal_text"], row["goal"]) for row in test} == {("plain", "", None)}
        asked = [{row["prompt"][-1]["content"] for row in split} for split in (train, test)]
        assert not asked[0] & asked[1]
        build(out, words, "test_rows=5", "augment_test=true", update=True)
        assert [row["side"] for row in rows(out, "data/test*")] == ["winner", "loser"] * 4

    def test_the_data_s_own_test_split_is_carried_over(self, tmp_path: Path, out: Path) -> None:
        (tmp_path / "d").mkdir()
        for split, first in (("train", 0), ("test", 10)):
            write(tmp_path / "d" / f"{split}.jsonl", [pair(k) for k in range(first, first + 4)])
        build(out, f"data={tmp_path / 'd'}", "test_split=test")
        assert len(rows(out, "data/train*")) == 8
        assert [(row["side"], row["source_row"], row["source_split"]) for row in rows(out, "data/test*")] == [
            ("plain", k, "test") for k in range(1, 5)]

    def test_a_folder_of_ours(self, pairs: str, tmp_path: Path, out: Path) -> None:
        build(tmp_path / "plain", pairs, "relabel=none")
        build(out, f"data={tmp_path / 'plain'}")
        build(tmp_path / "straight", pairs)
        assert [row["prompt"] for row in rows(out)] == [row["prompt"] for row in rows(tmp_path / "straight")]
        with pytest.raises(UsageError, match="row 1: prompt bears a goal already"):
            build(tmp_path / "twice", f"data={out}")

    def test_evaluation_prompts_are_left_out(self, pairs: str, tmp_path: Path, out: Path) -> None:
        (tmp_path / "eval.txt").write_text("Question 3?\n\nNever asked.\n")
        write(tmp_path / "more.jsonl", [{"prompt": "Question 5?"}])
        build(out, pairs, f"decontaminate=[{tmp_path / 'eval.txt'}, {tmp_path / 'more.jsonl'}]")
        assert [(row["reject_reason"], row["index"]) for row in rejects(out)] == [("holds an evaluation prompt", 3),
                                                                                  ("holds an evaluation prompt", 5)]

    def test_changed_data_is_another_config(self, tmp_path: Path, out: Path) -> None:
        words = write(tmp_path / "p.jsonl", [pair(1)])
        build(out, words)
        assert build(out, words)["rows"]["out"] == 2
        write(tmp_path / "p.jsonl", [pair(2)])
        with pytest.raises(FolderError, match=r"another config: config\.files"):
            build(out, words)

    def test_report_and_card(self, tmp_path: Path, out: Path) -> None:
        manifest = build(out, write(tmp_path / "p.jsonl", [*(pair(k) for k in range(6)), pair(1), pair(8, score_rejected=9.9)]))
        findings = manifest["notes"]["preferences"]["findings"]
        assert {name: found["count"] for name, found in findings.items() if found["count"]} == {"copies": 1, "inversions": 1}
        assert manifest["notes"]["preferences"]["pairs"] == 8
        assert any("the same pair stands in an earlier row" in line for line in manifest["notes"]["warnings"])
        card = (out / "README.md").read_text()
        assert "Goals: the overall score, shown from 1 to 10 with up to 1 decimals" in card and "straight line" not in card
        assert "Margin of the pairs" in (out / "report.html").read_text()


class TestUltraFeedback:
    @staticmethod
    def row(k: int, source: str = "evol_instruct", scores: tuple[float, ...] = (6, 9, 3, 5), **changes: Any) -> dict[str, Any]:
        done = [{"response": f"Answer {place} to {k}.", "model": f"m{place}", "overall_score": score, "annotations": {
            name: {"Rating": str(min(5, round(score / 2)))} for name in ("helpfulness", "honesty")}}
            for place, score in enumerate(scores)]
        for place, rating in changes.get("ratings", {}).items():
            done[place]["annotations"]["honesty"]["Rating"] = rating  # type: ignore[index]
        return {"instruction": f"Question {k}?", "source": source, "completions": done}

    def test_its_own_preparation(self, tmp_path: Path, out: Path) -> None:
        words = write(tmp_path / "u.jsonl", [
            *(self.row(k) for k in range(8)), self.row(8, "truthful_qa"), self.row(9, ratings={1: "N/A"}),
            self.row(10, scores=(4, 7), ratings={0: "N/A"}), self.row(11, scores=(8, 7), ratings={0: "1", 1: "5"})])
        manifest = build(out, words, "preset=ultrafeedback", "test_rows=3")
        assert manifest["config"]["test_rows"] == 3 and manifest["config"]["candidates"]["consistent"]
        assert manifest["rows"]["rejected"] == {"source not wanted": 1, "fewer than two rated answers": 1,
                                                "single ratings disagree": 1}
        assert manifest["rows"]["splits"] == {"train": 12, "test": 3}
        for row in rows(out):
            best = 0 if row["source_row"] == 10 else 1  # that one's best answer has a rating N/A
            texts = {row["chosen"][0]["content"][:8], row["rejected"][0]["content"][:8]}
            assert f"Answer {best}" in texts
            assert row["attributes"] == ["helpfulness", "honesty"]
        assert len({row["rejected"][0]["content"][:8] for row in rows(out) if row["side"] != "loser"}) > 1

    def test_against_the_worst_and_goals_of_single_ratings(self, tmp_path: Path, out: Path) -> None:
        words = write(tmp_path / "u.jsonl", [self.row(0)])
        build(out, words, "candidates.rejected=worst", "attributes=[honesty, helpfulness]")
        assert [(row["chosen"][0]["content"], row["goals"], row["goal"], row["attributes_chosen"]) for row in rows(out)] == [
            ("Answer 1 to 0.", [7.8, 7.8], None, [4, 4]), ("Answer 2 to 0.", [3.2, 3.2], None, [2, 2])]
        assert rows(out)[0]["goal_text"].endswith("- honesty: 7.8\n- helpfulness: 7.8")


class TestScorers:
    def test_a_judge(self, pairs: str, out: Path) -> None:
        manifest = build(out, pairs, "judge=fake/magpie")
        assert manifest["calls"]["made"] == stored(out) == 40
        for row in rows(out):
            assert row["goal"] == row["score_chosen"] in range(1, 11) and len(row["calls"]) == 2
            assert row["scorer"] == "fake/magpie (judge, 1 to 10)"
        assert manifest["notes"]["scores"]["rubric"] == "helpful"

    def test_a_reward_model_without_bounds_is_shown_on_the_range_of_its_scores(self, pairs: str, out: Path,
                                                                               scripted: Scripted) -> None:
        def value(request: Request, sample: int) -> Answer:
            return Answer(values=(len(request.messages[-1]["content"]) / 10.0,))
        scripted("reward", value)
        manifest = build(out, pairs, "reward=scripted/reward")
        lengths = [len(row["chosen"][0]["content"]) for row in rows(out)]
        assert manifest["notes"]["scores"]["scales"] == {"score": [min(lengths) / 10, max(lengths) / 10]}
        assert [row["goal"] for row in rows(out)] == [
            round(1 + 9 * (length - min(lengths)) / (max(lengths) - min(lengths)), 1) for length in lengths]
        assert [row["side"] for row in rows(out)] == ["winner", "loser"] * 20
        build(out, pairs, "reward=scripted/reward", "source_scale=[0, 2]", update=True)
        assert [row["goal"] for row in rows(out)] == [float(Goal(value=round(1 + 9 * length / 20, 6)).text().split()[-1])
                                                      for length in lengths]

    def test_late_goals_follow_every_policy(self, tmp_path: Path, scripted: Scripted) -> None:
        scripted("reward", lambda request, sample: Answer(values=(float(request.messages[-1]["content"]),)))
        words = [write(tmp_path / "p.jsonl", [pair(k, chosen=f"{a}", rejected=f"{b}") for k, (a, b) in enumerate(
            [(0, 90), (50, 10), (40.1, 40.0), (70, 20), (80, 60)])]), "reward=scripted/reward"]
        counts = {name: build(tmp_path / name, *words, *more)["rows"] for name, more in {
            "both": [], "kept": ["ties=keep_one"], "half": ["half=true"], "none": ["relabel=none"], "some": ["min_margin=4"],
            "test": ["test_rows=2"]}.items()}
        assert counts["both"] == {"in": 10, "out": 8, "rejected": {"scores tie": 2}, "splits": {"train": 8}}
        assert counts["kept"] == {"in": 10, "out": 9, "rejected": {"scores tie, the other row is kept": 1},
                                  "splits": {"train": 9}}
        assert (counts["half"]["out"], counts["none"]["out"]) == (4, 4)
        assert counts["some"]["rejected"] == {"scores tie": 2, "margin too small": 2}
        assert counts["test"]["splits"]["test"] == 2
        assert [row["goal"] for row in rows(tmp_path / "both")] == [1, 10, 6, 2, 8, 3, 9, 7]
        assert all(row in rows(tmp_path / "both") for row in rows(tmp_path / "half"))
        assert {row["side"] for row in rows(tmp_path / "test", "data/test*")} == {"plain"}

    def test_several_attributes_of_a_reward_model(self, pairs: str, out: Path, scripted: Scripted) -> None:
        scripted("reward", lambda request, sample: Answer(values=(float(len(request.messages[-1]["content"])),
                                                                  request.messages[-1]["content"].count("o") - 1.0)))
        build(out, pairs, "reward=scripted/reward", "attributes=[length, os]")
        first = rows(out)[0]
        assert first["attributes"] == ["length", "os"] and first["attributes_chosen"] == [14, 1]
        assert len(first["goals"]) == 2 and first["goal"] is None and first["goal_text"].endswith(
            f"- length: {first['goals'][0]:g}\n- os: {first['goals'][1]:g}")
        with pytest.raises(UsageError, match="has no attribute 'wit'; it has one score"):
            build(out, pairs, "policy=fake/magpie", "reference=fake/echo", "attributes=[wit]")

    def test_attributes_of_the_data(self, tmp_path: Path, out: Path) -> None:
        wit = {"wit_chosen": 4, "wit_rejected": 1}
        words = write(tmp_path / "p.jsonl", [{"prompt": "Why?", "chosen": "a", "rejected": "b", **wit}])
        build(out, words, "attributes=[wit]", "attribute_scale=[0, 4]", "scale=[0, 8]")
        assert [(row["goals"], row["score_chosen"]) for row in rows(out)] == [([8], 4), ([2], 1)]

    def test_implicit_rewards(self, pairs: str, out: Path, scripted: Scripted) -> None:
        def likely(share: float) -> Script:
            return lambda request, sample: Answer(logprobs=(TokenLogprob(token="x", logprob=-share * len(request.continuation)),))
        _, asked = scripted("policy", likely(0.5))
        scripted("reference", likely(1.5))
        manifest = build(out, pairs, "policy=scripted/policy", "reference=scripted/reference", "policy.goal=10", "beta=0.2")
        assert manifest["notes"]["scores"]["kind"] == "implicit" and len(rows(out)) == 40
        first = rows(out)[0]
        tail = len("<|im_end|>\n")
        assert first["score_chosen"] == pytest.approx(0.2 * (len("Good answer 0.") + tail))
        assert first["score_rejected"] == pytest.approx(0.2 * (len("Bad 0.") + tail))
        assert {len(row["calls"]) for row in rows(out)} == {4} and {request.task for request in asked.requests} == {"logprobs"}

    def test_on_policy(self, pairs: str, out: Path) -> None:
        manifest = build(out, pairs, "policy=fake/magpie", "on_policy.k=4", "judge=fake/magpie", "n=10")
        assert len(rows(out)) == 10
        for row in rows(out):
            assert len(row["responses"]) == len(row["scores"]) == 4
            best, worst = (row["scores"].index(end(row["scores"])) for end in (max, min))
            good, bad = (assistant(row["responses"][place]) for place in (best, worst))
            assert (row["chosen"], row["rejected"]) == (([good], [bad]) if row["side"] == "winner" else ([bad], [good]))
            assert row["model"] == "fake/magpie" and len(row["calls"]) == 8
        assert "answered the prompts of" in (out / "README.md").read_text() and manifest["rows"]["out"] == 10

    def test_on_policy_takes_prompts_of_any_format(self, tmp_path: Path, out: Path) -> None:
        words = write(tmp_path / "p.jsonl", [{"messages": [user("Why?"), assistant("Because.")]},
                                             {"messages": [system("Be brief."), user("How?"), assistant("So.")]}])
        build(out, words, "policy=fake/magpie", "on_policy=3", "reward=fake/echo")
        assert {row["prompt"][-1]["content"] for row in rows(out)} == {"Why?", "How?"}

    def test_unscored_answers_are_rejected_with_the_reason(self, pairs: str, out: Path, scripted: Scripted) -> None:
        scripted("reward", lambda request, sample: Answer(
            values=(float("nan") if "Bad 7" in str(request.messages) else len(str(request.messages[-1])) / 7,)))
        build(out, pairs, "reward=scripted/reward")
        assert [(row["reject_reason"], row["reject_detail"], row["index"], row["prompt"]) for row in rejects(out)] == [
            ("an answer has no score", "not a number: [nan]", 7, [user("Question 7?")])]

    def test_a_score_outside_of_its_declared_scale(self, pairs: str, out: Path, scripted: Scripted) -> None:
        scripted("reward", lambda request, sample: Answer(values=(3.0 if "Bad 3" in str(request.messages) else 0.1 * len(
            request.messages[-1]["content"]) / 2,)))
        words = [pairs, "reward=scripted/reward", "source_scale=[0, 1]"]
        with pytest.raises(UsageError, match=r"row 4: .* gave the score 3, declared 0 to 1; declare another source_scale"):
            build(out, *words)
        build(out, *words, "invalid=reject", update=True)
        assert [(row["reject_reason"], row["index"]) for row in rejects(out)] == [("score outside of its scale", 3)]

    def test_one_class_of_scores(self, pairs: str, out: Path, scripted: Scripted) -> None:
        scripted("reward", lambda request, sample: Answer(values=(2.0,)))
        with pytest.raises(UsageError, match="every score is 2: goals need at least two different scores"):
            build(out, pairs, "reward=scripted/reward")
        with pytest.raises(UsageError, match=r"no pair of .* is left: scores tie \(20\)"):
            build(out, pairs, "reward=scripted/reward", "source_scale=[0, 4]", update=True)

    def test_the_plan(self, pairs: str) -> None:
        def steps(*words: str) -> list[tuple[str, float]]:
            plan = RewardAugmented(load_config(RewardAugmentedConfig, words=[pairs, *words])).plan()
            return [("rows", plan.rows), *((step.name, step.calls) for step in plan.steps)]
        assert steps() == [("rows", 20)]
        assert steps("judge=fake/magpie", "n=10") == [("rows", 5), ("score", 2)]
        assert steps("reward=fake/echo", "policy=fake/magpie", "on_policy.k=5") == [("rows", 20), ("response", 5), ("score", 5)]


class TestLimits:
    def test_rows_over_the_limit(self, tmp_path: Path, out: Path) -> None:
        tokenizer().save_pretrained(tmp_path / "t")
        words = [write(tmp_path / "p.jsonl", [pair(1), pair(2, prompt="word " * 300), pair(3, chosen="word " * 300)]),
                 f"tokenizer={tmp_path / 't'}", "max_length=200"]
        build(out, *words)
        assert [(row["reject_reason"], row["index"]) for row in rejects(out)] == [("too long", 1), ("too long", 2)]
        build(out, *words, "too_long=shorten", update=True)
        assert [(row["reject_reason"], row["index"]) for row in rejects(out)] == [("too long", 2)]
        cut = [row["prompt_cut"] for row in rows(out)]
        assert cut[:2] == [0, 0] and cut[2] == cut[3] > 0
        assert rows(out)[2]["prompt"][0]["content"] == text_of("8")

    def test_a_template_without_a_system_role(self, pairs: str, tmp_path: Path, out: Path) -> None:
        names = tokenizer(NO_SYSTEM)
        names.save_pretrained(tmp_path / "t")
        with pytest.raises(UsageError, match="no place for the goal with style=system"):
            build(out, pairs, f"tokenizer={tmp_path / 't'}")
        assert len(build(out, pairs, f"tokenizer={tmp_path / 't'}", "style=prefix")["rows"]) == 4


#: name -> (rows, settings, what the one line says)
BAD: dict[str, tuple[list[dict[str, Any]], list[str], str]] = {
    "missing column": ([{"prompt": "q", "chosen": "a"}], [], r"has these columns: prompt, chosen\. Known: preference"),
    "no scores": ([{"prompt": "q", "chosen": "a", "rejected": "b"}], [], "add score_chosen, score_rejected, or name"),
    "one score": ([{"prompt": "q", "chosen": "a", "rejected": "b", "score_chosen": 1}], [], "has no scores"),
    "no attribute": ([pair(1)], ["attributes=[wit]"], "add wit_chosen, wit_rejected"),
    "empty": ([], [], "holds no rows"),
    "texts and messages": ([pair(1), pair(2, chosen=[assistant("a")], rejected=[assistant("b")])], [],
                           r"mixes formats: answers are texts \(row 1\) and messages \(row 2\)"),
    "other rows": ([pair(1), {"messages": []}], [], r"1 of 2 rows .* row 2: no preference pair"),
    "one class": ([pair(k, score_chosen=5, score_rejected=5) for k in range(3)], [], "every score in .* is 5: goals need"),
    "outside": ([pair(1), pair(2, score_chosen=11), pair(3, score_rejected=0)], [],
                r"2 of 3 rows .* row 2: score outside of its scale \(score_chosen is 11, declared 1 to 10\); row 3: .*is 0, "
                r".*source_scale=\[least, greatest\], or drop them with invalid=reject"),
    "NaN": ([pair(1), pair(2, score_rejected=float("nan"))], [], r"row 2: score is not finite \(score_rejected is nan\)"),
    "infinite": ([pair(1), pair(2, score_rejected=float("inf"))], ["source_scale=data"], "row 2: score is not finite"),
    "none": ([pair(1), pair(2, score_rejected=None)], [], r"row 2: no score \(score_rejected is missing\)"),
    "a text": ([pair(1), pair(2, score_rejected="8")], [], "row 2: score is not a number"),
    "all bad": ([pair(2, score_rejected=None)], ["invalid=reject"], r"1 of 1 rows .* Mend them$"),
    "many": ([pair(k, score_chosen=50) for k in range(9)] + [pair(1)], [], r"9 of 10 rows .*row 5: .*; \.\.\.\. Mend"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_data_is_one_line_and_leaves_the_folder_free(name: str, tmp_path: Path, out: Path) -> None:
    found, words, why = BAD[name]
    with pytest.raises(UsageError, match=why) as raised:
        build(out, write(tmp_path / "p.jsonl", found), *words)
    assert "\n" not in str(raised.value)
    assert not (out / "config.json").exists()


def test_bad_rows_are_dropped_where_that_is_asked_for(tmp_path: Path, out: Path) -> None:
    build(out, write(tmp_path / "p.jsonl", [pair(1), pair(2, score_chosen=11), pair(3, score_rejected=float("nan")),
                                            pair(4, chosen=None), pair(5)]), "invalid=reject")
    assert [(row["reject_reason"], row["index"]) for row in rejects(out)] == [
        ("score outside of its scale", 1), ("score is not finite", 2), ("no preference pair", 3)]
    assert [row["source_row"] for row in rows(out)] == [1, 1, 5, 5]


@pytest.mark.parametrize(("words", "why"), [
    ([], "name the pairs: data=PAIRS.jsonl"),
    (["data=x", "half=true", "relabel=none"], "do not go together"),
    (["data=x", "max_length=10"], "it needs tokenizer=MODEL"),
    (["data=x", "scale=[10, 1]"], "is no scale"),
    (["data=x", "scale=[0, 0.55]"], "decimals=1 cannot show"),
    (["data=x", "source_scale=[2, 2]"], "is no scale"),
    (["data=x", "on_policy=3"], "on_policy.k asks a policy"),
    (["data=x", "on_policy=1"], "makes no pair"),
    (["data=x", "on_policy=3", "policy=fake/magpie"], "name who scores them"),
    (["data=x", "judge=fake/magpie", "reward=fake/echo"], r"several could score \(reward, judge\); say which: scorer=reward"),
    (["data=x", "scorer=judge"], "scorer=judge needs judge=openai/NAME"),
    (["data=x", "policy=fake/magpie"], "is for on_policy.k, or for implicit rewards"),
    (["data=x", "reference=fake/magpie"], "name the model trained by DPO"),
    (["data=x", "attributes=[a, a]"], "names one twice"),
    (["data=x", "style=sys"], "input should be 'system' or 'prefix'")])
def test_settings_that_do_not_go_together(words: list[str], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        load_config(RewardAugmentedConfig, words=words)
