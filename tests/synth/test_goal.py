"""Goals: how they are shown, where they stand, and that a role with a goal asks for it in every chat."""

from __future__ import annotations

import json
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from small import Scripted, TalkConfig, calling, chat, running

from pica.recipes.magpie.config import MagpieConfig
from pica.synth.config import load_config
from pica.synth.errors import UsageError
from pica.synth.ledger import read_calls
from pica.synth.models.base import Message, ModelConfig, Request, assistant, system, user
from pica.synth.models.goal import Goal, bears_goal, check_scale, show
from pica.synth.prompts import Prompt

NINE = ("Write the answer that a grader would give the score below, on a scale from 1 to 10. Do not mention the score.\n"
        "Score: 9")
BOTH = ("Write the answer that a grader would give the scores below, each on a scale from 0 to 4. Do not mention the scores.\n"
        "- helpfulness: 4\n- verbosity: 1.25")

texts = st.text(max_size=30)
turns = st.lists(st.tuples(texts, texts), max_size=3)


@st.composite
def conversations(draw: Any) -> list[Message]:
    """A conversation that ends with the user, perhaps behind a system message."""
    told = [system(draw(texts))] if draw(st.booleans()) else []
    return [*told, *(message for asked, said in draw(turns) for message in (user(asked), assistant(said))), user(draw(texts))]


class TestShown:
    @pytest.mark.parametrize(("value", "decimals", "shown"), [
        (10, 1, "10"), (10.0, 0, "10"), (8.5, 1, "8.5"), (8.25, 1, "8.2"), (8.35, 1, "8.4"), (2.675, 2, "2.68"), (0.5, 0, "0"),
        (1.5, 0, "2"), (-0.04, 1, "0"), (-2.5, 0, "-2"), (100, 1, "100"), (1e-9, 6, "0"), (3.14159, None, "3.14159")])
    def test_rounding(self, value: float, decimals: int | None, shown: str) -> None:
        assert show(value, decimals) == shown

    @given(st.floats(-1e6, 1e6), st.integers(0, 6))
    def test_rounding_is_to_the_nearest_and_halves_to_even(self, value: float, decimals: int) -> None:
        exact = Decimal(repr(value))
        shown = Decimal(show(value, decimals))
        assert abs(shown - exact) <= Decimal(5).scaleb(-decimals - 1)
        assert shown == round(exact, decimals) == exact.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN)
        assert not show(value, decimals).endswith((".0", ".")) and show(value, decimals) != "-0"

    def test_the_text(self) -> None:
        assert Goal(value=9).text() == NINE
        assert Goal(value={"helpfulness": 4, "verbosity": 1.25}, scale=(0, 4), decimals=2).text() == BOTH

    @pytest.mark.parametrize(("given_", "why"), [
        ({"value": 11, "scale": (1, 10)}, "the goal 11 is outside of its scale; allowed: 1 to 10"),
        ({"value": float("nan")}, "the goal nan is outside of its scale; allowed: a finite number"),
        ({"value": 3, "scale": (10, 1)}, "is no scale"),
        ({"value": 3, "scale": (1, float("inf"))}, "is no scale"),
        ({"value": 1, "scale": (0, 2.55), "decimals": 1}, "ends where decimals=1 cannot show"),
        ({"value": {}}, "give at least one"),
        ({"value": {"a\nb": 1}}, "each a name of one line"),
        ({"value": True}, "the goal is true; write a score"),
        ({"style": "prefix"}, "Field required")])
    def test_what_is_no_goal(self, given_: dict[str, Any], why: str) -> None:
        with pytest.raises(ValidationError, match=why):
            Goal(**given_)

    def test_a_value_outside_of_the_default_scale(self) -> None:
        with pytest.raises(UsageError, match=r"goal of local: the goal 11 is outside of its scale; allowed: 1 to 10"):
            Goal(value=11).for_model("local")

    def test_a_scale_of_whole_numbers_needs_no_decimals(self) -> None:
        check_scale((0.0, 1.0), 0)
        check_scale(None)


