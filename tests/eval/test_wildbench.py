"""WildBench end to end: official files in and out, judges of known taste, and everything that can be wrong with the input."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from goldens import golden, needs_golden
from hypothesis import given, settings
from hypothesis import strategies as st
from small import Scripted
from wildbench_records import (
    CUT,
    JUDGE,
    LONG,
    SHORT,
    pair_record,
    published_pairs,
    published_scores,
    published_totals,
    score_record,
    tags,
    write,
)

from pica.cli import main
from pica.eval.compare import compare
from pica.eval.means import mean
from pica.eval.wildbench import WildBench
from pica.eval.wildbench_config import WildBenchConfig
from pica.eval.wildbench_elo import rate
from pica.eval.wildbench_figures import GROUP_NAMES, How, Part, work_out
from pica.eval.wildbench_scores import Outcomes, mix, task_macro, virtual_battles, wb_elo, worth
from pica.synth.config import load_config
from pica.synth.errors import UsageError
from pica.synth.models.base import Request
from pica.synth.recipe import make
from pica.synth.rows import read_rows

HOMES = {"gpt4t": "gpt-4-turbo-2024-04-09", "haiku": "claude-3-haiku-20240307", "llama": "Llama-2-70b-chat-hf"}
QUICK = ("durability=normal", "rounds=100", "elo_rounds=8")


def run(out: Path, *words: str, update: bool = False) -> dict[str, Any]:
    """Evaluate; the manifest."""
    config = load_config(WildBenchConfig, words=[*QUICK, *words])
    return asyncio.run(make(WildBench(config), out, update=update)).manifest


def rows(out: Path, split: str = "train") -> list[dict[str, Any]]:
    """The rows of an evaluation."""
    return [row for file in sorted(out.glob(f"data/{split}-*.parquet")) for row in read_rows(file)]


def board(out: Path) -> dict[str, dict[str, Any]]:
    """The leaderboard by model."""
    return {entry["model"]: entry for entry in json.loads((out / "leaderboard.json").read_text(encoding="utf-8"))}


def table(out: Path, name: str) -> Any:
    """One of the official tables that were exported."""
    return json.loads((out / "official" / "leaderboard" / f"{name}.json").read_text(encoding="utf-8"))


def picked(row: Mapping[str, Any], *names: str) -> Any:
    """Some columns."""
    return tuple(row[name] for name in names)


def close(found: Any, wanted: Any) -> bool:
    """Whether two tables of numbers, with names between them, are alike up to 1e-9."""
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(close(found[key], wanted[key]) for key in wanted)
    return bool(found == pytest.approx(wanted, abs=1e-9))


class TestPublished:
    """Raw files that come to the published counts give the published figures."""

    @needs_golden
    @pytest.mark.parametrize(("model", "limit"), [("gpt-4o-2024-05-13", -1), ("gpt-4o-2024-05-13", 500), (HOMES["haiku"], 500)])
    def test_rewards(self, tmp_path: Path, model: str, limit: int) -> None:
        wanted = {home: golden(f"wildbench/pairwise-{short}-K={limit}.json").get(model) for short, home in HOMES.items()}
        for short, home in HOMES.items():
            if wanted[home]:
                free, limited = (golden(f"wildbench/pairwise-{short}-K={k}.json")[model] for k in (-1, 500))
                write(tmp_path / "r" / "eval=gpt-4-turbo-2024-04-09" / f"ref={home}", f"{model}.json",
                      published_pairs(f"org/{model}", f"org/{home}", free, limited))
        out = tmp_path / "out"
        run(out, f"rewards={tmp_path / 'r'}", f"length_penalty={limit}", "denominators=official", "export=true",
            f"baselines=[{', '.join(HOMES.values())}]" if all(wanted.values()) else "seed=0")
        for home, row in wanted.items():
            if row:
                assert close({**table(out, f"pairwise-{home}-K={limit}")[model], "avg_len": 0}, {**row, "avg_len": 0})
        published, (entry,) = golden(f"wildbench/all_stat_wildbench.{limit}.json")[model], board(out).values()
        names = {"score": f"mixture_of_rewards.K={limit}", "task_macro": f"task_macro_reward.K={limit}",
                 **{f"score_{group}": f"mixture_of_rewards.{group}.K={limit}" for group in GROUP_NAMES},
                 **{f"reward_{home}": f"{short}_reward.K={limit}" for short, home in HOMES.items()}}
        share = 1 if all(wanted.values()) else 2 / 3  # what is published takes the mean over three even of a baseline itself
        for name, key in names.items():
            if name in entry:
                assert entry[name] * (1 if name.startswith("reward") else share) == pytest.approx(published[key], abs=1e-9)

    @needs_golden
    def test_scores_of_groups(self, tmp_path: Path) -> None:
        published = dict(list(golden("wildbench/score.json").items())[::20])
        for model, row in published.items():
            write(tmp_path / "s" / f"eval={JUDGE}", f"{model.replace('@', '-')}.json", published_scores(model, row))
        out = tmp_path / "out"
        run(out, f"scores={tmp_path / 's'}", "denominators=official", "export=true", "elo_rounds=0")
        found = table(out, "score")
        assert len(found) == len(published) == 4
        for model, row in published.items():
            figures = found[model.replace("@", "-")]
            names = ("task_categorized_scores", "task_macro_score", "adjusted_task_macro_score")
            assert close(dict(zip(names, picked(figures, *names), strict=True)), {name: row[name] for name in names})

    @needs_golden
    def test_scores_over_all(self, tmp_path: Path) -> None:
        published = dict(list(golden("wildbench/score.json").items())[::20])
        for model, row in published.items():
            write(tmp_path / "s" / f"eval={JUDGE}", f"{model.replace('@', '-')}.jsonl", published_totals(model, row))
        out = tmp_path / "out"
        run(out, f"scores={tmp_path / 's'}", "denominators=official", "export=true", "elo_rounds=0")
        for model, row in published.items():
            figures = table(out, "score")[model.replace("@", "-")]
            names = ("score", "adjusted_score", "total", "avg_len")
            assert picked(figures, *names) == pytest.approx(picked(row, *names), abs=1e-9)
            assert board(out)[model.replace("@", "-")]["score"] == pytest.approx(10 * row["adjusted_score"], abs=1e-9)


VALUES = st.lists(st.tuples(st.sampled_from("pqrst"), st.sampled_from([-2, -1, 0, 1, 2]), st.sets(st.sampled_from(GROUP_NAMES)),
                            st.booleans()), min_size=1, max_size=30)


def part_of(values: Sequence[tuple[str, int, set[str], bool]]) -> Part:
    """A part of rewards."""
    part = Part()
    for task, extent, groups, kept in values:
        part.add(task, float(worth([extent])[0]), sorted(groups), kept)
    return part


class TestFigures:
    @given(several=st.lists(VALUES, min_size=1, max_size=3), official=st.booleans())
    @settings(max_examples=60, deadline=None)
    def test_against_the_arithmetic_one_by_one(self, several: list[Any], official: bool) -> None:
        how = How(official, (-1.0, 1.0), shrink=True, rounds=100)
        found = work_out([part_of(values) for values in several], how)
        rewards, macros = [], []
        for values, figures in zip(several, found.parts, strict=True):
            used = [value for value in values if value[3] or not official]
            rewards.append(Outcomes.of(value[1] for value in used).reward(total=len(values)))
            by_group = {group: Outcomes.of(value[1] for value in used if group in value[2]).reward() for group in GROUP_NAMES}
            by_group = {group: reward for group, reward in by_group.items() if not math.isnan(reward)}
            macros.append(task_macro(by_group, official=official))
            assert figures.overall.value == pytest.approx(rewards[-1])
            assert {group: figure.value for group, figure in figures.groups.items()} == pytest.approx(by_group)
            assert figures.macro.value == pytest.approx(macros[-1], nan_ok=True)
        assert found.mixed.overall.value == pytest.approx(mix({str(place): reward for place, reward in enumerate(rewards)}))
        known = [0.0 if official and math.isnan(macro) else macro for macro in macros]
        assert found.mixed.macro.value == pytest.approx(sum(known) / len(known), nan_ok=True)
        for figure in (found.mixed.overall, *(part.overall for part in found.parts)):
            assert found.tasks < 2 or figure.lower - 1e-9 <= figure.upper

    def test_intervals_are_those_of_a_mean(self) -> None:
        generator = np.random.default_rng(3)
        tasks = [f"t{number:03d}" for number in range(200) for _ in range(2)]
        values = generator.integers(-2, 3, len(tasks)) / 2
        part = Part(False, tasks, list(values), [("Creative Tasks",)] * len(tasks), [True] * len(tasks))
        (found,) = work_out([part], How(bounds=(-1, 1), seed=1)).parts
        wanted = mean(values, prompt=tasks, bounds=(-1, 1), seed=2)
        for figure in (found.overall, found.groups["Creative Tasks"], found.macro):
            assert figure.value == pytest.approx(wanted.value)
            assert (figure.lower, figure.upper) == pytest.approx((wanted.lower, wanted.upper), abs=0.015)

    def test_intervals_where_all_values_are_the_greatest(self) -> None:
        part = part_of([(task, 2, {"Creative Tasks"}, True) for task in "pqrst"])
        found = work_out([part, Part(itself=True)], How(bounds=(-1, 1)))
        wanted = mean([1.0] * 5, bounds=(-1, 1))
        assert (found.parts[0].overall.lower, found.parts[0].overall.upper) == (pytest.approx(wanted.lower), 1)
        assert (found.mixed.overall.lower, found.mixed.overall.upper) == (pytest.approx(wanted.lower / 2), 0.5)

    def test_the_model_itself_counts_nothing_and_no_results_nothing_known(self) -> None:
        part = part_of([("p", 2, {"Creative Tasks"}, True), ("q", 1, {"Creative Tasks"}, True)])
        assert work_out([part, Part(itself=True)], How(bounds=(-1, 1))).mixed.overall.value == 0.375
        assert math.isnan(work_out([part, Part()], How(bounds=(-1, 1))).mixed.overall.value)
        assert work_out([part, Part()], How(True, (-1, 1))).mixed.overall.value == 0.375
        nothing = work_out([Part()], How())
        assert (math.isnan(nothing.mixed.overall.value), nothing.tasks, nothing.mixed.groups) == (True, 0, {})


class TestElo:
    def test_as_published_with_intervals_over_tasks(self) -> None:
        generator = np.random.default_rng(5)
        scores = {model: {f"t{task}": float(np.clip(round(generator.normal(mean, 1.5)), 1, 10)) for task in range(80)}
                  for model, mean in (("weak", 4), ("middle", 6), ("strong", 8))}
        lengths = {model: {task: int(generator.integers(100, 3000)) for task in own} for model, own in scores.items()}
        found = rate(scores, lengths, rounds=16, seed=42)
        wanted = wb_elo(virtual_battles(scores, lengths), rounds=16, seed=42)
        values = {model: figure.value for model, figure in found.ratings.items()}
        assert values == pytest.approx(dict(zip(wanted.models, wanted.ratings, strict=True)), abs=1e-9)
        assert sorted(values, key=lambda model: values[model]) == ["weak", "middle", "strong"]
        assert (found.battles, found.rounds) == (240, 16)

    def test_intervals_hold_over_tasks(self) -> None:
        generator = np.random.default_rng(1)
        found = []
        for seed in range(60):
            hard = generator.normal(0, 1, 40)  # a task that is hard for one is hard for all
            drawn = {f"m{mean}": np.clip(np.round(mean + hard + generator.normal(0, 1.2, 40)), 1, 10) for mean in (5, 6, 7)}
            scores = {model: {f"t{task}": float(score) for task, score in enumerate(own)} for model, own in drawn.items()}
            found.append(rate(scores, {model: dict.fromkeys(own, 100) for model, own in scores.items()}, rounds=32, seed=seed))
        for model in ("m5", "m6", "m7"):
            truth = np.mean([one.ratings[model].value for one in found])
            assert 0.88 <= np.mean([one.ratings[model].lower <= truth <= one.ratings[model].upper for one in found]) <= 1

    def test_nobody_to_fight(self) -> None:
        assert rate({"m": {"t": 5.0}}, {"m": {"t": 5}}).ratings == {}


class TestGivenScores:
    def test_the_command(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        place = tmp_path / "score.v2" / f"eval={JUDGE}"
        write(place, "good.json", [score_record(f"t{task}", "8") for task in range(3)] + [score_record("t3", "10")])
        write(place, "bad.jsonl", [score_record("t0", "2"), score_record("t1", "N/A"), score_record("t2", 4, "")])
        assert main(["eval", "wildbench", f"scores={place}", "--out", str(tmp_path / "out"), "--quiet"]) == 0
        said = capsys.readouterr().out
        assert "good" in said and "WB-Score in points" in said
        names = ("score", "n", "unscored", "missing", "tasks", "coverage", "wb_score", "task_macro", "empty", "mean_length")
        found = board(tmp_path / "out")
        assert list(found) == ["good", "bad"]
        assert picked(found["good"], *names) == (70.0, 4, 0, 0, 4, 1.0, 8.5, None, 0, 10.0)
        assert picked(found["bad"], *names) == (-40.0, 2, 1, 1, 2, 0.5, 3.0, None, 1, 20 / 3)
        assert found["good"]["lower"] < 70 < found["good"]["upper"] and found["good"]["wb_elo"] > 1000 > found["bad"]["wb_elo"]
        manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
        assert manifest["calls"] == {"made": 0, "cached": 0, "failed": 0}
        assert manifest["notes"]["warnings"][:2] == [
            "1 judgments are unscored and count for nobody: unknown score N/A (1)",
            "models were judged on different tasks (bad on 3, of 4 in all); their scores compare only as far as the tasks are "
            "alike"]
        assert manifest["rows"]["rejected"] == {"no score of bad": 1}
        assert "By group of tasks" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")

    def test_rows(self, tmp_path: Path) -> None:
        place = tmp_path / "s" / f"eval={JUDGE}"
        write(place, "m.json", [score_record("t1", "7", "Hello" + CUT, **tags(["Math & Data Analysis"])),
                                score_record("t2", "1", "")])
        run(tmp_path / "out", f"scores={place}")
        first, second = rows(tmp_path / "out")
        assert picked(first, "task", "category", "tags", "contestant", "answer", "score", "empty", "left_out", "length",
                      "judged") == (
            "t1", "Math", ["Math"], "m", "Hello" + CUT, 7.0, False, True, 5 + len(CUT), "given")
        assert picked(second, "tags", "score", "empty", "left_out", "answers_known") == ([], 1.0, True, True, True)
        assert picked(first["grades"][0], "judge", "score", "reason", "parser") == (
            JUDGE, 7.0, "Strengths: clear\nWeaknesses: short", "wildbench-stored")

    def test_denominators(self, tmp_path: Path) -> None:
        records = [score_record("t1", 9, **tags(["Creative Tasks"])), score_record("t2", 1, "", **tags(["Creative Tasks"])),
                   score_record("t3", 7, **tags(["Coding & Debugging"]))]
        write(tmp_path / "s", "m.json", records)
        names = ("score", "score_Creative Tasks", "score_Coding & Debugging", "task_macro")
        run(tmp_path / "ours", f"scores={tmp_path / 's'}")
        run(tmp_path / "theirs", f"scores={tmp_path / 's'}", "denominators=official")
        overall = (17 / 3 - 5) * 20
        assert picked(board(tmp_path / "ours")["m"], *names) == pytest.approx((overall, 0, 40, 1.25 * 40 / 1.75))
        assert picked(board(tmp_path / "theirs")["m"], *names) == pytest.approx((overall, 80, 40, (0.5 * 80 + 1.25 * 40) / 4.75))

    def test_tasks_bring_groups_and_texts(self, tmp_path: Path) -> None:
        write(tmp_path / "s", "m.json", [score_record("a", 9), score_record("b", 5), score_record("alien", 1)])
        asked = [{"id": key, "session_id": key, "checklist": ["Is it?"], "references": {"gpt-4": "x"}, "intent": "?",
                  "conversation_input": [{"role": "user", "content": f"Ask {key}", "language": "English"}],
                  "primary_tag": tag, "secondary_tags": ["Others"]}
                 for key, tag in (("a", "Math"), ("b", "Planning"), ("c", "Editing"))]
        write(tmp_path / "t", "tasks.jsonl", asked)
        manifest = run(tmp_path / "out", f"scores={tmp_path / 's'}", f"tasks={tmp_path / 't' / 'tasks.jsonl'}")
        (entry,) = board(tmp_path / "out").values()
        names = ("score", "n", "missing", "score_Math & Data Analysis", "score_Creative Tasks")
        assert picked(entry, *names) == (40.0, 2, 1, 80.0, 40.0)
        assert rows(tmp_path / "out")[0]["prompt"] == [{"role": "user", "content": "Ask a"}]
        assert manifest["notes"]["warnings"][0] == (
            f"1 results are of tasks that {str(tmp_path / 't' / 'tasks.jsonl')!r} does not have (such as alien); they are left "
            "out")
        run(tmp_path / "some", f"scores={tmp_path / 's'}", f"tasks={tmp_path / 't' / 'tasks.jsonl'}", "categories=[Math]")
        assert board(tmp_path / "some")["m"]["score"] == 80.0

    def test_what_is_written_is_what_was_read(self, tmp_path: Path) -> None:
        records = [score_record("t1", "7", **tags(["Creative Tasks"])), score_record("t2", "N/A"), score_record("t3", "1", "")]
        write(tmp_path / "s" / f"eval={JUDGE}", "m.json", records)
        run(tmp_path / "out", f"scores={tmp_path / 's'}", "export=true")
        written = tmp_path / "out" / "official" / "eval_results" / "score.v2"
        assert json.loads((written / f"eval={JUDGE}" / "m.json").read_text(encoding="utf-8")) == records
        run(tmp_path / "again", f"scores={written}", "export=true")
        assert board(tmp_path / "again") == board(tmp_path / "out")

    def test_a_judge_that_tells_nothing_apart(self, tmp_path: Path) -> None:
        write(tmp_path / "s", "m.json", [score_record(f"t{task}", 5) for task in range(20)])
        assert run(tmp_path / "out", f"scores={tmp_path / 's'}")["notes"]["warnings"][0] == (
            "the judge gave every one of 20 answers the score 5, so it tells nothing apart; take another judge")


class TestGivenRewards:
    def files(self, folder: Path) -> str:
        """Three models against two baselines, of which one lacks a model."""
        for home in ("haiku", "llama"):
            place = folder / "eval=j" / f"ref={home}"
            for model, extent in (("good", 2), ("same", 0)):
                write(place, f"{model}.json", [pair_record(f"t{task}", model, home, extent, **tags(["Creative Tasks"]))
                                               for task in range(4)])
        write(folder / "eval=j" / "ref=haiku", "long.json", [pair_record(f"t{task}", "long", "haiku", 1, (LONG, SHORT))
                                                            for task in range(4)])
        return f"rewards={folder / 'eval=j'}"

    def test_partial_results_with_what_is_missing(self, tmp_path: Path) -> None:
        manifest = run(tmp_path / "out", self.files(tmp_path / "r"))
        found = board(tmp_path / "out")
        names = ("score", "reward_haiku", "reward_llama", "n", "missing", "coverage")
        assert list(found) == ["good", "same", "long"]
        assert picked(found["good"], *names) == (100.0, 100.0, 100.0, 8, 0, 1.0)
        assert picked(found["same"], *names) == (0.0, 0.0, 0.0, 8, 0, 1.0)
        assert picked(found["long"], *names) == (None, 50.0, None, 4, 4, 0.5)
        assert "no results against llama for long: so they have no mix; see their other rewards" in manifest["notes"]["warnings"]
        assert found["good"]["upper"] == 100.0 > found["good"]["lower"]

    def test_other_length_penalties_cost_nothing(self, tmp_path: Path) -> None:
        words = (self.files(tmp_path / "r"), "denominators=official")
        run(tmp_path / "out", *words)
        assert board(tmp_path / "out")["long"]["score"] == 25.0
        for limit, score in ((500, 0.0), (1000, 25.0)):
            manifest = run(tmp_path / "out", *words, f"length_penalty={limit}", update=True)
            assert manifest["calls"]["made"] == 0
            assert (board(tmp_path / "out")["long"]["score"], board(tmp_path / "out")["good"]["score"]) == (score, 100.0)
            assert f"K={limit}" in manifest["notes"]["metric"]

    def test_without_answers_there_is_no_penalty(self, tmp_path: Path) -> None:
        record = pair_record("t1", "m", "haiku", 1)
        del record["model_outputs"]
        write(tmp_path / "r", "m.json", [record])
        manifest = run(tmp_path / "out", f"rewards={tmp_path / 'r'}", "length_penalty=0")
        assert board(tmp_path / "out")["m"]["score"] == 50.0
        assert "length_penalty=0 cannot touch 1 battles whose answers are not known" in manifest["notes"]["warnings"]

    def test_what_is_written_is_what_was_read(self, tmp_path: Path) -> None:
        words = self.files(tmp_path / "r")
        run(tmp_path / "out", words, "export=true")
        written = tmp_path / "out" / "official" / "eval_results" / "pairwise.v2"
        for path in (tmp_path / "r").rglob("*.json"):
            assert json.loads((written / path.relative_to(tmp_path / "r")).read_text()) == json.loads(path.read_text())
        run(tmp_path / "again", f"rewards={written}")
        assert board(tmp_path / "again") == board(tmp_path / "out")

    def test_a_baseline_is_ranked_by_its_own_file(self, tmp_path: Path) -> None:
        write(tmp_path / "r" / "ref=haiku", "llama.json", [pair_record("t1", "llama", "haiku", -2)])
        write(tmp_path / "r" / "ref=llama", "haiku.json", [pair_record("t1", "haiku", "llama", 1)])
        run(tmp_path / "out", f"rewards={tmp_path / 'r'}")
        names = ("score", "reward_haiku", "reward_llama")
        assert picked(board(tmp_path / "out")["haiku"], *names) == (25.0, 0.0, 50.0)
        assert picked(board(tmp_path / "out")["llama"], *names) == (-50.0, -100.0, 0.0)


TASKS = [{"id": f"t{number}", "category": category, "prompt": f"Question {number}?", "checklist": [f"Says point {number}"]}
         for number, category in enumerate(("Math", "Editing", "Reasoning", "Advice seeking"))]


@pytest.fixture
def asked(tmp_path: Path) -> str:
    return f"tasks={write(tmp_path / 'in', 'tasks.jsonl', TASKS)}"


class Judged:
    """Contestants that answer in a known way, and a judge that counts words, with what they were asked."""

    def __init__(self, scripted: Scripted) -> None:
        self.calls: Counter[str] = Counter()
        self.prompts: list[str] = []
        self.broken = ""
        for name, words in (("terse", 2), ("plain", 4), ("full", 8), ("mute", 0)):
            scripted(name, self._answering(name, words))
        scripted("judge", self._judge)

    def _answering(self, name: str, words: int) -> Any:
        def answer(request: Request, sample: int) -> str:
            self.calls[name] += 1
            return " ".join(["word"] * words)

        return answer

    def _judge(self, request: Request, sample: int) -> str:
        self.calls["judge"] += 1
        prompt = request.messages[-1]["content"]
        self.prompts.append(prompt)
        if self.broken and self.broken in prompt:
            return "I would rather not say."
        properties = (request.schema or {})["properties"]
        if "score" in properties:
            score = min(10, 1 + prompt.rpartition("The answer:")[2].count("word"))
            return json.dumps({"strengths": "s", "weaknesses": "w", "score": score})
        labels = properties["verdict"]["enum"]
        counts = [part.count("word") for part in prompt.rpartition("The author's notes:")[2].split("Answer ")[1:3]]
        better = (counts[0] > counts[1]) - (counts[0] < counts[1])
        return json.dumps({"reason": "r", "verdict": labels[2 - better * (1 + (max(counts) > 2 * min(counts)))]})


@pytest.fixture
def judged(scripted: Scripted) -> Judged:
    return Judged(scripted)


def models_of(*names: str) -> str:
    """The setting for scripted models under short labels."""
    return f"models=[{', '.join(f'{{name: scripted/{name}, label: {name}}}' for name in names)}]"


class TestScores:
    WORDS = ("judge=scripted/judge", "audit=0")

    def test_the_known_order_is_found(self, tmp_path: Path, asked: str, judged: Judged) -> None:
        run(tmp_path / "out", asked, models_of("terse", "full", "mute"), *self.WORDS, "export=true")
        found = board(tmp_path / "out")
        assert {label: picked(entry, "score", "n", "empty", "wb_score") for label, entry in found.items()} == {
            "full": (80.0, 4, 0, 9.0), "terse": (-40.0, 4, 0, 3.0), "mute": (-80.0, 4, 4, 1.0)}
        assert judged.calls == {"terse": 4, "full": 4, "mute": 4, "judge": 8}
        assert all("- Says point" in prompt for prompt in judged.prompts)
        empty = next(row for row in rows(tmp_path / "out") if row["contestant"] == "mute")
        assert picked(empty["grades"][0], "judge", "score", "reason", "call") == ("rule", 1.0, "the answer is empty", "")
        again = run(tmp_path / "again", f"scores={self.exported(tmp_path / 'out')}")
        assert again["calls"]["made"] == 0
        assert board(tmp_path / "again")["full"]["score_Math & Data Analysis"] == 80.0

    def exported(self, out: Path) -> Path:
        """The folder of the one judge whose scores were written."""
        (folder,) = (path for path in (out / "official" / "eval_results" / "score.v2").iterdir() if "judge" in path.name)
        return folder

    def test_a_judge_may_be_asked_about_empty_answers(self, tmp_path: Path, asked: str, judged: Judged) -> None:
        run(tmp_path / "out", asked, "models=scripted/mute", *self.WORDS, "empty=judge")
        assert judged.calls == {"mute": 4, "judge": 4}

    def test_resume_asks_nothing_twice_and_a_model_costs_only_itself(self, tmp_path: Path, asked: str, judged: Judged) -> None:
        out = tmp_path / "out"
        with pytest.raises(Exception, match="budget"):
            run(out, asked, "models=scripted/terse", *self.WORDS, "budget.calls=5", "concurrency=1")
        before = judged.calls.total()
        assert 0 < before <= 5
        run(out, asked, "models=scripted/terse", *self.WORDS)
        assert judged.calls == {"terse": 4, "judge": 4}
        alone = board(out)["scripted/terse"]
        run(out, asked, "models=[scripted/terse, scripted/full]", *self.WORDS, update=True)
        assert judged.calls == {"terse": 4, "full": 4, "judge": 8}
        names = ("score", "lower", "upper", "n")
        assert picked(board(out)["scripted/terse"], *names) == picked(alone, *names)

    def test_a_model_beside_given_scores(self, tmp_path: Path, asked: str, judged: Judged) -> None:
        write(tmp_path / "s" / f"eval={JUDGE}", "old.json", [score_record(task["id"], 6) for task in TASKS])
        manifest = run(tmp_path / "out", asked, f"scores={tmp_path / 's'}", "models=scripted/full", *self.WORDS)
        assert {label: entry["score"] for label, entry in board(tmp_path / "out").items()} == {"scripted/full": 80.0, "old": 20.0}
        assert judged.calls == {"full": 4, "judge": 4}
        assert (f"not all models have the same judges ({JUDGE}; scripted/judge); scores by different judges do not compare"
                in manifest["notes"]["warnings"])

    def test_what_cannot_be_read_is_unscored(self, tmp_path: Path, asked: str, judged: Judged) -> None:
        judged.broken = "Question 2?"
        manifest = run(tmp_path / "out", asked, "models=scripted/full", *self.WORDS, "tries=2")
        entry = board(tmp_path / "out")["scripted/full"]
        assert picked(entry, "score", "n", "unscored", "missing", "coverage") == (80.0, 3, 1, 0, 0.75)
        assert manifest["notes"]["warnings"][0] == "1 judgments are unscored and count for nobody: no verdict in 2 tries (1)"
        assert judged.calls["judge"] == 5

    def test_a_jury(self, tmp_path: Path, asked: str, judged: Judged, scripted: Scripted) -> None:
        scripted("kind", lambda request, sample: '{"strengths": "s", "weaknesses": "w", "score": 10}')
        run(tmp_path / "out", asked, "models=scripted/terse", "judge=[scripted/judge, scripted/kind, scripted/kind]", "audit=0")
        assert board(tmp_path / "out")["scripted/terse"]["wb_score"] == 10.0
        assert [grade["score"] for grade in rows(tmp_path / "out")[0]["grades"]] == [3.0, 10.0, 10.0]

    def test_the_audit_beside_it(self, tmp_path: Path, judged: Judged, scripted: Scripted) -> None:
        scripted("fooled", lambda request, sample: '{"strengths": "s", "weaknesses": "w", "score": 10}')
        manifest = run(tmp_path / "out", "n=6", "models=scripted/full", "judge=scripted/fooled", "audit.tasks=6")
        assert manifest["notes"]["audit"]["verdict"] == "fails"
        assert manifest["notes"]["warnings"][0].startswith("The judge fails its audit")
        assert len(rows(tmp_path / "out")) == 6 and rows(tmp_path / "out", "audit")
        assert json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))

    def test_the_plan(self, tmp_path: Path, asked: str, judged: Judged) -> None:
        write(tmp_path / "s", "old.json", [score_record(task["id"], 6) for task in TASKS])
        words = [*QUICK, asked, f"scores={tmp_path / 's'}", "models=scripted/full", *self.WORDS]
        config = load_config(WildBenchConfig, words=words)
        plan = WildBench(config).plan()
        assert (plan.rows, plan.calls) == (4, 8)
        assert judged.calls.total() == 0


class TestRewards:
    MODELS = models_of("plain", "full", "terse")
    WORDS = ("mode=reward", "judge=scripted/judge", "audit=0")

    def test_the_known_order_is_found(self, tmp_path: Path, asked: str, judged: Judged) -> None:
        run(tmp_path / "out", asked, self.MODELS, *self.WORDS, "baselines=[plain]", "export=true")
        found = board(tmp_path / "out")
        names = ("score", "reward_plain", "n", "won_much", "won", "lost", "lost_much")
        assert {label: picked(entry, *names) for label, entry in found.items()} == {
            "full": (50.0, 50.0, 8, 0, 8, 0, 0), "plain": (0.0, 0.0, 0, 0, 0, 0, 0), "terse": (-50.0, -50.0, 8, 0, 0, 8, 0)}
        assert judged.calls == {"plain": 4, "full": 4, "terse": 4, "judge": 16}
        row = rows(tmp_path / "out")[0]
        assert picked(row, "model_a", "model_b", "outcome", "agreement") == ("plain", "full", "b", "same")
        written = tmp_path / "out" / "official" / "eval_results" / "pairwise.v2"
        run(tmp_path / "again", f"rewards={written}")
        again = board(tmp_path / "again")
        assert {label: picked(again[label], *names) for label in again} == {
            label: picked(entry, *names) for label, entry in found.items() if label != "plain"}

    def test_baselines_meet_once_and_count_for_both(self, tmp_path: Path, asked: str, judged: Judged) -> None:
        run(tmp_path / "out", asked, self.MODELS, *self.WORDS, "baselines=[plain, full]", "orders=ab")
        found = board(tmp_path / "out")
        assert judged.calls["judge"] == 3 * 4
        names = ("score", "reward_plain", "reward_full", "missing")
        assert {label: picked(entry, *names) for label, entry in found.items()} == {
            "full": (25.0, 50.0, 0.0, 0), "plain": (-25.0, 0.0, -50.0, 0), "terse": (-75.0, -50.0, -100.0, 0)}

    def test_one_order_drawn(self, tmp_path: Path, asked: str, judged: Judged) -> None:
        run(tmp_path / "out", asked, self.MODELS, *self.WORDS, "baselines=[plain]", "orders=random")
        orders = Counter(game["order"] for row in rows(tmp_path / "out") for game in row["games"])
        assert judged.calls["judge"] == orders.total() == 8
        assert set(orders) == {"ab", "ba"}
        assert board(tmp_path / "out")["full"]["score"] == 50.0

    @pytest.mark.parametrize(("model", "score"), [("full", -100.0), ("mute2", 0.0)])
    def test_empty_answers_lose_without_a_call(self, tmp_path: Path, asked: str, judged: Judged, scripted: Scripted, model: str,
                                               score: float) -> None:
        scripted("mute2", lambda request, sample: " ")
        run(tmp_path / "out", asked, f"models=[scripted/mute, scripted/{model}]", *self.WORDS, f"baselines=[scripted/{model}]")
        assert judged.calls["judge"] == 0
        assert picked(board(tmp_path / "out")["scripted/mute"], "score", "n", "empty") == (score, 8, 4)

    def test_another_penalty_costs_no_call(self, tmp_path: Path, asked: str, judged: Judged) -> None:
        words = (asked, self.MODELS, *self.WORDS, "baselines=[plain]")
        run(tmp_path / "out", *words)
        before = judged.calls.total()
        run(tmp_path / "out", *words, "length_penalty=10", update=True)
        assert (judged.calls.total(), board(tmp_path / "out")["full"]["score"]) == (before, 0.0)

    def test_two_evaluations_compare(self, tmp_path: Path, asked: str, judged: Judged) -> None:
        for name, second in (("a", "full"), ("b", "terse")):
            models = f"models=[scripted/plain, {{name: scripted/{second}, label: scripted/full}}]"
            run(tmp_path / name, asked, models, *self.WORDS, "baselines=[scripted/plain]")
        changes = {change.model: change.paired.difference for change in compare(tmp_path / "a", tmp_path / "b").changes}
        assert changes == {"scripted/full": -1.0, "scripted/plain": 1.0}


class TestBadInput:
    @pytest.mark.parametrize(("words", "says"), [
        (["scores=s", "rewards=r"], "scores and rewards are two evaluations; give each a folder of its own"),
        (["scores=s", "mode=reward"], "mode=reward does not go with scores; leave out mode"),
        (["rewards=r", "mode=score"], "mode=score does not go with rewards; leave out mode"),
        (["length_penalty=-2"], "length_penalty=-2: input should be greater than or equal to -1"),
        (["scores=nowhere"], "scores=nowhere: no such file or folder"),
        (["models=scripted/full"], "wildbench needs a judge; give judge=SPEC"),
        (["judge=scripted/judge"], "nobody competes; give models, answers with judge=SPEC, or scores=DIR"),
        (["mode=reward", "judge=scripted/judge", "models=scripted/full"],
         r"nobody to compare with: of WildBench's baselines \(gpt-4-turbo.*\) none competes; give baselines="),
        (["mode=reward", "judge=scripted/judge", "models=scripted/full", "baselines=[haiku]"],
         "the baseline 'haiku' is absent; baselines are labels of models, answers or rewards: scripted/full"),
        (["mode=reward", "judge=scripted/judge", "models=scripted/full", "baselines=[scripted/full]"], "nobody competes"),
        (["judge=scripted/judge", "models=scripted/full", "categories=[Cooking]"], "'Cooking'"),
    ])
    def test_one_line(self, tmp_path: Path, judged: Judged, words: list[str], says: str) -> None:
        with pytest.raises(UsageError, match=says) as error:
            run(tmp_path / "out", *words)
        assert "\n" not in str(error.value)

    def test_results_that_do_not_fit(self, tmp_path: Path, asked: str, judged: Judged) -> None:
        write(tmp_path / "s", "m.json", [score_record("alien", 5)])
        scores = f"scores={tmp_path / 's'}"
        for words, says in (([asked], "no result is of a task of .*: they are of 'alien' and others"),
                            (["models=scripted/full", "judge=scripted/judge"], "do not hold what task 'alien' asked"),
                            (["models=[{name: scripted/full, label: m}]", "judge=scripted/judge"],
                             "'m' stands in models and in scores")):
            with pytest.raises(UsageError, match=says):
                run(tmp_path / "out", scores, *words)

    def test_answers_without_a_judge_are_told(self, tmp_path: Path) -> None:
        write(tmp_path / "s", "m.json", [score_record("t1", 5)])
        write(tmp_path / "a", "n.jsonl", [{"session_id": "t1", "output": ["Hello."], "generator": "n"}])
        manifest = run(tmp_path / "out", f"scores={tmp_path / 's'}", f"answers={tmp_path / 'a'}")
        assert list(board(tmp_path / "out")) == ["m"]
        assert "n: answers, but no results and no judge, so left out; give judge=SPEC" in manifest["notes"]["warnings"]
