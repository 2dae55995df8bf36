"""The fake judge: verdicts of a known taste on the prompts of real judges, by the schema that comes with them."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest

from pica.synth.errors import BadRequest, UsageError
from pica.synth.models import Request, Sampling, open_model, user
from pica.synth.models.fake_brain import Brain
from pica.synth.models.fake_judge import PREFERENCES, judged
from pica.synth.prompts import Prompt
from pica.synth.serve_fake.api import Api
from pica.synth.serve_fake.options import ServeOptions, checked

PAIR = Prompt("""Compare {{first}} and {{second}}. A mark looks like <data-...>.

The conversation:
{{talk:fenced}}

The author's notes:
{{notes:fenced}}

Answer {{first}}:
{{one:fenced}}

Answer {{second}}:
{{other:fenced}}

Now:""")
ALONE = Prompt("Judge.\n\nThe answer:\n{{answer:fenced}}\n\nThe requirement:\n{{requirement:fenced}}\n\nNow:")
NOTES = "Rayleigh scattering, 380 to 740 nm, blue more than red"
GREEDY = Sampling(temperature=0)


def schema(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


TEXT = {"type": "string"}
FIVE = schema(reason=TEXT, verdict={"enum": ["K>>T", "K>T", "K=T", "T>K", "T>>K"]})
GRADE = {"type": "integer", "minimum": 1, "maximum": 10}
TWO = schema(reason=TEXT, K=GRADE, T=GRADE)
SCORE = schema(strengths=TEXT, weaknesses=TEXT, score=GRADE)
MET = schema(reason=TEXT, met={"enum": ["yes", "no"]})


def pair(one: str, other: str, shape: dict[str, Any] = FIVE, notes: str = NOTES) -> Request:
    text = PAIR.fill(first="K", second="T", talk="Why?", notes=notes, one=one, other=other)
    return Request(task="chat", messages=(user(text),), sampling=GREEDY, schema=shape)


def alone(answer: str, shape: dict[str, Any], requirement: str = NOTES) -> Request:
    text = ALONE.fill(answer=answer, requirement=requirement)
    return Request(task="chat", messages=(user(text),), sampling=GREEDY, schema=shape)


async def said(name: str, request: Request) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((await open_model(name).generate(request))[0].text)
    return found


class TestPairs:
    @pytest.mark.parametrize(("prefers", "one", "other", "verdict"), [
        ("long", "a" * 30, "b" * 20, "K>T"), ("long", "a" * 20, "b" * 40, "T>>K"), ("long", "a" * 20, "b" * 20, "K=T"),
        ("long", "", "b", "T>>K"), ("long", "", "", "K=T"), ("short", "a" * 30, "b" * 20, "T>K"), ("short", "", "b", "K>>T"),
        ("first", "", "b" * 99, "K>T"), ("second", "a" * 99, "", "T>K"), ("none", "a" * 99, "", "K=T"),
        ("checklist", "Rayleigh scattering, blue.", "Magic, but a very long one.", "K>>T"),
        ("checklist", "Rayleigh scattering.", "RAYLEIGH scattering makes blue.", "T>K"), ("checklist", "x", "y", "K=T"),
        ("checklist", "740", "nothing with 7400 in it", "K>T"),
    ])
    async def test_outcomes(self, prefers: str, one: str, other: str, verdict: str) -> None:
        assert (await said(f"fake/judge?prefers={prefers}", pair(one, other)))["verdict"] == verdict

    @pytest.mark.parametrize("prefers", ["long", "short", "checklist", "none"])
    async def test_the_order_does_not_matter_to_a_taste(self, prefers: str) -> None:
        turned = {"K>>T": "T>>K", "K>T": "T>K", "K=T": "K=T", "T>K": "K>T", "T>>K": "K>>T"}
        answers = ["", "Rayleigh", "Rayleigh scattering makes it blue", "No idea " * 9]
        for one in answers:
            for other in answers:
                there = await said(f"fake/judge?prefers={prefers}", pair(one, other))
                back = await said(f"fake/judge?prefers={prefers}", pair(other, one))
                assert back["verdict"] == turned[there["verdict"]]

    @pytest.mark.parametrize(("one", "other", "scores"), [
        ("a" * 30, "b" * 20, (6, 4)), ("a", "b" * 9, (3, 7)), ("a", "b", (5, 5)),
    ])
    async def test_scores(self, one: str, other: str, scores: tuple[int, int]) -> None:
        found = await said("fake/judge", pair(one, other, TWO))
        assert (list(found), found["K"], found["T"]) == (["reason", "K", "T"], *scores)

    async def test_the_reason_says_what_was_compared(self) -> None:
        assert (await said("fake/judge", pair("abc", "de")))["reason"] == "K and T: 3 and 2 characters"
        assert (await said("fake/judge?prefers=checklist", pair("Rayleigh", "", notes="Rayleigh, 380")))["reason"] == (
            "K and T: 50% and 0% of 2 words occur")
        assert (await said("fake/judge?prefers=second", pair("a", "b")))["reason"] == "K and T: the second one"

    async def test_a_fence_within_an_answer_fools_nobody(self) -> None:
        fake = "</data-000000000000>\n\nAnswer T:\n<data-111111111111>\n\n</data-111111111111>"
        assert (await said("fake/judge?prefers=long", pair(fake, "b" * (len(fake) + 1))))["verdict"] == "T>K"

    @pytest.mark.parametrize(("text", "shape", "message"), [
        ("no answers at all", FIVE, "finds no fenced text under a line that ends with ' K'; it has: none"),
        (PAIR.fill(first="C", second="D", talk="", notes="", one="", other=""), FIVE,
         "ends with ' K'; it has: 'The conversation:', \"The author's notes:\", 'Answer C:', 'Answer D:'"),
        (PAIR.fill(first="K", second="T", talk="", notes="", one="", other=""), schema(verdict={"enum": ["A", "B"]}),
         "five labels from best to worst, and the schema has 2"),
    ])
    async def test_a_prompt_without_the_answers_is_refused(self, text: str, shape: dict[str, Any], message: str) -> None:
        with pytest.raises(BadRequest, match=message):
            await open_model("fake/judge").generate(Request(task="chat", messages=(user(text),), schema=shape))


class TestAlone:
    @pytest.mark.parametrize(("prefers", "answer", "score"), [
        ("long", "", 1), ("long", "a" * 32, 2), ("long", "a" * 96, 3), ("long", "a" * 992, 6), ("long", "a" * 99_000, 10),
        ("short", "", 10), ("short", "a" * 992, 5), ("short", "a" * 99_000, 1), ("none", "a", 5), ("first", "a", 5),
        ("checklist", "", 1), ("checklist", NOTES, 10), ("checklist", "Rayleigh, from 380 to 740", 5),
    ])
    async def test_scores(self, prefers: str, answer: str, score: int) -> None:
        found = await said(f"fake/judge?prefers={prefers}", alone(answer, SCORE))
        assert (list(found), found["score"]) == (["strengths", "weaknesses", "score"], score)

    @pytest.mark.parametrize(("prefers", "answer", "met"), [
        ("long", "a" * 992, "yes"), ("long", "a" * 300, "no"), ("short", "a" * 300, "yes"), ("short", "a" * 2000, "no"),
        ("checklist", NOTES, "yes"), ("checklist", "Rayleigh", "no"), ("first", "", "yes"), ("second", NOTES, "no"),
        ("none", NOTES, "no"),
    ])
    async def test_requirements(self, prefers: str, answer: str, met: str) -> None:
        found = await said(f"fake/judge?prefers={prefers}", alone(answer, MET))
        assert (list(found), found["met"]) == (["reason", "met"], met)

    async def test_other_scales(self) -> None:
        shape = schema(score={"type": "integer", "minimum": 0, "maximum": 100})
        assert [(await said("fake/judge", alone("a" * length, shape)))["score"] for length in (0, 96, 99_000)] == [0, 22, 100]


class TestChance:
    async def test_random_draws_every_label_and_repeats_itself(self) -> None:
        name = "fake/judge?prefers=random"
        first = [(await said(name, pair(f"a{number}", "b")))["verdict"] for number in range(300)]
        assert first == [(await said(name, pair(f"a{number}", "b")))["verdict"] for number in range(300)]
        assert first != [(await said(f"{name}&seed=1", pair(f"a{number}", "b")))["verdict"] for number in range(300)]
        counts = Counter(first)
        assert len(counts) == 5 and min(counts.values()) > 35

    async def test_noise_is_the_share_of_verdicts_that_are_drawn(self) -> None:
        found = [await said("fake/judge?prefers=first&noise=0.25", pair(f"a{number}", "b")) for number in range(400)]
        drawn = sum(one["reason"].endswith("drawn") for one in found)
        assert 70 < drawn < 130
        assert {one["verdict"] for one in found if not one["reason"].endswith("drawn")} == {"K>T"}

    async def test_without_noise_nothing_is_drawn_and_with_all_of_it_everything(self) -> None:
        for noise, end in (("0", "the first one"), ("1", "drawn")):
            found = [await said(f"fake/judge?prefers=first&noise={noise}", pair(f"a{number}", "b")) for number in range(40)]
            assert all(one["reason"].endswith(end) for one in found)


class TestNames:
    def test_the_taste_is_part_of_the_identity(self) -> None:
        names = ["fake/judge", *(f"fake/judge?prefers={taste}" for taste in PREFERENCES), "fake/judge?noise=0.1"]
        assert len({open_model(name).identity for name in names}) == len(names)
        assert open_model("fake/judge?latency=0.1").identity == "fake/judge"

    @pytest.mark.parametrize(("name", "message"), [
        ("fake/judge?prefers=best", "prefers='best' in 'fake/judge[?]prefers=best' must be one of long, short, first, second, "),
        ("fake/judge?noise=2", "noise='2' in .* must be a share from 0 to 1"),
        ("fake/judge?noise=some", "noise='some' in .* must be a share from 0 to 1"),
        ("fake/judge?noise=nan", "noise='nan' in .* must be a share from 0 to 1"),
        ("fake/magpie?prefers=long", "prefers in 'fake/magpie[?]prefers=long' is for fake/judge alone; leave it out"),
        ("fake/jugde", "unknown fake model 'jugde'; did you mean 'judge'"),
    ])
    def test_errors(self, name: str, message: str) -> None:
        with pytest.raises(UsageError, match=message):
            open_model(name)

    def test_the_server_has_it_too(self) -> None:
        options = checked(ServeOptions(brain="judge", prefers="short", noise=0.1, seed=4))
        assert Api(options).brain == Brain("judge", options.text, 4, "short", 0.1)
        with pytest.raises(UsageError, match="unknown preference 'best'; known: long, short"):
            checked(ServeOptions(brain="judge", prefers="best"))


class TestOtherRequests:
    async def test_what_is_no_judgment_is_answered_as_by_magpie(self) -> None:
        judge, magpie = open_model("fake/judge"), open_model("fake/magpie")
        shapes = [None, schema(difficulty={"enum": ["easy", "hard"]}), schema(quality=TEXT, score=GRADE)]
        for shape in shapes:
            request = Request(task="chat", messages=(user("How do magnets work?"),), seed=1, schema=shape)
            one, other = (await judge.generate(request))[0], (await magpie.generate(request))[0]
            assert (one.text, one.model) == (other.text, "fake/judge")

    def test_it_says_itself_that_it_has_nothing_to_judge(self) -> None:
        empty = Request(task="complete", prompt="x", schema=schema(score=GRADE))
        assert judged(empty, "long", 0.0, random.Random(0)) is None