class TestWrapped:
    def test_system_style(self) -> None:
        goal = Goal(value=9)
        assert goal.wrap([user("Hi")]) == [system(NINE), user("Hi")]
        assert goal.wrap([system("Be brief."), user("Hi")]) == [system(f"{NINE}\n\nBe brief."), user("Hi")]
        assert goal.wrap([]) == [system(NINE)]

    def test_prefix_style(self) -> None:
        goal = Goal(value=9, style="prefix")
        assert goal.wrap([user("Hi")]) == [user(f"{NINE}\n\nHi")]
        assert goal.wrap([system("Be brief."), user("Hi"), assistant("Ho"), user("He")]) == [
            system("Be brief."), user(f"{NINE}\n\nHi"), assistant("Ho"), user("He")]

    def test_no_user_to_put_it_before(self) -> None:
        with pytest.raises(UsageError, match="there is none; use style=system"):
            Goal(value=9, style="prefix").wrap([system("Be brief.")])

    @given(conversations(), st.sampled_from(["system", "prefix"]), st.integers(1, 10))
    def test_once_and_back(self, messages: list[Message], style: Any, value: int) -> None:
        goal, before = Goal(value=value, style=style), json.dumps(messages)
        wrapped = goal.wrap(messages)
        assert sum(message["content"].count(goal.text()) for message in wrapped) == 1
        assert bears_goal(wrapped) and not bears_goal(messages)
        assert goal.unwrap(wrapped) == messages
        assert json.dumps(messages) == before

    @pytest.mark.parametrize("first", ["system", "prefix"])
    @pytest.mark.parametrize("second", ["system", "prefix"])
    def test_a_second_goal_is_an_error(self, first: Any, second: Any) -> None:
        wrapped = Goal(value={"a": 2}, style=first).wrap([user("Hi")])
        with pytest.raises(UsageError, match="stands in the prompt already"):
            Goal(value=9, style=second).wrap(wrapped)

    def test_only_its_own_goal_is_taken_off(self) -> None:
        for style in ("system", "prefix"):
            with pytest.raises(UsageError, match="does not start with this goal"):
                Goal(value=8, style=style).unwrap(Goal(value=9, style=style).wrap([user("Hi")]))

    def test_an_answer_may_quote_a_goal(self) -> None:
        assert not bears_goal([user("Hi"), assistant(NINE)])


def trained(folder: Path, goal: Any) -> str:
    """A trained folder with that goal in its manifest; the name of its model."""
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps({"stage": "dpo", "goal": goal}))
    return f"hf/{folder}"


FORM: dict[str, Any] = {"style": "prefix", "scale": [0, 5], "decimals": 0, "attributes": []}


