"""The fake models: deterministic, varied, and as faulty as they are told to be."""

from __future__ import annotations

import asyncio
from array import array

import orjson
import pytest

from pica.synth.errors import BadRequest, Malformed, RateLimited, ServerFault, Unreachable, UsageError
from pica.synth.models import Answer, Message, Request, Sampling, assistant, open_model, user
from pica.synth.models.base import Renders
from pica.synth.models.fake import ScriptedModel
from pica.synth.models.fake_brain import HOSTILE, Brain, answer, tokens_in

HEADER = "<|im_start|>user\n"
SCHEMA = {
    "type": "object",
    "properties": {
        "quality": {"enum": ["poor", "good"]}, "score": {"type": "integer", "minimum": 1, "maximum": 5},
        "share": {"type": "number", "minimum": 0, "maximum": 1}, "safe": {"type": "boolean"},
        "why": {"type": "string", "minLength": 30, "maxLength": 40},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "minItems": 1, "maxItems": 2},
        "more": {"anyOf": [{"type": "null"}, {"const": 7}]},
    },
    "$defs": {"tag": {"type": "string", "enum": ["a", "b"]}},
    "required": ["quality", "score", "share", "safe", "why", "tags", "more"],
}


def complete(seed: int, prompt: str = HEADER, **sampling: object) -> Request:
    return Request(task="complete", prompt=prompt, seed=seed, sampling=Sampling.model_validate(sampling))


def texts(name: str, count: int, **sampling: object) -> list[Answer]:
    return [answer(complete(seed, **sampling), 0, Brain(name)) for seed in range(count)]


async def test_same_request_same_answer_and_other_seeds_other_answers() -> None:
    model = open_model("fake/magpie")
    first, second = await model.generate(complete(1)), await model.generate(complete(1))
    assert first == second
    assert first != await model.generate(complete(2))
    assert first != await open_model("fake/magpie?seed=9").generate(complete(1))


async def test_samples_differ_and_the_prompt_is_counted_once() -> None:
    request = Request(task="complete", prompt=HEADER, n=3, seed=1)
    answers = await open_model("fake/magpie").generate(request)
    assert len({a.text for a in answers}) == 3
    assert [a.prompt_tokens for a in answers] == [tokens_in(HEADER), 0, 0]


async def test_greedy_ignores_the_seed() -> None:
    model = open_model("fake/magpie")
    assert await model.generate(complete(1, temperature=0)) == await model.generate(complete(2, temperature=0))


def test_instructions_are_varied_with_some_repeats_many_lines_and_some_that_never_end() -> None:
    answers = texts("magpie", 2000)
    distinct = {a.text for a in answers}
    assert 1500 < len(distinct) < 2000
    assert 20 < sum("\n" in a.text for a in answers) < 600
    assert 5 < sum(a.truncated for a in answers) < 100
    assert all(a.text.strip() for a in answers)


def test_raw_prompts_that_end_at_the_assistant_get_an_answer_and_later_turns_a_follow_up() -> None:
    chat = "<|im_start|>user\nHow do magnets work?<|im_end|>\n<|im_start|>assistant\n"
    assert "magnets" in answer(complete(3, chat), 0, Brain()).text
    later = chat + "They attract iron.<|im_end|>\n<|im_start|>user\n"
    follow_up = answer(complete(3, later), 0, Brain()).text
    assert len(follow_up) < 200 and "Here is an answer" not in follow_up


def test_stop_strings_and_max_tokens() -> None:
    for seed in range(300):
        full = answer(complete(seed, max_tokens=4000), 0, Brain())
        stopped = answer(complete(seed, max_tokens=4000, stop=["\n", "?"]), 0, Brain())
        assert stopped.text == full.text.partition("?")[0].partition("\n")[0]
        short = answer(complete(seed, max_tokens=3), 0, Brain())
        assert short.text == full.text[:12]
        assert short.truncated and short.completion_tokens == 3


async def test_schema_gives_valid_documents_with_every_enum_value() -> None:
    seen = set()
    for seed in range(40):
        request = Request(task="chat", messages=(user("rate this"),), seed=seed, schema=SCHEMA)
        found = orjson.loads((await open_model("fake/magpie").generate(request))[0].text)
        assert set(found) == set(SCHEMA["required"])
        assert 1 <= found["score"] <= 5 and 0 <= found["share"] <= 1 and isinstance(found["safe"], bool)
        assert 30 <= len(found["why"]) <= 40 and 1 <= len(found["tags"]) <= 2 and found["more"] in (None, 7)
        seen |= {found["quality"], *found["tags"]}
    assert seen == {"poor", "good", "a", "b"}


async def test_schema_that_cannot_be_followed_is_refused_by_name() -> None:
    request = Request(task="chat", messages=(user("x"),), schema={"type": "string", "pattern": "^a$"})
    with pytest.raises(BadRequest, match="'pattern'"):
        await open_model("fake/magpie").generate(request)


async def test_other_brains() -> None:
    request = Request(task="chat", messages=(user("say it"),), schema=SCHEMA)
    assert (await open_model("fake/echo").generate(request))[0].text == "say it"
    assert (await open_model("fake/empty").generate(request))[0].text == ""
    assert (await open_model("fake/fixed?text=a%20b").generate(complete(0)))[0].text == "a b"
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads((await open_model("fake/nonsense").generate(request))[0].text)
    assert {a.text.split("\n")[0] for a in texts("guard", 200)} == {"safe", "unsafe"}
    hostile = " ".join(a.text for a in texts("hostile", 200))
    assert all(text in hostile for text in HOSTILE)


