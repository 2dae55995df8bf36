"""A prompt pool end to end: formats, filters both ways, contamination found by words and by nearness, and the deal."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from books import rejects, rows
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from small import data

from pica.cli import main
from pica.eval.tasks import hash_of, read_tasks
from pica.recipes.prompt_pool.config import PromptPoolConfig
from pica.recipes.prompt_pool.contamination import Evaluations
from pica.recipes.prompt_pool.deal import deal
from pica.recipes.prompt_pool.recipe import PromptPool
from pica.recipes.prompt_pool.rows import PoolRow
from pica.synth.config import load_config
from pica.synth.errors import FolderError, UsageError
from pica.synth.models.base import assistant, system, user
from pica.synth.progress import Progress
from pica.synth.recipe import make
from pica.synth.rows import columns

#: every filter off, so that a test turns on what it looks at
OFF = ["languages=[]", "min_length=0", "prefix=0", "duplicates.minhash=0", "duplicates.exact=false", "durability=normal"]
THINGS = ("nests", "feathers", "eggs", "calls", "wings", "flight", "winter food", "mates", "mirrors", "old friends")


def build(out: Path, *words: str, update: bool = False) -> dict[str, Any]:
    """Make a pool; its manifest."""
    return asyncio.run(make(PromptPool(load_config(PromptPoolConfig, words=[*OFF, *words])), out, update=update)).manifest


def lines(path: Path, given_rows: Iterable[Mapping[str, Any]]) -> Path:
    """A file of JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in given_rows), encoding="utf-8")
    return path


def question(number: int) -> str:
    """A prompt that no filter drops, different for every number from the first word on."""
    return (f"Number {number}: what would a patient observer learn of {THINGS[number % 10]} in month "
            f"{number // 10} of the year?")


def pool(path: Path, count: int, **more: Any) -> str:
    """A setting that names a file with so many prompts."""
    return f"data={lines(path, ({'prompt': question(number), **more} for number in range(count)))}"


def dealt(out: Path) -> dict[str, list[str]]:
    """Ids by split."""
    splits = sorted({file.name.partition("-")[0] for file in out.glob("data/*.parquet")})
    return {split: [row["id"] for row in rows(out, f"data/{split}-*.parquet")] for split in splits}