class TestTrained:
    def test_what_is_not_stated_comes_from_the_checkpoint(self, tmp_path: Path) -> None:
        name = trained(tmp_path / "m", {**FORM, "prompt_hash": "0"})
        assert Goal(value=4).for_model(name) == Goal(value=4, style="prefix", scale=(0, 5), decimals=0)
        assert Goal(value=9, style="system", scale=(1, 10)).for_model(name) == Goal(value=9, style="system", scale=(1, 10),
                                                                                    decimals=0)
        with pytest.raises(UsageError, match=r"goal of hf/.*/m: the goal 10 is outside of its scale; allowed: 0 to 5"):
            Goal(value=10).for_model(name)

    def test_without_a_goal_in_the_manifest_the_defaults_count(self, tmp_path: Path) -> None:
        stated = Goal(value=4, style="system", scale=(1, 10), decimals=1)
        assert Goal(value=4).for_model(trained(tmp_path / "m", None)) == stated
        assert Goal(value=4).for_model("hf/ORG/NAME") == Goal(value=4).for_model("openai/x@http://localhost") == stated

    def test_attributes_must_be_those_of_the_training(self, tmp_path: Path) -> None:
        name = trained(tmp_path / "m", {**FORM, "attributes": ["a", "b"]})
        assert Goal(value={"b": 1, "a": 2}).for_model(name).style == "prefix"
        with pytest.raises(UsageError, match=r"was trained on goals for a, b and is given one for one score"):
            Goal(value=4).for_model(name)
        with pytest.raises(UsageError, match=r"was trained on goals for one score and is given one for a; write goal=10"):
            Goal(value={"a": 2}).for_model(trained(tmp_path / "n", FORM))

    @pytest.mark.parametrize("text", ["{", "[]", '{"goal": {"style": "loud"}}', '{"goal": 3}'])
    def test_a_damaged_manifest(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(UsageError, match=r"manifest.json cannot be read"):
            Goal(value=4).for_model(f"vllm/{tmp_path}")

    def test_describe_is_what_a_manifest_holds(self, tmp_path: Path) -> None:
        goal = Goal(value=4, style="prefix", scale=(0, 5), decimals=2)
        assert goal.describe() == {"style": "prefix", "scale": [0, 5], "decimals": 2, "attributes": []}
        assert Goal(value=4).for_model(trained(tmp_path / "m", goal.describe())) == goal


class TestConfigured:
    def models(self, *words: str) -> dict[str, Goal | None]:
        config = load_config(MagpieConfig, words=["teacher=fake/magpie", *words])
        return {role: model.goal for role, model in config.models_by_role().items()}

    def test_a_bare_value_and_parts(self) -> None:
        assert load_config(TalkConfig, words=["teacher.goal=10"]).teacher.goal == Goal(value=10)
        said = load_config(TalkConfig, words=["teacher=fake/echo", "teacher.goal=9.5", "teacher.goal.style=prefix"]).teacher
        assert (said.name, said.goal) == ("fake/echo", Goal(value=9.5, style="prefix"))
        several = load_config(TalkConfig, words=["teacher.goal.value={help: 5, wit: 2}"]).teacher
        assert several.goal == Goal(value={"help": 5, "wit": 2})

    def test_a_role_left_out_is_the_teacher_goal_and_all(self) -> None:
        assert self.models("teacher.goal=10") == dict.fromkeys(["teacher", "responder", "tagger", "judge"], Goal(value=10))

    def test_a_goal_for_one_role_alone(self) -> None:
        assert self.models("responder.goal=10") == {"teacher": None, "responder": Goal(value=10), "tagger": None, "judge": None}
        assert self.models("teacher.goal=10", "responder.goal=null", "tagger.goal=3") == {
            "teacher": Goal(value=10), "responder": None, "tagger": Goal(value=3), "judge": Goal(value=3)}

    @pytest.mark.parametrize(("word", "why"), [
        ("teacher.goal=high", "teacher.goal.value"), ("teacher.goal.stile=x", "did you mean 'teacher.goal.style'"),
        ("teacher.goal.style=prefix", "teacher.goal.value: field required")])
    def test_mistakes(self, word: str, why: str) -> None:
        with pytest.raises(UsageError, match=why):
            load_config(TalkConfig, words=[word])


class TestAsked:
    async def test_every_chat_of_the_role_has_the_goal_and_others_have_none(self, tmp_path: Path, scripted: Scripted) -> None:
        plain, model = scripted("reader", lambda request, sample: "Answer.")
        high = plain.model_copy(update={"goal": Goal(value=9)})
        low = plain.model_copy(update={"goal": Goal(value=1, style="prefix")})
        with calling(tmp_path) as caller:
            keys = {(await caller.ask(config, chat("Hi")))[0].key for config in (plain, high, low, high)}
            assert len(keys) == 3  # the goal is part of the key; the fourth call was the second
            assert len(caller.lanes) == 1
        assert [list(request.messages) for request in model.requests] == [
            [user("Hi")], [system(NINE), user("Hi")], [user(f"{NINE.replace('Score: 9', 'Score: 1')}\n\nHi")]]
        stored = [list(call.messages) for call in read_calls(tmp_path / "ledger.sqlite")]
        assert stored == [list(request.messages) for request in model.requests]

    @pytest.mark.parametrize("task", ["complete", "score", "embed", "logprobs"])
    async def test_what_is_no_chat_has_no_place_for_a_goal(self, tmp_path: Path, task: Any) -> None:
        model = ModelConfig(name="fake/magpie", goal=Goal(value=9))
        why = rf"has goal=9.0, .* asked for '{task}'; .*responder.goal"
        with calling(tmp_path) as caller, pytest.raises(UsageError, match=why):
            await caller.ask(model, Request(task=task, prompt="x", messages=(user("x"), assistant("y")), continuation="y"))

    async def test_a_goal_that_the_model_cannot_read_shows_before_the_first_call(self, tmp_path: Path) -> None:
        with running(tmp_path) as (run, spool), pytest.raises(UsageError, match="outside of its scale"):
            await run.rows(lambda draft: None, spool, want=1, limit=1,  # type: ignore[arg-type, return-value]
                           models=[ModelConfig(name="fake/magpie", goal=Goal(value=12))])


def test_the_prompt_files_have_the_slots_that_goals_fill() -> None:
    folder = Path(__file__).parents[2] / "synth" / "models" / "prompts"
    assert {path.name: Prompt.load(path).slots for path in folder.glob("goal*.txt")} == dict.fromkeys(
        ["goal.txt", "goal_attributes.txt"], ("low", "high", "scores"))
