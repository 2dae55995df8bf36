"""WildBench's official files: what is read, what is odd, what is wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from wildbench_records import JUDGE, pair_record, score_record, write

from pica.eval.wildbench_files import Compared, Scored, read_rewards, read_scores
from pica.synth.errors import UsageError

HOME = "gpt-4-turbo-2024-04-09"


def scored(folder: Path, *records: Any, name: str = "m.json") -> tuple[list[tuple[Any, ...]], list[str]]:
    """(task, label, score, problem) of what is read, and the warnings."""
    write(folder, name, records)
    made, warnings = read_scores(str(folder))
    return [(one.task, one.label, one.score, one.problem) for one in made], warnings


def compared(folder: Path, *records: Any, name: str = "m.json", baselines: tuple[str, ...] = ()) -> list[tuple[Any, ...]]:
    """(task, label, baseline, order, verdict, problem) of what is read."""
    write(folder, name, records)
    made, _ = read_rewards(str(folder), baselines)
    return [(one.task, one.label, one.baseline, one.order, one.verdict, one.problem) for one in made]


class TestScores:
    def test_a_record_of_a_batch(self, tmp_path: Path) -> None:
        record = score_record("t1", "7", "Hello.", model="google/gemma-2b-it", primary_tag="Math", secondary_tags=["Editing"])
        write(tmp_path / "score.v2" / f"eval={JUDGE}", "gemma-2b-it.json", [record])
        reason = "Strengths: clear\nWeaknesses: short"
        made = Scored("t1", "gemma-2b-it", JUDGE, 7.0, "", "Hello.", reason, ("Math", "Editing"), record)
        assert read_scores(str(tmp_path)) == ([made], [])
        assert read_scores(str(tmp_path / "score.v2" / f"eval={JUDGE}" / "gemma-2b-it.json")) == ([made], [])

    def test_a_record_judged_one_by_one(self, tmp_path: Path) -> None:
        record = {"session_id": "t1", "model_output": ["Hello."], "generator": "m", "parsed_result": {"score": "3"}}
        write(tmp_path, "m.jsonl", [record])
        assert read_scores(str(tmp_path))[0] == [Scored("t1", "m", "unnamed", 3.0, "", "Hello.", "", (), record)]

    def test_lines_arrays_and_packed_files(self, tmp_path: Path) -> None:
        records = [score_record("t1", 5), score_record("t2", 10)]
        write(tmp_path, "a.json", records)
        write(tmp_path, "b.jsonl", records)
        (tmp_path / "c.json.gz").write_bytes(gzip.compress(json.dumps(records).encode()))
        write(tmp_path, ".hidden.json", records)
        made, warnings = read_scores(str(tmp_path))
        assert [(one.label, one.task, one.score) for one in made] == [(label, task, score) for label in "abc"
                                                                     for task, score in (("t1", 5.0), ("t2", 10.0))]
        assert warnings == []

    def test_several_models_in_one_file_keep_their_names(self, tmp_path: Path) -> None:
        found, _ = scored(tmp_path, score_record("t1", 5, model="one"), score_record("t1", 6, model="other"), name="all.jsonl")
        assert [(label, score) for _, label, score, _ in found] == [("one", 5.0), ("other", 6.0)]

    @pytest.mark.parametrize(("score", "said"), [
        ("N/A", "unknown score N/A"), (None, "no score"), ("", "no score"), (0, "unknown score 0"), (11, "unknown score 11"),
        ("8/10", "unknown score 8/10"), (True, "unknown score True"), ("nan", "unknown score nan"), ([7], "unknown score [7]")])
    def test_what_is_no_score_is_unscored(self, tmp_path: Path, score: Any, said: str) -> None:
        assert scored(tmp_path, score_record("t1", score))[0] == [("t1", "m", None, said)]

    def test_the_first_of_two_scores_counts(self, tmp_path: Path) -> None:
        found, warnings = scored(tmp_path, score_record("t1", 5), score_record("t1", 9), score_record("t2", 1))
        assert [(task, score) for task, _, score, _ in found] == [("t1", 5.0), ("t2", 1.0)]
        assert warnings == ["1 second scores of one task are left out, the first of each counts: m (1)"]

    def test_an_answer_that_is_not_there_is_not_known(self, tmp_path: Path) -> None:
        record = score_record("t1", 5)
        del record["model_output"]
        write(tmp_path, "m.json", [record])
        assert read_scores(str(tmp_path))[0][0].answer is None

    @pytest.mark.parametrize(("records", "says"), [
        ([None], r"m\.json element 1 is null, not an object"),
        ([{"score": 5}], r"m\.json, record 1 names no task under session_id; it has score"),
        ([score_record("t", 5), {"session_id": "u", "model_A": "x"}],
         r"m\.json, record 2 has no score; it has session_id, model_A"),
        ([{}], r"m\.json, record 1 names no task under session_id; it has nothing"),
    ])
    def test_what_is_no_record_is_one_line(self, tmp_path: Path, records: list[Any], says: str) -> None:
        with pytest.raises(UsageError, match=says):
            scored(tmp_path, *records)

    def test_no_file_is_one_line(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="no such file or folder"):
            read_scores(str(tmp_path / "none"))
        with pytest.raises(UsageError, match=r"holds no \.json or \.jsonl file"):
            read_scores(str(tmp_path))

    def test_two_judges_of_one_model_are_one_line(self, tmp_path: Path) -> None:
        for judge in ("a", "b"):
            write(tmp_path / f"eval={judge}", "m.json", [score_record("t1", 5)])
        with pytest.raises(UsageError, match=r"m was judged by a and by b; give the folder of one judge \(eval=a\)"):
            read_scores(str(tmp_path))


class TestRewards:
    @pytest.mark.parametrize(("extent", "verdict"), [(2, "b>>a"), (1, "b>a"), (0, "a=b"), (-1, "a>b"), (-2, "a>>b")])
    @pytest.mark.parametrize(("first", "order"), [("baseline", "ab"), ("model", "ba")])
    def test_a_record_of_a_batch(self, tmp_path: Path, extent: int, verdict: str, first: str, order: str) -> None:
        record = pair_record("t1", "org/m", f"openai/{HOME}", extent, ("Mine.", "Theirs."), first=first, primary_tag="Math")
        write(tmp_path / "eval=judge" / f"ref={HOME}", "m.json", [record])
        made: Any = Compared("t1", "m", HOME, "judge", order, verdict, "", "Mine.", "Theirs.", "better", ("Math",), record)  # type: ignore[arg-type]
        assert read_rewards(str(tmp_path)) == ([made], [])

    @pytest.mark.parametrize(("choice", "verdict"), [("A++", "b>>a"), ("A+", "b>a"), ("A=B", "a=b"), ("B+", "a>b"),
                                                     ("B++", "a>>b")])
    def test_a_record_judged_one_by_one(self, tmp_path: Path, choice: str, verdict: str) -> None:
        record = {"session_id": "t1", "assignment": {"A": "m", "B": HOME}, "generator": "m", "model_output": ["Mine."],
                  "ref_generator": HOME, "ref_output": "Theirs.", "parsed_result": {"reason": "so", "choice": choice}}
        write(tmp_path, "m.json", [record])
        (made,) = read_rewards(str(tmp_path))[0]
        assert made == Compared("t1", "m", HOME, "unnamed", "ba", verdict, "", "Mine.", "Theirs.", "so", (), record)  # type: ignore[arg-type]

    @pytest.mark.parametrize(("change", "said"), [
        ({"winner": "stranger"}, "unknown winner stranger"), ({"extent": 0}, "unknown extent 0"),
        ({"extent": 3}, "unknown extent 3"),
        ({"extent": True}, "unknown extent True"), ({"winner": None}, "no winner"),
        ({"extent": None, "parsed_result": {"choice": "N/A"}}, "unknown choice N/A"),
        ({"extent": None, "parsed_result": None}, "no choice"),
        ({"extent": None, "parsed_result": {"choice": ["A+"]}}, "unknown choice ['A+']")])
    def test_what_is_no_verdict_is_unscored(self, tmp_path: Path, change: dict[str, Any], said: str) -> None:
        assert compared(tmp_path, {**pair_record("t1", "m", HOME, 1), **change}) == [("t1", "m", HOME, "ba", None, said)]

    def test_both_orders_of_a_pair_are_kept_and_no_more(self, tmp_path: Path) -> None:
        records = [pair_record("t1", "m", HOME, 1), pair_record("t1", "m", HOME, -1, first="baseline"),
                   pair_record("t1", "m", HOME, 2)]
        write(tmp_path, "m.json", records)
        made, warnings = read_rewards(str(tmp_path))
        assert [(one.order, one.verdict) for one in made] == [("ba", "b>a"), ("ab", "a>b")]
        assert warnings == ["1 second verdicts on one pair are left out, the first of each counts: m (1)"]

    def test_who_the_baseline_is(self, tmp_path: Path) -> None:
        record = pair_record("t1", "org/m@x", f"openai/{HOME}", 1)
        by_file = compared(tmp_path / "1", record, name="m@x.json")
        by_name = compared(tmp_path / "2", record, name="anything.json", baselines=("gpt-4-turbo",))
        other = pair_record("t1", "org/n", f"openai/{HOME}", 2)
        several = compared(tmp_path / "3", record, other, name="all.jsonl", baselines=(HOME,))
        assert [row[1:3] for row in by_file] == [("m@x", HOME)]
        assert [row[1:3] for row in by_name] == [("anything", "gpt-4-turbo")]
        assert [row[1:3] for row in several] == [("m@x", HOME), ("n", HOME)]
        with pytest.raises(UsageError, match=rf"all\.json: of org/m@x and openai/{HOME} neither is known to be the baseline"):
            compared(tmp_path / "4", record, name="all.json")

    def test_two_baselines_against_each_other(self, tmp_path: Path) -> None:
        record = pair_record("t1", "haiku", HOME, 1)
        named = compared(tmp_path / "1", record, name="haiku.json", baselines=("haiku", HOME))
        write(tmp_path / "2" / "ref=haiku", f"{HOME}.json", [record])
        assert [row[1:3] for row in named] == [("haiku", HOME)]
        (made,) = read_rewards(str(tmp_path / "2"))[0]
        assert (made.label, made.baseline, made.verdict) == (HOME, "haiku", "a>b")

    def test_what_is_left_out_is_told(self, tmp_path: Path) -> None:
        write(tmp_path / "ref=haiku", "m.json", [pair_record("t1", "m", "haiku", 1)])
        write(tmp_path / "ref=llama", "m.json", [pair_record("t1", "m", "llama", 1)])
        write(tmp_path / "ref=haiku", "haiku.json", [pair_record("t1", "haiku", "haiku", 0)])
        made, warnings = read_rewards(str(tmp_path), ["haiku"])
        assert [(one.label, one.baseline) for one in made] == [("m", "haiku")]
        assert warnings == [f"{tmp_path / 'ref=haiku' / 'haiku.json'} compares haiku with itself; it is left out",
                            "files against llama are left out: baselines names haiku"]

    def test_a_record_that_names_no_pair_is_one_line(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"m\.json, record 1 is no verdict on a pair: it names no model_A and model_B"):
            compared(tmp_path, score_record("t1", 5))
