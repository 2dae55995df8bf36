"""Arena-Hard's files: both schemas there and back, how verdicts are read, names of files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hard import HARD_BASE, asked, v01, v2, write
from hypothesis import given
from hypothesis import strategies as st

from pica.eval.arena_hard_export import official_files, safe_names
from pica.eval.arena_hard_files import (
    BASELINES,
    V01,
    Schema,
    answer_row,
    chosen,
    judgment,
    judgment_row,
    official_answer,
    parts_of,
    question_row,
    read_judgments,
    read_questions,
    read_tokens,
)
from pica.eval.arena_hard_labels import PARSERS, WRITTEN, canonical, given_games
from pica.eval.battle import MIRROR
from pica.eval.contestants import read_answers
from pica.synth.errors import UsageError

STYLE = {"token_len": 628, "header_count": {f"h{n}": 0 for n in range(1, 7)}, "list_count": {"ordered": 6, "unordered": 0},
         "bold_count": {"**": 6, "__": 0}}
QUESTIONS: dict[Schema, list[dict[str, Any]]] = {
    "v0.1": [{"question_id": "a1", "category": V01, "cluster": "SQL joins", "turns": [{"content": "Join {these}."}]}],
    "v2": [{"uid": "b1", "category": "hard_prompt", "subcategory": "coding", "prompt": "Écris du code."},
           {"uid": "b2", "category": "creative_writing", "subcategory": "creative_writing", "prompt": "A poem\n"},
           {"uid": "a1", "category": V01, "cluster": "SQL joins", "prompt": "Join {these}."}],
}
ANSWERS: dict[Schema, list[dict[str, Any]]] = {
    "v0.1": [{"question_id": "a1", "answer_id": "kx", "model_id": "gpt-4-0613",
              "choices": [{"index": 0, "turns": [{"content": "Use [[A>B]].", "token_len": 628}]}], "tstamp": 1711076966.37},
             {"question_id": "a1", "answer_id": "kx", "model_id": "gpt-4-0613",
              "choices": [{"index": 0, "turns": [{"content": "Use.", "token_len": 628}]}], "tstamp": 1.5,
              "conv_metadata": STYLE}],
    "v2": [{"uid": "b1", "ans_id": "z", "model": "sky", "messages": [
        {"role": "user", "content": "Écris du code."}, {"role": "assistant", "content": {"answer": "# ok", "thought": "well"}}],
        "tstamp": 1745605748.4, "metadata": STYLE}],
}


@pytest.mark.parametrize("schema", ["v0.1", "v2"])
def test_questions_there_and_back(tmp_path: Path, schema: Schema) -> None:
    tasks = read_questions(str(write(tmp_path / "question.jsonl", QUESTIONS[schema])))
    assert [question_row(task, schema) for task in tasks] == QUESTIONS[schema]


def test_questions_have_their_official_category_and_can_be_chosen_by_both(tmp_path: Path) -> None:
    tasks = read_questions(str(write(tmp_path / "question.jsonl", QUESTIONS["v2"])))
    assert [(task.category, task.tags) for task in tasks] == [
        ("hard_prompt", ("coding",)), ("creative_writing", ("creative_writing",)), (V01, ("SQL joins",))]
    assert [task.id for task in chosen(tasks, "q", n=0, categories=["coding", V01])] == ["b1", "a1"]
    assert [task.id for task in chosen(tasks, "q", n=1, categories=["creative_writing", V01])] == ["b2"]
    with pytest.raises(UsageError, match=r"^q has no question of category 'math'; it has: arena-hard-v0.1, creative_"):
        chosen(tasks, "q", n=0, categories=["math"])


@pytest.mark.parametrize("schema", ["v0.1", "v2"])
def test_answers_there_and_back(schema: Schema) -> None:
    read = [official_answer(row) for row in ANSWERS[schema]]
    assert [answer_row(answer, schema) for answer in read if answer] == ANSWERS[schema]
    assert [answer.tokens for answer in read if answer] == [628] * len(read)


def test_answers_change_schema_with_all_that_both_can_hold() -> None:
    answer = official_answer(ANSWERS["v2"][0])
    assert answer is not None
    assert answer_row(answer, "v0.1") == {
        "question_id": "b1", "answer_id": "z", "model_id": "sky", "tstamp": 1745605748.4, "conv_metadata": STYLE,
        "choices": [{"index": 0, "turns": [{"content": "# ok", "token_len": 628}]}]}
    assert official_answer({"instruction": "x", "output": "y"}) is None


def test_token_counts_are_read_beside_the_answers(tmp_path: Path) -> None:
    write(tmp_path / "answers" / "gpt-4-0613.jsonl", ANSWERS["v0.1"][:1])
    write(tmp_path / "answers" / "sky.jsonl", ANSWERS["v2"])
    found = {model: {key: answer.tokens for key, answer in by.items()} for model, by in read_tokens(tmp_path / "answers").items()}
    assert found == {"gpt-4-0613": {"a1": 628}, "sky": {"b1": 628}}
    assert read_answers(str(tmp_path / "answers")) == {"gpt-4-0613": {"a1": "Use [[A>B]]."}, "sky": {"b1": "# ok"}}


@pytest.mark.parametrize(("schema", "row"), [
    ("v0.1", v01("q", "m", ("A>>B", None))), ("v2", v2("q", "m", ("A>B", "B>A"))), ("v2", v2("q", "m", ("A>B", None), null=[1]))])
def test_judgments_there_and_back(schema: Schema, row: dict[str, Any]) -> None:
    assert judgment_row(judgment(row), schema) == row


def test_judgments_change_schema() -> None:
    old, new = v01("q", "m", ("A>>B", "B>A")), v2("q", "m", ("A>>B", "B>A"))
    assert judgment_row(judgment(old), "v2")["games"][0] == {
        "score": "A>>B", "judgment": {"answer": "I judge: [[A>>B]]"},
        "prompt": [{"role": "user", "content": old["games"][0]["user_prompt"]}]}
    assert judgment_row(judgment(new), "v0.1")["games"][1] == {
        "user_prompt": asked("ask q", "x", "y"), "judgment": "[[B>A]]", "score": "B>A"}
    mixed = {**v2("q", "m", ()), "games": old["games"]}  # v0.1's data as v2's code keeps it
    assert judgment(mixed).games == judgment(old).games
    assert judgment(mixed).baseline == HARD_BASE


@pytest.mark.parametrize(("row", "says"), [
    ({"uid": "q"}, "is no judgment"), ({"games": []}, "is no judgment"), ({"uid": "q", "games": "x"}, "is no judgment"),
    ({"uid": "q", "games": [{}, {}, {}]}, "has 3 games"), ({"uid": "q", "games": ["A>B"]}, "has 1 games"),
])
def test_what_is_no_judgment_is_refused_with_its_place(tmp_path: Path, row: dict[str, Any], says: str) -> None:
    file = write(tmp_path / "judge" / "m.jsonl", [v01("q", "m", ("A>B", "A>B")), row])
    with pytest.raises(UsageError, match=f"{re.escape(str(file))}, row 2 {says}"):
        read_judgments(str(tmp_path))


def test_folders_of_judgments(tmp_path: Path) -> None:
    bare = {key: value for key, value in v01("q1", "m", ("A>B", "A>B")).items() if key not in {"model", "judge"}}
    write(tmp_path / "b" / "model_judgment" / "one" / "m.jsonl", [bare, {**bare, "question_id": "q2"}, bare])
    write(tmp_path / "b" / "model_judgment" / "two" / "m.jsonl", [bare])
    write(tmp_path / "b" / "model_judgment" / "two" / "empty.jsonl", [])
    found, warnings = read_judgments(str(tmp_path / "b"))
    assert [(made.model, made.judge, made.question) for made in found] == [
        ("m", "one", "q1"), ("m", "one", "q2"), ("m", "two", "q1")]
    assert warnings == [f"{tmp_path / 'b' / 'model_judgment' / 'two' / 'empty.jsonl'} holds no judgment",
                        "1 judgments of m by one stand more than once (such as q1); the first of them counts"]
    assert len(read_judgments(str(tmp_path / "b" / "model_judgment" / "two"))[0]) == 1
    for name, says in ((tmp_path / "no", "no such file or folder"), (tmp_path, "holds no judgment")):
        with pytest.raises(UsageError, match=says):
            read_judgments(str(name))


def test_what_the_judge_was_shown_is_read_out_of_its_prompt() -> None:
    assert parts_of(judgment(v01("q", "m", ("A>B", "A>B"), mine="mine\n\n", base=""))) == ("ask q", "baseline on q", "mine\n\n")
    row = v01("q", "m", ("A>B", "A>B"), mine="x <|The End of Assistant B's Answer|> y")  # a mark in an answer: not told apart
    assert parts_of(judgment(row)) is None
    assert parts_of(judgment({"uid": "q", "games": [None, None]})) is None
    second = v01("q", "m", ("A>B", "A>B"))
    second["games"][0] = None  # in game 2 the model is A
    assert parts_of(judgment(second)) == ("ask q", "baseline on q", "m on q")
    text = asked("ask", "one", "two")
    turned = re.sub("Assistant (A|B)", lambda side: "Assistant " + {"A": "B", "B": "A"}[side[1]], text)
    assert parts_of(judgment({"uid": "q", "games": [{"score": "A>B", "user_prompt": turned}]})) is None
    mark = "<|The {} of Assistant {}'s Answer|>"
    torn = "\n".join(("<|User Prompt|>", "ask", mark.format("End", "A"), mark.format("Start", "B"), "x",
                      mark.format("Start", "A"), mark.format("End", "B")))
    assert parts_of(judgment({"uid": "q", "games": [{"score": "A>B", "user_prompt": torn}]})) is None
    assert parts_of(judgment({"uid": "q", "games": [{"score": "A>B", "user_prompt": f"Note: {text}"}]})) is None


LABELS = ["A>>B", "A>B", "A=B", "B>A", "B>>A"]


@pytest.mark.parametrize(("text", "pica", "first", "second"), [
    *((f"so [[{label}]]", label, label, label) for label in LABELS),
    ("[[a>>b]]", "A>>B", None, "A>>B"),
    ("[[A>B]] then [[B>A]]", "B>A", None, "B>A"),
    ("[[A>B]] and again [[A>B]]", "A>B", "A>B", "A>B"),
    ("[[A > B]]", "A>B", None, None),
    ("[[A]]", None, None, None),
    ("only code: x[b] = 1", None, None, None),
    ("[[B<A]]", "A>B", "A>B", "A>B"),
    ("[[A<<B]]", "B>>A", "B>>A", "B>>A"),
    ("[[A>B]] but x[b]", "A>B", "A>B", "A>B"),
    ("at last\n[A>>B]", "A>>B", None, "A>>B"),
    ("x[a>b] = 0\nno verdict", None, None, "A>B"),
    ("[[C>D]]", None, None, None),
    ("[[A>A]]", None, None, None),
    ("", None, None, None),
    ("[[A>B]] and [[A]]", "A>B", None, None),
])
def test_verdicts_are_read_by_each_version(text: str, pica: str | None, first: str | None, second: str | None) -> None:
    found = {name: canonical(label) if (label := read(text)) is not None else None for name, read in PARSERS.items()}
    assert {name: WRITTEN.get(label) if label else None for name, label in found.items()} == {
        "pica": pica, "v0.1": first, "v2": second}


def test_the_ten_labels_that_v2_knows() -> None:
    known = {"A>B": "a>b", "A>>B": "a>>b", "A=B": "a=b", "A<B": "b>a", "A<<B": "b>>a", "B>A": "b>a", "B>>A": "b>>a", "B=A": "a=b",
             "B<A": "a>b", "B<<A": "a>>b"}
    assert {label: canonical(label) for label in known} == known
    assert [canonical(label) for label in ("A", "B", "A>>>B", "A>=B", "AB", "", None, 3, ["A>B"], "A>B>A")] == [None] * 10


@given(st.sampled_from(LABELS), st.text(alphabet="ab []>=<\n", max_size=40))
def test_a_last_label_in_double_brackets_is_always_read_by_ours(label: str, before: str) -> None:
    assert PARSERS["pica"](f"{before} [[{label}]]") == label
    assert canonical(label[::-1].translate(str.maketrans("<>", "><"))) == canonical(label)


def test_games_are_in_terms_of_the_baseline_and_keep_their_text() -> None:
    one, other = given_games(judgment(v01("q", "m", ("A>>B", "A>>B"))), "stored", ("ab", "ba"))
    assert (one.order, one.verdict, other.order, other.verdict) == ("ab", "a>>b", "ba", "b>>a")
    assert (one.text, one.parser, one.judge) == ("I judge: [[A>>B]]", "arena-hard-stored", "gpt-4-1106-preview")
    again = given_games(judgment(v01("q", "m", (None, "A>B"))), "v2", ("ab", "ba"))
    assert [(game.verdict, game.problem) for game in again] == [(None, "no label"), ("b>a", "")]
    odd = judgment({"uid": "q", "model": "m", "judge": "j", "games": [None, {"score": {"A": 1}}]})
    assert [game.problem for game in given_games(odd, "stored", ("ab", "ba"))] == ["null game", "unknown label {'A': 1}"]
    assert [game.problem for game in given_games(odd, "pica", ("ba",))] == ["no text to read"]
    assert all(MIRROR[MIRROR[label]] == label for label in MIRROR)


def test_official_baselines() -> None:
    assert BASELINES == {"hard_prompt": "o3-mini-2025-01-31", "coding": "o3-mini-2025-01-31", "math": "o3-mini-2025-01-31",
                         "creative_writing": "gemini-2.0-flash-001", "arena-hard-v0.1": "gpt-4-0314"}


@given(st.lists(st.text(max_size=200), max_size=8))
def test_labels_become_safe_and_different_file_names(labels: list[str]) -> None:
    names = safe_names(labels)
    assert set(names) == set(labels)
    assert len({name.casefold() for name in names.values()}) == len(names)
    for name in names.values():
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9_-]|[A-Za-z0-9]", name)
        assert len(name) <= 100
        assert name.split(".")[0].upper() not in {"CON", "NUL", "AUX", "PRN", "COM1", "LPT9"}


def test_plain_names_stay_and_others_are_marked() -> None:
    names = safe_names(["gpt-4-0314", "GPT-4-0314", "openai/x@http://h/v1", "../../etc/passwd", "con", "Llama-3.1"])
    assert (names["gpt-4-0314"], names["Llama-3.1"]) == ("gpt-4-0314-" + names["gpt-4-0314"][-12:], "Llama-3.1")
    assert names["GPT-4-0314"] == "GPT-4-0314"
    assert re.fullmatch(r"openai-x-http-h-v1-[0-9a-f]{12}", names["openai/x@http://h/v1"])
    assert re.fullmatch(r"etc-passwd-[0-9a-f]{12}", names["../../etc/passwd"])
    assert re.fullmatch(r"con-[0-9a-f]{12}", names["con"])


def test_files_are_written_as_the_benchmark_lays_them_out(tmp_path: Path) -> None:
    tasks = read_questions(str(write(tmp_path / "q.jsonl", QUESTIONS["v2"][:1])))
    answers = [answer for row in ANSWERS["v2"] if (answer := official_answer(row))]
    files = official_files("v2", tasks, answers, [judgment(v2("b1", "../sky", ("A>B", "B>A"), judge="openai/j@http://h"))])
    judge, model = safe_names(["openai/j@http://h"]), safe_names(["../sky"])
    assert {name: [json.loads(line) for line in text.splitlines()] for name, text in files.items()} == {
        "question.jsonl": QUESTIONS["v2"][:1], "model_answer/sky.jsonl": ANSWERS["v2"],
        f"model_judgment/{judge['openai/j@http://h']}/{model['../sky']}.jsonl":
            [v2("b1", "../sky", ("A>B", "B>A"), judge="openai/j@http://h")]}
