"""Rows of every known format, and rows of none."""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from decimal import Decimal
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pica.synth.errors import UsageError
from pica.synth.formats import (
    CANDIDATES,
    CONVERSATIONS,
    FORMATS,
    PREFERENCES,
    BadRow,
    Candidates,
    Completion,
    Pair,
    candidates,
    conversation,
    detect,
    first_instruction,
    pair,
    prompt_of,
)
from pica.synth.models.base import Message, assistant, system, user

ASKED, GOOD, BAD = user("How many eggs?"), assistant("Six."), assistant("Ten.")
TEXTS = st.text(min_size=1, max_size=12)


def refused(function: Any, row: dict[str, Any]) -> str:
    """The one line of why the row cannot be read."""
    with pytest.raises(BadRow) as caught:
        function(row)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestDetect:
    @pytest.mark.parametrize("name", FORMATS)
    def test_each_format_by_its_columns(self, name: str) -> None:
        assert detect(["id", *FORMATS[name]]) == name

    def test_what_is_wanted_decides_where_a_dataset_is_in_several(self) -> None:
        binarized = ["prompt", "prompt_id", "chosen", "rejected", "messages", "score_chosen", "score_rejected"]
        assert detect(binarized) == "preference"
        assert detect(binarized, CONVERSATIONS) == "messages"
        assert detect(["instruction", "messages"], CONVERSATIONS) == "messages"

    def test_none_names_what_is_there_what_is_known_and_the_mend(self) -> None:
        with pytest.raises(UsageError) as caught:
            detect(["question", "answer"], PREFERENCES)
        assert str(caught.value) == ("no format that is known here has these columns: question, answer. Known: preference "
                                     "(chosen, rejected). Rename the columns to one of these")
        with pytest.raises(UsageError, match=r"has these columns: none. Known: preference .*; ultrafeedback .*; messages"):
            detect([])

    def test_every_format_belongs_to_a_use(self) -> None:
        assert {*CONVERSATIONS, *PREFERENCES, *CANDIDATES, "prompt"} == set(FORMATS)


class TestConversation:
    @pytest.mark.parametrize("row", [
        {"messages": [ASKED, GOOD]},
        {"messages": [{**ASKED, "name": None, "tool_calls": None}, {**GOOD, "tool_calls": []}]},
        {"conversations": [{"from": "human", "value": "How many eggs?"}, {"from": "gpt", "value": "Six."}]},
        {"conversations": [ASKED, GOOD]},
        {"prompt": "How many eggs?", "completion": "Six."},
        {"prompt": [ASKED], "completion": [GOOD]},
        {"prompt": [ASKED], "completion": GOOD},
        {"instruction": "How many eggs?", "input": "", "output": "Six."},
        {"instruction": "How many eggs?", "output": "Six.", "messages": None},
        {"prompt": "something else", "chosen": [GOOD], "messages": [ASKED, GOOD]},
    ])
    def test_every_format(self, row: dict[str, Any]) -> None:
        assert conversation(row) == [ASKED, GOOD]

    def test_an_input_and_a_system_message_are_kept(self) -> None:
        row = {"instruction": "Count.", "input": "eggs", "output": "Six.", "system": "Be brief."}
        assert conversation(row) == [system("Be brief."), user("Count.\n\neggs"), GOOD]

    @pytest.mark.parametrize(("row", "why"), [
        ({}, "no conversation: it has nothing"),
        ({"text": "x", "id": 3}, "no conversation: it has text, id"),
        ({"messages": []}, "no messages: messages is an empty list"),
        ({"messages": "hello"}, "not messages: messages is a text"),
        ({"messages": ["hello"]}, "not messages: messages, message 1 is a text"),
        ({"messages": [{"role": "tool", "content": "x"}]},
         "unknown role: messages, message 1 has role 'tool'; allowed: system, user, assistant"),
        ({"messages": [{"role": ["user"], "content": "x"}]},
         "unknown role: messages, message 1 has role ['user']; allowed: system, user, assistant"),
        ({"messages": [ASKED, {"role": "assistant", "content": None}]}, "not a text: messages, message 2: content is missing"),
        ({"messages": [ASKED, {"role": "assistant", "content": "", "tool_calls": [{"id": 1}]}]},
         "tool calls: messages, message 2: only text can be read"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "not a text: messages, message 1: content is a list"),
        ({"conversations": []}, "not messages: conversations is empty"),
        ({"conversations": [{"from": "bing", "value": "x"}]}, "unknown role: conversations, message 1 is from 'bing'; allowed: "
                                                              "human, user, gpt, chatgpt, assistant, system"),
        ({"conversations": [{"from": ["gpt"], "value": "x"}]}, "unknown role: conversations, message 1 is from ['gpt']; allowed: "
                                                               "human, user, gpt, chatgpt, assistant, system"),
        ({"conversations": [{"from": "gpt", "value": 3}]}, "not a text: conversations, message 1: value is a number"),
        ({"prompt": "x", "completion": b"y"}, "not messages: completion is bytes"),
        ({"instruction": "x", "output": None}, "no conversation: it has instruction"),
        ({"instruction": 3, "output": "x"}, "not a text: instruction is a number"),
    ])
    def test_a_bad_row(self, row: dict[str, Any], why: str) -> None:
        assert refused(conversation, row) == why