class TestRows:
    def test_a_row_is_a_task_with_all_that_its_source_says(self, tmp_path: Path, out: Path) -> None:
        file = lines(tmp_path / "p.jsonl", [{
            "id": "theirs", "category": "birds", "tags": ["nests"], "prompt": "Why do magpies nest high?",
            "reference": "For safety.", "checklist": ["Names safety"]}])
        manifest = build(out, f"data={file}", "parts=1")
        row, = rows(out)
        name = hash_of([user("Why do magpies nest high?")])
        assert list(row) == [column.name for column in columns(PoolRow)]
        assert {key: value for key, value in row.items() if value is not None} == {
            "id": name, "prompt": [user("Why do magpies nest high?")], "category": "birds", "tags": ["nests"],
            "reference": "For safety.", "checklist": ["Names safety"], "source": str(file), "source_row": 1, "words": 5,
            "characters": 25, "recipe": "prompt-pool", "model": "", "seed": 0, "calls": []}
        task, = read_tasks(str(out), split="part1")
        assert (task.id, task.conversation, task.category, task.tags, task.reference, task.checklist) == (
            name, (user("Why do magpies nest high?"),), "birds", ("nests",), "For safety.", ("Names safety",))
        assert manifest["rows"]["splits"] == {"part1": 1}
        assert manifest["calls"] == {"made": 0, "cached": 0, "failed": 0}
        assert manifest["notes"]["data"][0]["source"] == str(file)

    @pytest.mark.parametrize(("row", "prompt"), [
        ({"prompt": [system("Be brief."), user("One?")]}, [system("Be brief."), user("One?")]),
        ({"messages": [user("One?"), assistant("1"), user("Two?"), assistant("2")]},
         [user("One?"), assistant("1"), user("Two?")]),
        ({"instruction": "Add.", "input": "1 and 2", "output": "3"}, [user("Add.\n\n1 and 2")]),
        ({"conversations": [{"from": "human", "value": "Hello?"}, {"from": "gpt", "value": "Hi"}]}, [user("Hello?")]),
        ({"prompt": "One?", "chosen": "1", "rejected": "2"}, [user("One?")]),
        ({"turns": [{"content": "One?"}], "question_id": "q"}, [user("One?")]),
        ({"question": "One?"}, [user("One?")]),
    ])
    def test_formats(self, tmp_path: Path, out: Path, row: dict[str, Any], prompt: list[dict[str, str]]) -> None:
        build(out, f"data={lines(tmp_path / 'p.jsonl', [row])}", "parts=1")
        assert [row["prompt"] for row in rows(out)] == [prompt]

    def test_the_first_turn_alone(self, tmp_path: Path, out: Path) -> None:
        talk = {"messages": [system("Be brief."), user("One?"), assistant("1"), user("Two?"), assistant("2")]}
        build(out, f"data={lines(tmp_path / 'p.jsonl', [talk])}", "parts=1", "turns=first")
        assert [row["prompt"] for row in rows(out)] == [[user("One?")]]

    def test_magpies_category_counts(self, tmp_path: Path, out: Path) -> None:
        magpie = {"messages": [user("One?"), assistant("1")], "task_category": "Math", "turns": 1}
        build(out, f"data={lines(tmp_path / 'p.jsonl', [magpie])}", "parts=1")
        assert [row["category"] for row in rows(out)] == ["Math"]

    def test_rows_without_a_prompt_are_rejected_with_their_place(self, tmp_path: Path, out: Path) -> None:
        file = lines(tmp_path / "p.jsonl", [{"prompt": 3}, {"prompt": "One?"}, {"prompt": "  "}, {"answer": "x"}])
        build(out, f"data={file}", "parts=1")
        assert [row["prompt"] for row in rows(out)] == [[user("One?")]]
        assert [(row["reject_reason"], row["source"], row["source_row"]) for row in rejects(out)] == [
            ("not messages", str(file), 1), ("empty prompt", str(file), 3), ("no conversation", str(file), 4)]

    def test_only_the_first_rows_are_read(self, tmp_path: Path, out: Path) -> None:
        first, second = pool(tmp_path / "a.jsonl", 3)[5:], pool(tmp_path / "b.jsonl", 9)[5:]
        manifest = build(out, f"data=[{first},{second}]", "n=7", "parts=1")
        kept = Counter(row["source"] for row in rows(out)) + Counter(row["source"] for row in rejects(out))
        assert kept == {first: 3, second: 4}
        assert manifest["rows"]["in"] == 7
        assert "Only" not in (out / "report.html").read_text()  # n is no number of rows that are wanted