def cosine(left: str, right: str) -> float:
    vectors = [array("f", answer(Request(task="embed", prompt=text), 0, Brain()).vector) for text in (left, right)]
    return sum(a * b for a, b in zip(*vectors, strict=True))


def test_embeddings_are_unit_vectors_and_similar_texts_are_near() -> None:
    near = cosine("How do I fix a leaking tap?", "How do I fix a leaking tap quickly?")
    assert cosine("anything", "anything") == pytest.approx(1, abs=1e-6)
    assert cosine("", "") == pytest.approx(1)
    assert near > 0.7 > cosine("How do I fix a leaking tap?", "Write a poem on winter markets") + 0.3


async def test_scores_and_logprobs_are_deterministic() -> None:
    model = open_model("fake/magpie")
    good = Request(task="score", messages=(user("hi"), assistant("a long and careful answer " * 20)))
    assert await model.generate(good) == await model.generate(good)
    assert (await model.generate(good))[0].values != \
        (await model.generate(Request(task="score", messages=(user("hi"), assistant("no")))))[0].values
    scored = (await model.generate(Request(task="logprobs", prompt="one two ", continuation="three four")))[0].logprobs
    assert "".join(t.token for t in scored) == "three four" and all(t.logprob < 0 for t in scored)
    chat = Request(task="chat", messages=(user("hi"),), sampling=Sampling(logprobs=3, max_tokens=4))
    with_top = (await model.generate(chat))[0]
    assert len(with_top.logprobs) == 4 and all(t.token in t.top and len(t.top) == 3 for t in with_top.logprobs)


async def test_render_is_chatml_without_a_system_block() -> None:
    model = open_model("fake/magpie")
    assert isinstance(model, Renders)
    messages: list[Message] = [user("hi")]
    assert await model.render(messages, add_generation_prompt=True) == \
        "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert await model.render(messages, add_generation_prompt=False) == "<|im_start|>user\nhi<|im_end|>\n"


@pytest.mark.parametrize(("fault", "error"), [
    ("error_429", RateLimited), ("error_500", ServerFault), ("reset", Unreachable), ("malformed", Malformed),
    ("html", Malformed), ("truncate", Malformed), ("wrong_choices", Malformed)])
async def test_faults(fault: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        await open_model(f"fake/magpie?{fault}=1").generate(complete(0))


async def test_fault_shares_are_kept_and_repeat() -> None:
    async def outcomes(name: str) -> list[bool]:
        model = open_model(name)
        found = await asyncio.gather(*(model.generate(complete(i)) for i in range(2000)), return_exceptions=True)
        return [isinstance(outcome, ServerFault) for outcome in found]

    first = await outcomes("fake/magpie?error_500=0.1")
    assert 140 < sum(first) < 260
    assert first == await outcomes("fake/magpie?error_500=0.1")
    assert first != await outcomes("fake/magpie?error_500=0.1&fault_seed=1")


async def test_rate_limit_says_how_long_to_wait_and_empty_and_hang() -> None:
    limited = open_model("fake/magpie?rate=0.1&burst=2")
    found = await asyncio.gather(*(limited.generate(complete(i)) for i in range(5)), return_exceptions=True)
    refused = [error for error in found if isinstance(error, RateLimited)]
    assert len(refused) == 3 and all(0 < (error.retry_after or 0) <= 10 for error in refused)
    assert (await open_model("fake/magpie?empty=1").generate(complete(0)))[0].text == ""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(open_model("fake/magpie?hang=1").generate(complete(0)), 0.05)


def test_identity_holds_what_changes_the_text_and_nothing_else() -> None:
    assert open_model("fake/magpie?latency=1&error_500=0.1").identity == "fake/magpie"
    assert open_model("fake/fixed?text=a&latency=1").identity == "fake/fixed?text=a"
    assert open_model("fake/fixed?seed=1&text=a").identity == open_model("fake/fixed?text=a&seed=1").identity


@pytest.mark.parametrize(("name", "words"), [
    ("fake/magpi", ["'magpi'", "'magpie'", "echo"]), ("fake/magpie?latncy=1", ["'latncy'", "latency"]),
    ("fake/magpie?latency=soon", ["latency='soon'", "seconds"]), ("fake/magpie?error_500=2", ["error_500='2'"]),
    ("fake/magpie?error_500=0.7&reset=0.7", ["1.4"]), ("fake/magpie?stragglers=3", ["stragglers"]),
    ("fake/magpie?seed=x", ["seed='x'"])])
def test_bad_names_say_what_is_allowed(name: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        open_model(name)
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)


async def test_scripted_model() -> None:
    async def later(request: Request, sample: int) -> str:
        await asyncio.sleep(0)
        if request.prompt == "fail":
            raise ServerFault("as asked")
        return f"{request.prompt}{sample}"

    model = ScriptedModel("script", later)
    assert [a.text for a in await model.generate(Request(task="complete", prompt="p", n=2))] == ["p0", "p1"]
    with pytest.raises(ServerFault):
        await model.generate(Request(task="complete", prompt="fail"))
    assert [r.prompt for r in model.requests] == ["p", "fail"]
    whole = Answer(text="x", finish="length")
    assert await ScriptedModel("whole", lambda r, s: whole).generate(Request(task="complete")) == [whole]