class TestPrompt:
    @pytest.mark.parametrize("row", [
        {"messages": [ASKED, GOOD]},
        {"messages": [ASKED]},
        {"prompt": "How many eggs?"},
        {"prompt": [ASKED], "chosen": None},
        {"prompt": "How many eggs?", "completion": "Six."},
        {"prompt": "How many eggs?", "chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]},
        {"chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]},
        {"instruction": "How many eggs?"},
        {"instruction": "How many eggs?", "output": "Six."},
        {"instruction": "How many eggs?", "completions": []},
    ])
    def test_every_format(self, row: dict[str, Any]) -> None:
        assert prompt_of(row) == [ASKED]
        assert first_instruction(row) == "How many eggs?"

    def test_earlier_turns_belong_to_it(self) -> None:
        row = {"messages": [system("s"), user("a"), assistant("b"), ASKED, GOOD]}
        assert prompt_of(row) == [system("s"), user("a"), assistant("b"), ASKED]
        assert first_instruction(row) == "a"

    @pytest.mark.parametrize("row", [{"messages": [GOOD]}, {"messages": [ASKED, GOOD, system("s")]}])
    def test_there_may_be_none(self, row: dict[str, Any]) -> None:
        assert refused(prompt_of, row) == "no prompt: no user's turn before the answer"
        assert refused(first_instruction, row) == "no prompt: no user's turn before the answer"


class TestPair:
    @pytest.mark.parametrize("row", [
        {"prompt": "How many eggs?", "chosen": "Six.", "rejected": "Ten."},
        {"prompt": [ASKED], "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": [ASKED], "chosen": "Six.", "rejected": "Ten."},
        {"prompt": "How many eggs?", "chosen": GOOD, "rejected": BAD},
        {"prompt": [ASKED], "chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]},
        {"prompt": "How many eggs?", "chosen": [ASKED, GOOD], "rejected": [ASKED, BAD], "messages": [ASKED, GOOD]},
        {"prompt": None, "chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]},
        {"chosen": "How many eggs?Six.", "rejected": "How many eggs?Ten."},
    ])
    def test_every_shape(self, row: dict[str, Any]) -> None:
        assert pair(row) == Pair([ASKED], [GOOD], [BAD], None, None)
        scored = pair({**row, "score_chosen": 8, "score_rejected": Decimal("2.5")})
        assert scored == Pair([ASKED], [GOOD], [BAD], 8.0, 2.5)

    def test_a_text_that_begins_with_its_prompt_is_an_answer_as_it_stands(self) -> None:
        row = {"prompt": "Hello", "chosen": "Hello! You?", "rejected": "Hello."}
        assert pair(row) == Pair([user("Hello")], [assistant("Hello! You?")], [assistant("Hello.")])

    def test_the_space_before_answers_is_theirs(self) -> None:
        row = {"chosen": "The sky is blue.", "rejected": "The sky is green."}
        assert pair(row) == Pair([user("The sky is")], [assistant(" blue.")], [assistant(" green.")])

    def test_conversations_that_part_at_the_user_have_the_prompt_before(self) -> None:
        found = pair({"chosen": [ASKED, GOOD, user("Sure?"), GOOD], "rejected": [ASKED, GOOD, user("Why?"), BAD]})
        assert found == Pair([ASKED], [GOOD, user("Sure?"), GOOD], [GOOD, user("Why?"), BAD])

    def test_equal_conversations_are_a_pair_of_equal_answers(self) -> None:
        assert pair({"chosen": [ASKED, GOOD], "rejected": [ASKED, GOOD]}) == Pair([ASKED], [GOOD], [GOOD])

    @pytest.mark.parametrize(("row", "why"), [
        ({"prompt": "x"}, "no preference pair: no chosen; it has prompt"),
        ({"prompt": "x", "chosen": "y"}, "no preference pair: no rejected; it has prompt, chosen"),
        ({"prompt": "x", "chosen": "y", "rejected": [BAD]}, "chosen and rejected differ in kind: a text and a list"),
        ({"prompt": "x", "chosen": [ASKED, GOOD], "rejected": [BAD]},
         "chosen and rejected differ in kind: one repeats the prompt, the other does not"),
        ({"prompt": [GOOD], "chosen": "y", "rejected": "z"}, "prompt does not end with the user"),
        ({"prompt": [], "chosen": "y", "rejected": "z"}, "no messages: prompt is an empty list"),
        ({"prompt": "x", "chosen": [GOOD, ASKED], "rejected": [BAD]},
         "answer is not the assistant's: chosen must begin and end with the assistant"),
        ({"prompt": "x", "chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]},
         "prompt differs from the conversations: neither chosen nor rejected begins with it"),
        ({"prompt": [user("x")], "chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]},
         "prompt differs from the conversations: neither chosen nor rejected begins with it"),
        ({"prompt": [ASKED], "chosen": [ASKED], "rejected": [ASKED, BAD]},
         "answer is not the assistant's: chosen must begin and end with the assistant"),
        ({"chosen": [user("a"), GOOD], "rejected": [user("b"), BAD]},
         "no shared prompt: the conversations share no beginning that ends with a user's turn"),
        ({"chosen": [GOOD], "rejected": [BAD]},
         "no shared prompt: the conversations share no beginning that ends with a user's turn"),
        ({"chosen": "abc", "rejected": "xyz"}, "no shared prompt: the texts begin differently"),
        ({"chosen": " abc", "rejected": " xyz"}, "no shared prompt: the texts begin differently"),
        ({"chosen": "abc", "rejected": "abc"}, "no prompt can be told: one text is the beginning of the other"),
        ({"chosen": "", "rejected": "abc"}, "no prompt can be told: one text is the beginning of the other"),
        ({"prompt": "x", "chosen": 3, "rejected": 4}, "not messages: chosen is a number"),
    ])
    def test_a_bad_row(self, row: dict[str, Any], why: str) -> None:
        assert refused(pair, row) == why

    @pytest.mark.parametrize(("score", "why"), [
        ("7.5", "score is not a number: score_rejected is '7.5'"),
        (True, "score is not a number: score_rejected is True"),
        ([7], "score is not a number: score_rejected is [7]"),
        (math.nan, "score is not finite: score_rejected is nan"),
        (-math.inf, "score is not finite: score_rejected is -inf"),
        (Decimal("NaN"), "score is not finite: score_rejected is Decimal('NaN')"),
        (10**400, "score is not finite: score_rejected is 1" + "0" * 59),
    ])
    def test_a_bad_score(self, score: Any, why: str) -> None:
        assert refused(pair, {"prompt": "x", "chosen": "y", "rejected": "z", "score_rejected": score}) == why

    @given(st.lists(TEXTS, min_size=1, max_size=3), st.lists(TEXTS, min_size=1, max_size=2),
           st.lists(TEXTS, min_size=1, max_size=2), st.booleans())
    def test_the_prompt_is_found_again(self, asked: list[str], good: list[str], bad: list[str], led: bool) -> None:
        """Conversations are put together; explicit and implicit prompts read as what they were made of."""
        def turns(texts: list[str], first: str) -> list[Message]:
            roles = ["user", "assistant"] if first == "user" else ["assistant", "user"]
            return [{"role": roles[place % 2], "content": text} for place, text in enumerate(texts)]

        prompt = [*([system("s")] if led else []), *turns([x for text in asked for x in (text, text)][:-1], "user")]
        chosen, rejected = (turns([x for text in side for x in (text, text)][:-1], "assistant") for side in (good, bad))
        whole = {"chosen": [*prompt, *chosen], "rejected": [*prompt, *rejected]}
        expected = Pair(prompt, chosen, rejected)
        assert pair({**whole, "prompt": prompt}) == expected
        assert pair({"prompt": prompt, "chosen": chosen, "rejected": rejected}) == expected
        found = pair(whole)
        assert [*found.prompt, *found.chosen] == whole["chosen"]
        assert [*found.prompt, *found.rejected] == whole["rejected"]
        assert found.prompt[-1]["role"] == "user" and found.prompt[:len(prompt)] == prompt
        if chosen[0] != rejected[0]:
            assert found == expected

    @given(TEXTS, TEXTS, TEXTS)
    def test_texts_are_split_as_trl_splits_them(self, prompt: str, good: str, bad: str) -> None:
        row = {"chosen": prompt + good, "rejected": prompt + bad}
        try:
            found = pair(row)
        except BadRow as error:  # where TRL makes a prompt of nothing, or takes part of the answer for it
            assert error.reason in {"no prompt can be told", "no shared prompt"}
            return
        assert trl_extract_prompt()(row) == {"prompt": found.prompt[0]["content"], "chosen": found.chosen[0]["content"],
                                             "rejected": found.rejected[0]["content"]}


@cache
def trl_extract_prompt() -> Any:
    """The function of the installed TRL, without the seconds that importing the rest takes."""
    spec = find_spec("trl")
    assert spec is not None and spec.origin is not None
    module = ast.parse(Path(spec.origin).with_name("data_utils.py").read_text(encoding="utf-8"))
    (function,) = (node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == "extract_prompt")
    names: dict[str, Any] = {"Sequence": Sequence}
    exec(compile(ast.Module([function], []), "trl", "exec"), names)
    return names["extract_prompt"]


class TestCandidates:
    ANSWER: dict[str, Any] = {  # noqa: RUF012
        "response": "Six.", "model": "hen", "overall_score": 7.5, "principle": "honesty", "annotations": {
            "helpfulness": {"Rating": "4", "Rationale": "."}, "honesty": {"Rating": "N/A"},
            "instruction_following": {"Rating": "5"}, "truthfulness": {"Rating": 3.0}}}

    def row(self, **changed: Any) -> dict[str, Any]:
        return {"instruction": "How many eggs?", "source": "farm", "completions": [{**self.ANSWER, **changed}]}

    def test_ratings_and_what_was_not_rated(self) -> None:
        found = candidates(self.row())
        ratings = {"helpfulness": 4.0, "honesty": None, "instruction_following": 5.0, "truthfulness": 3.0}
        assert found == Candidates("How many eggs?", "farm", [Completion("Six.", "hen", 7.5, ratings)])
        assert found.completions[0].unrated == ["honesty"]
        assert found.completions[0].mean_rating == 4.0

    @pytest.mark.parametrize(("changed", "score", "mean"), [
        ({"overall_score": None, "annotations": None}, None, None),
        ({"overall_score": "N/A", "annotations": {"honesty": {"Rating": None}}}, None, None),
        ({"overall_score": "8", "annotations": {"honesty": 2}}, 8.0, 2.0),
    ])
    def test_what_is_not_there_is_none(self, changed: dict[str, Any], score: float | None, mean: float | None) -> None:
        found = candidates(self.row(**changed)).completions[0]
        assert (found.overall_score, found.mean_rating) == (score, mean)

    @pytest.mark.parametrize(("changed", "why"), [
        ({"overall_score": "nan"}, "score is not finite: completion 1: overall_score is nan"),
        ({"overall_score": "high"}, "rating is not a number: completion 1: overall_score is 'high'"),
        ({"annotations": {"honesty": {"Rating": "five"}}}, "rating is not a number: completion 1, honesty is 'five'"),
        ({"annotations": [3]}, "not annotations: completion 1: annotations is a list"),
        ({"response": None}, "not a text: completion 1: response is missing"),
    ])
    def test_a_bad_answer(self, changed: dict[str, Any], why: str) -> None:
        assert refused(candidates, self.row(**changed)) == why

    @pytest.mark.parametrize(("row", "why"), [
        ({"instruction": "x"}, "no completions: it has instruction"),
        ({"instruction": None, "completions": []}, "not a text: instruction is missing"),
        ({"instruction": "x", "completions": ["y"]}, "not a completion: completion 1 is a text"),
    ])
    def test_a_bad_row(self, row: dict[str, Any], why: str) -> None:
        assert refused(candidates, row) == why