class TestFilters:
    @pytest.mark.parametrize(("words", "kept"), [
        (["languages=[]"], "edn"), (["languages=[en]"], "e"), (["languages=[en,de]"], "ed"), (["languages=[und]"], "n")])
    def test_languages(self, tmp_path: Path, out: Path, words: list[str], kept: str) -> None:
        texts = {"e": "What would a patient observer learn about the nests of magpies?",
                 "d": "Was lernt ein geduldiger Beobachter über die Nester der Elstern?", "n": "x = [1, 2]"}
        build(out, f"data={lines(tmp_path / 'p.jsonl', [{'prompt': text} for text in texts.values()])}", "parts=1", *words)
        assert {row["prompt"][0]["content"] for row in rows(out)} == {texts[letter] for letter in kept}
        assert {row["reject_reason"] for row in rejects(out)} <= {"language not wanted"}

    def test_a_language_that_is_none_is_refused(self, tmp_path: Path, out: Path) -> None:
        with pytest.raises(UsageError, match="languages: 'english' is no language that can be told; did you mean 'en'"):
            build(out, pool(tmp_path / "p.jsonl", 2), "parts=1", "languages=[english]")

    @pytest.mark.parametrize(("words", "kept", "reasons"), [
        (["min_length=3", "max_length=4"], {"a b c", "a b c d"}, {"shorter than 3 words": 1, "longer than 4 words": 1}),
        (["min_length=4", "length_unit=characters"], {"a b c", "a b c d", "a b c d e"}, {"shorter than 4 characters": 1}),
        (["min_length=0"], {"a b", "a b c", "a b c d", "a b c d e"}, {})])
    def test_lengths(self, tmp_path: Path, out: Path, words: list[str], kept: set[str], reasons: dict[str, int]) -> None:
        texts = ["a b", "a b c", "a b c d", "a b c d e"]
        manifest = build(out, f"data={lines(tmp_path / 'p.jsonl', [{'prompt': text} for text in texts])}", "parts=1", *words)
        assert {row["prompt"][0]["content"] for row in rows(out)} == kept
        assert manifest["rows"]["rejected"] == reasons

    @pytest.mark.parametrize("rich", ["One two three four", "one, TWO three five"])
    def test_equal_beginnings(self, tmp_path: Path, out: Path, rich: str) -> None:
        """Whichever of two has a reference stays, so it is not their hashes that decide."""
        texts = ["One two three four", "one, TWO three five", "one two thrice", "one two", "one two"]
        file = lines(tmp_path / "p.jsonl", [{"prompt": text, "reference": "r" if text == rich else ""} for text in texts])
        build(out, f"data={file}", "parts=1", "prefix=3")
        assert {row["prompt"][0]["content"] for row in rows(out)} == {rich, "one two thrice", "one two"}
        assert {(row["reject_reason"], row["reject_detail"]) for row in rejects(out)} == {
            ("the same first 3 words", f"as {hash_of([user(rich)])}"), ("the same prompt", f"as {hash_of([user('one two')])}")}

    def test_prompts_without_a_word_have_no_equal_beginning(self, tmp_path: Path, out: Path) -> None:
        texts = ["?!", "...", "+++ ---", "one two", "One, two"]
        build(out, f"data={lines(tmp_path / 'p.jsonl', [{'prompt': text} for text in texts])}", "parts=1", "prefix=2")
        assert [row["prompt"][0]["content"] for row in rejects(out)] in (["one two"], ["One, two"])

    def test_copies(self, tmp_path: Path, out: Path) -> None:
        long = " ".join(f"word{number}" for number in range(60))
        texts = [long, long.upper(), f"{long} more", "Something else entirely, about magpies"]
        file = lines(tmp_path / "p.jsonl", [{"prompt": text} for text in texts])
        manifest = build(out, f"data={file}", "parts=1", "duplicates.exact=true", "duplicates.minhash=0.8")
        assert manifest["rows"]["rejected"] == {"copy": 1, "near copy (MinHash)": 1}
        assert len(rows(out)) == 2

    @pytest.mark.parametrize("rich", range(3))
    @pytest.mark.parametrize("words", [["duplicates.exact=true"], ["duplicates.embedder=hash"]])
    def test_of_copies_the_one_that_says_most_stays(self, tmp_path: Path, out: Path, rich: int, words: list[str]) -> None:
        texts = ["what do magpies eat in winter", "What do magpies eat in winter", "What do Magpies eat in winter"]
        file = lines(tmp_path / "p.jsonl", [{"prompt": text, "tags": ["t"], "checklist": ["c"] if place == rich else []}
                                            for place, text in enumerate(texts)])
        build(out, f"data={file}", "parts=1", *words)
        assert [row["prompt"][0]["content"] for row in rows(out)] == [texts[rich]]

    def test_near_embeddings_are_copies_where_that_is_asked_for(self, tmp_path: Path, out: Path) -> None:
        texts = ["what do magpies eat in winter", "What do magpies eat in winter", "how tall is a poplar"]
        file = lines(tmp_path / "p.jsonl", [{"prompt": text} for text in texts])
        manifest = build(out, f"data={file}", "parts=1", "duplicates.embedder=hash")
        assert manifest["rows"]["rejected"] == {"near copy (embedding)": 1}
        assert {row["embedder"] for row in rows(out)} == {"hash"}

    def test_the_very_same_prompt_is_one_row_in_any_case(self, tmp_path: Path, out: Path) -> None:
        says = [{}, {"reference": "1", "checklist": ["Says 1"]}, {"tags": ["a"]}]
        build(out, f"data={lines(tmp_path / 'p.jsonl', [{'prompt': 'One?', **more} for more in says])}", "parts=1")
        name = hash_of([user("One?")])
        assert [(row["id"], row["reference"]) for row in rows(out)] == [(name, "1")]  # the one that says most stays
        assert [(row["id"], row["tags"], row["reject_reason"], row["reject_detail"]) for row in rejects(out)] == [
            (f"{name}-2", ["a"], "the same prompt", f"as {name}"), (f"{name}-3", [], "the same prompt", f"as {name}")]


class TestContamination:
    PROMPT = "Explain to a curious child how a magpie that finds a mirror on the lawn comes to know that the bird in it is itself"
    NEAR = PROMPT.replace("curious child", "curious kid").replace("on the lawn comes", "in the lawn gets")

    def evaluation(self, path: Path) -> Path:
        return lines(path, [{"question": "What is two and two?"}, {"prompt": [system("Be kind."), user(self.PROMPT)]}])

    def test_words_in_a_row_and_nearness_are_caught(self, tmp_path: Path, out: Path) -> None:
        near = self.NEAR
        texts = [f"Please do this at once. {self.PROMPT}, in rhymes", near, "Name three rivers that flow through Vienna, please"]
        file = lines(tmp_path / "p.jsonl", [{"prompt": text} for text in texts])
        evaluation = self.evaluation(tmp_path / "e.jsonl")
        manifest = build(out, f"data={file}", "parts=1", f"decontaminate=[{evaluation}]", "embedder=hash", "distance=0.5")
        kept, = rows(out)
        assert kept["prompt"][0]["content"] == texts[2]
        assert kept["evaluation_distance"] > 0.5 and kept["evaluation_nearest"] in {f"{evaluation} 0", f"{evaluation} 1"}
        found = {row["prompt"][0]["content"]: row for row in rejects(out)}
        assert {row["reject_reason"] for row in found.values()} == {"holds an evaluation prompt"}
        assert "shares 'explain to a curious child how a magpie that finds a mirror on'" in found[texts[0]]["reject_detail"]
        assert f"from prompt 1 of {evaluation}" in found[near]["reject_detail"]
        assert 0 < found[near]["evaluation_distance"] <= 0.5 and found[near]["evaluation_nearest"] == f"{evaluation} 1"
        assert manifest["notes"]["evaluations"] == {
            "prompts": {str(evaluation): 2}, "looked_at": 3, "by_words": 1, "by_distance": 1, "ngram": 13, "embedder": "hash",
            "distance": 0.5}
        assert "warnings" not in manifest["notes"]

    def test_a_prompt_at_the_very_distance_is_taken_for_the_evaluations(self, tmp_path: Path, out: Path) -> None:
        """Without a word there is nothing but the embedding to go by, and its distance to itself is 0."""
        evaluation = lines(tmp_path / "e.jsonl", [{"prompt": "?! ?! ?!"}])
        file = lines(tmp_path / "p.jsonl", [{"prompt": "?! ?! ?!"}, {"prompt": "Anything else?"}])
        manifest = build(out, f"data={file}", "parts=1", f"decontaminate={evaluation}", "embedder=hash", "distance=0")
        assert [row["prompt"][0]["content"] for row in rows(out)] == ["Anything else?"]
        assert (manifest["notes"]["evaluations"]["by_words"], manifest["notes"]["evaluations"]["by_distance"]) == (0, 1)

    def test_every_prompt_is_measured_however_many_are_embedded_at_a_time(self, tmp_path: Path) -> None:
        evaluation = lines(tmp_path / "e.jsonl", [{"prompt": question(number)} for number in (4, 2, 0)])
        config = load_config(PromptPoolConfig, words=["data=unread", f"decontaminate={evaluation}", "embedder=hash"])
        found = []
        for chunk in (1, 2, 5, 100):
            ready = Evaluations(config, chunk=chunk)
            assert ready.embedder is not None
            found.append(ready.nearest([question(number) for number in range(5)], ready.embedder, Progress("quiet")))
        assert found[0] == found[1] == found[2] == found[3]
        assert [near.place for near in found[0] if near.distance == 0] == [2, 1, 0]
        assert len(found[0]) == 5

    def test_an_evaluation_that_changed_makes_another_pool(self, tmp_path: Path, out: Path) -> None:
        evaluations = [tmp_path / "e.jsonl", tmp_path / "e.txt"]
        words = [pool(tmp_path / "p.jsonl", 4), "parts=1", f"decontaminate=[{evaluations[0]},{evaluations[1]}]", "embedder=none"]
        lines(evaluations[0], [{"prompt": "Something else entirely?"}])
        evaluations[1].write_text("Something else again?\n")
        build(out, *words)
        for number, evaluation in enumerate(evaluations, 1):
            evaluation.write_text(f"{json.dumps({'prompt': question(number)}) if number == 1 else question(number)}\n")
            with pytest.raises(FolderError, match="--update"):
                build(out, *words)
            build(out, *words, update=True)
            assert len(rows(out)) == 4 - number

    def test_without_embeddings_words_alone_count(self, tmp_path: Path, out: Path) -> None:
        texts = [self.PROMPT, self.NEAR]
        file = lines(tmp_path / "p.jsonl", [{"prompt": text} for text in texts])
        build(out, f"data={file}", "parts=1", f"decontaminate={self.evaluation(tmp_path / 'e.jsonl')}", "embedder=none")
        assert [(row["prompt"][0]["content"], row["evaluation_distance"]) for row in rows(out)] == [(texts[1], None)]

    def test_shipped_tasks_texts_and_folders_are_evaluations(self, tmp_path: Path, out: Path) -> None:
        shipped = read_tasks("pica")[0].conversation[-1]["content"]
        held = lines(tmp_path / "held.jsonl", [{"prompt": question(number)} for number in range(4)])
        build(tmp_path / "test", f"data={held}", "parts=2", "held_out=1")
        (tmp_path / "e.txt").write_text("How tall is the tallest poplar?\n", encoding="utf-8")
        texts = [shipped, *(question(number) for number in range(4)), "How tall is the tallest poplar?", "Anything else?"]
        file = lines(tmp_path / "p.jsonl", [{"prompt": text} for text in texts])
        manifest = build(out, f"data={file}", "parts=1", f"decontaminate=[pica,{tmp_path / 'e.txt'},{tmp_path / 'test'}]",
                         "embedder=none")
        assert [row["prompt"][0]["content"] for row in rows(out)] == ["Anything else?"]
        assert manifest["notes"]["evaluations"]["prompts"] == {
            "pica": len(read_tasks("pica")), str(tmp_path / "e.txt"): 1, str(tmp_path / "test"): 4}

    def test_no_evaluation_is_warned_of(self, tmp_path: Path, out: Path) -> None:
        warning, = build(out, pool(tmp_path / "p.jsonl", 3), "parts=1")["notes"]["warnings"]
        assert warning.startswith("no evaluation was named")

    @pytest.mark.parametrize(("text", "complaint"), [
        ('{"answer": 1}\n', "row 1 of train: no conversation"), ("", "holds no rows")])
    def test_a_bad_evaluation_is_an_error(self, tmp_path: Path, out: Path, text: str, complaint: str) -> None:
        (tmp_path / "e.jsonl").write_text(text)
        with pytest.raises(UsageError, match=complaint):
            build(out, pool(tmp_path / "p.jsonl", 3), f"decontaminate={tmp_path / 'e.jsonl'}", "embedder=none")


class TestDeal:
    def test_parts_are_disjoint_and_complete(self, tmp_path: Path, out: Path) -> None:
        manifest = build(out, pool(tmp_path / "p.jsonl", 100), "held_out=7")
        assert manifest["rows"]["splits"] == {"held_out": 7, "part1": 11, "part2": 11, "part3": 11, "part4": 10, "part5": 10,
                                              "part6": 10, "part7": 10, "part8": 10, "part9": 10}
        names = [name for split in dealt(out).values() for name in split]
        assert sorted(names) == sorted(hash_of([user(question(number))]) for number in range(100))
        assert manifest["notes"]["parts"]["part1"]["rows"] == 11

    @given(st.integers(0, 60), st.integers(0, 20), st.integers(1, 12), st.booleans())
    def test_the_deal(self, count: int, held_out: int, number: int, by_size: bool) -> None:
        held_out = min(held_out, count)
        names = deal(count, held_out=held_out, **{"part_size" if by_size else "parts": number})
        sizes = Counter(names)
        assert len(names) == count and sizes.pop("held_out", 0) == held_out
        if by_size:
            full, left = divmod(count - held_out, number)
            every = [number] * full + ([left] if left else [])
            assert sizes == {f"part{place}": size for place, size in enumerate(every, 1)}
        else:
            every = [sizes[f"part{place + 1}"] for place in range(number)]
            assert sum(every) == count - held_out and max(every) - min(every) <= 1

    def test_equal_input_gives_equal_bytes_whatever_its_order(self, tmp_path: Path) -> None:
        texts = [{"prompt": question(number), "category": "ab"[number % 2]} for number in range(40)]
        ways = {"one": texts, "two": texts[::-1]}
        for name, given_rows in ways.items():
            build(tmp_path / name, f"data={lines(tmp_path / f'{name}.jsonl', given_rows)}", "held_out=5", "parts=3", "prefix=10")
        facts = [[{key: value for key, value in row.items() if key not in {"source", "source_row"}}
                  for row in rows(tmp_path / name)] for name in ways]
        assert facts[0] == facts[1]
        first, second = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
        build(tmp_path / "ab", f"data=[{first},{second}]", "parts=3")
        build(tmp_path / "ba", f"data=[{second},{first}]", "parts=3")
        assert data(tmp_path / "ab") == data(tmp_path / "ba")

    @hypothesis_settings(max_examples=15, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(["a b c", "A b c", "a b d", "a b c e", "x y z", "q"]),
                              st.sampled_from(["", "r", "s"])), min_size=1, max_size=8), st.randoms())
    def test_what_stays_does_not_depend_on_the_order(self, tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]],
                                                     rng: Any) -> None:
        path, found = tmp_path_factory.mktemp("pool"), []
        for name in ("one", "two"):
            file = lines(path / f"{name}.jsonl", [{"prompt": text, "reference": reference} for text, reference in pairs])
            build(path / name, f"data={file}", "parts=1", "prefix=2", "duplicates.exact=true")
            found.append([(row["id"], row["reference"]) for row in rows(path / name)])
            rng.shuffle(pairs)
        assert found[0] == found[1]

    def test_the_seed_decides(self, tmp_path: Path) -> None:
        words = [pool(tmp_path / "p.jsonl", 30), "parts=3"]
        for name, seed in (("a", 1), ("b", 1), ("c", 2)):
            build(tmp_path / name, *words, f"seed={seed}")
        assert data(tmp_path / "a") == data(tmp_path / "b")
        assert {frozenset(part) for part in dealt(tmp_path / "a").values()} != {
            frozenset(part) for part in dealt(tmp_path / "c").values()}

    def test_with_a_size_a_part_stays_what_it_is(self, tmp_path: Path, out: Path) -> None:
        build(out, pool(tmp_path / "p.jsonl", 30), "held_out=4", "part_size=8")
        parts = dealt(out)
        sizes = {name: len(part) for name, part in parts.items()}
        assert sizes == {"held_out": 4, "part1": 8, "part2": 8, "part3": 8, "part4": 2}
        build(tmp_path / "fewer", pool(tmp_path / "p.jsonl", 30), "held_out=4", "part_size=13")
        assert dealt(tmp_path / "fewer")["part1"] == (parts["part1"] + parts["part2"])[:13]

    def test_doing_it_again_does_nothing(self, tmp_path: Path, out: Path) -> None:
        words = [pool(tmp_path / "p.jsonl", 12), "parts=2"]
        first = build(out, *words)
        made = [file for file in sorted(out.rglob("*")) if file.is_file() and not file.name.startswith(".")]
        before = [file.stat().st_mtime_ns for file in made]
        assert build(out, *words) == first
        assert before == [file.stat().st_mtime_ns for file in made] and len(made) > 5


class TestErrors:
    def test_too_few_prompts_say_what_was_dropped(self, tmp_path: Path, out: Path) -> None:
        texts = ["One?"] * 5 + [question(1)] * 2 + ["", "  "]
        file = lines(tmp_path / "p.jsonl", [{"prompt": text} for text in texts])
        with pytest.raises(UsageError) as caught:
            build(out, f"data={file}", "parts=3", "held_out=2", "min_length=10")
        assert str(caught.value) == (
            "1 of 9 prompts are left, and held_out=2 and parts=3 need 5 at least; dropped: the same prompt (5), empty prompt "
            "(2), shorter than 10 words (1). Give more prompts, loosen what drops them, or ask for fewer")
        build(out, f"data={file}", "parts=1")  # the folder is free for other settings
        assert len(rows(out)) == 2

    def test_nothing_but_empty_prompts(self, tmp_path: Path, out: Path) -> None:
        file = lines(tmp_path / "p.jsonl", [{"prompt": ""}] * 600)
        with pytest.raises(UsageError, match="0 of 600 prompts are left, and part_size=4 need 1 at least; dropped: empty"):
            build(out, f"data={file}", "part_size=4")

    @pytest.mark.parametrize(("words", "complaint"), [
        ([], "name the prompts: data=PROMPTS.jsonl"),
        (["data=[a,a]"], "data names 'a' twice"),
        (["data=a", "min_length=5", "max_length=4"], "max_length=4 is below min_length=5"),
        (["data=a", "parts=2", "part_size=3"], "parts=2 and part_size=3 are two ways to deal"),
        (["data=a", "part=2"], "unknown key 'part'; did you mean 'parts'"),
        (["data=/no/such/file.jsonl"], "no file or folder /no/such/file.jsonl")])
    def test_bad_settings(self, out: Path, words: list[str], complaint: str) -> None:
        with pytest.raises(UsageError, match=complaint):
            build(out, *words)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = pool(tmp_path / "a.jsonl", 20, category="birds")[5:], pool(tmp_path / "b.jsonl", 30, category="trees")[5:]
    words = ["run", "prompt-pool", f"data=[{first},{second}]", "parts=3", "held_out=5", "decontaminate=[pica]", "embedder=hash"]
    assert main([*words, "--plan"]) == 0
    assert "calls   0" in capsys.readouterr().out
    assert main([*words, "--out", str(tmp_path / "P"), "--quiet"]) == 0
    assert "rejected 20: the same prompt" in capsys.readouterr().out
    report = (tmp_path / "P" / "report.html").read_text()
    for title in ("Parts", "Categories by part", "Sources by part", "Why rows were rejected", "evaluation_distance"):
        assert title in report, title
    card = (tmp_path / "P" / "README.md").read_text()
    assert "No prompt shares 13 words in a row with a prompt of pica or within a squared distance of 0.05" in card
    tasks = read_tasks(str(tmp_path / "P"), split="part2", categories=["trees"])
    assert 0 < len(tasks) <= 10
