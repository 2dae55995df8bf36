"""The OpenAI-compatible provider against a real server on loopback: what is sent, what is read, and from whom."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from socket import socket
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pica.synth.errors import BadRequest, Denied, ServerFault, Unreachable, UsageError
from pica.synth.models import Answer, ModelConfig, Request, Sampling, assistant, open_model, system, user
from pica.synth.models.base import Renders
from pica.synth.models.openai import OpenAIModel
from pica.synth.models.openai_wire import dialect_of, encode, shared
from pica.synth.serve_fake import Call, FakeServer, Reply, ServeOptions

HEADER = "<|im_start|>user\n"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)


def openai(*urls: str, **settings: Any) -> OpenAIModel:
    model = open_model(ModelConfig(name=f"openai/any@{'|'.join(urls)}", **settings))
    assert isinstance(model, OpenAIModel)
    return model


@asynccontextmanager
async def session(*urls: str, **settings: Any) -> Any:
    model = openai(*urls, **settings)
    try:
        yield model
    finally:
        await model.close()


def saying(body: Any) -> Callable[[Call], Reply]:
    """A server that gives one answer to everything."""
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return lambda call: Reply(raw)


def chat_reply(*texts: str, **usage: int) -> dict[str, Any]:
    return {"model": "served", "usage": usage, "choices": [
        {"index": i, "finish_reason": "stop", "message": {"content": text}} for i, text in enumerate(texts)]}


CHAT = Request(task="chat", messages=(user("How do magnets work?"),))
REQUESTS = {
    "complete": Request(task="complete", prompt=HEADER, n=3, seed=2, sampling=Sampling(stop=("\n",), max_tokens=20)),
    "chat": Request(task="chat", messages=(system("Be brief."), user("Hi")), n=2, sampling=Sampling(logprobs=2)),
    "schema": Request(task="chat", messages=(user("Rate"),), seed=1, schema={"enum": ["good", "poor"]}),
    "embed": Request(task="embed", prompt="one two three"),
    "score": Request(task="score", messages=(user("Hi"), assistant("Hello"))),
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_every_task_answers_over_http_as_it_does_in_process(name: str) -> None:
    request = REQUESTS[name]
    expected = [Answer(text=a.text, finish=a.finish, prompt_tokens=a.prompt_tokens, logprobs=a.logprobs,
                       completion_tokens=a.completion_tokens, model="any", values=a.values, vector=a.vector)
                for a in await open_model("fake/magpie").generate(request)]
    async with FakeServer() as server, session(server.url) as model:
        assert await model.generate(request) == expected


async def test_logprobs_of_a_continuation_add_up_to_its_text() -> None:
    async with FakeServer() as server, session(server.url) as model:
        request = Request(task="logprobs", prompt="one two ", continuation="three four")
        scored = (await model.generate(request))[0].logprobs
        assert "".join(t.token for t in scored) == "three four" and all(t.logprob < 0 for t in scored)


@pytest.mark.parametrize(("tokens", "prompt", "continuation", "expected"), [
    (["<s>", "one", " two", " three"], "one", " two three", [" two", " three"]),
    (["one", " t", "wo"], "one ", "two", [" t", "wo"]),
    (["a", "", "", "😀", "", "你"], "a", "😀你", ["", "", "😀", "", "你"]),
    (["a", "", " \U0001f600"], "a ", "\U0001f600", ["", " \U0001f600"]),
    (["one", " two"], "", "one two", [" two"]),
    (["one", " two"], "one two", "", [])])
async def test_echoed_tokens_are_cut_at_the_continuation(tokens: list[str], prompt: str, continuation: str,
                                                         expected: list[str]) -> None:
    values = [None, *(-float(i) for i in range(1, len(tokens)))]
    reply = {"choices": [{"text": prompt + continuation, "logprobs": {
        "tokens": [*tokens, "<|im_end|>"], "token_logprobs": [*values, -0.1]}}],
        "usage": {"prompt_tokens": len(tokens)}}
    async with FakeServer(handler=saying(reply)) as server, session(server.url) as model:
        found = (await model.generate(Request(task="logprobs", prompt=prompt, continuation=continuation)))[0].logprobs
    assert [t.token for t in found] == expected
    assert [t.logprob for t in found] == values[len(tokens) - len(expected):]


@pytest.mark.parametrize(("prompt", "sent"), [("<s> [INST] ", " [INST] "), ("a <s> b", "a <s> b")])
async def test_the_token_that_begins_a_sequence_is_left_to_the_server(prompt: str, sent: str) -> None:
    bodies: list[dict[str, Any]] = []

    def handle(call: Call) -> Reply:
        bodies.append(orjson.loads(call.body))
        return Reply(orjson.dumps({"choices": [{"text": "x", "finish_reason": "stop"}]}))

    async with FakeServer(handler=handle) as server, session(server.url) as model:
        await model.generate(Request(task="complete", prompt=prompt, bos="<s>"))
    assert [body["prompt"] for body in bodies] == [sent]


async def test_a_server_that_does_not_echo_cannot_give_logprobs() -> None:
    reply = {"choices": [{"text": "x", "logprobs": None}]}
    async with FakeServer(handler=saying(reply)) as server, session(server.url) as model:
        with pytest.raises(BadRequest, match=r"echo.*vLLM"):
            await model.generate(Request(task="logprobs", prompt="a", continuation="b"))


async def test_render_by_vllm_or_llamacpp_or_a_clear_error() -> None:
    expected = "<|im_start|>user\nhi<|im_end|>\n"
    for template in ("vllm", "llamacpp"):
        async with FakeServer(ServeOptions(template=template)) as server, session(server.url) as model:
            assert isinstance(model, Renders)
            assert await model.render([user("hi")], add_generation_prompt=False) == expected
            assert await model.render([user("hi")], add_generation_prompt=True) == expected + "<|im_start|>assistant\n"
    async with FakeServer(ServeOptions(template="none")) as server, session(server.url) as model:
        with pytest.raises(BadRequest, match=r"apply-template or /tokenize.*name a template"):
            await model.render([user("hi")], add_generation_prompt=True)


def body_of(request: Request, host: str = "localhost", model: str = "m", **extra: Any) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(encode(request, model, dialect_of(host, model), extra))
    return found


def test_standard_fields_are_always_sent_and_extensions_only_when_set() -> None:
    assert body_of(CHAT) == {
        "model": "m", "messages": [{"role": "user", "content": "How do magnets work?"}], "temperature": 1.0,
        "top_p": 1.0, "frequency_penalty": 0.0, "presence_penalty": 0.0, "max_tokens": 1024, "n": 1}
    sampling = Sampling(top_k=5, min_p=0.1, repetition_penalty=1.2, stop=("a",), logprobs=2)
    request = Request(task="complete", prompt="p", sampling=sampling, seed=0, n=2, schema={"type": "string"})
    body = body_of(request, extra_field=1)
    assert (body["top_k"], body["min_p"], body["repetition_penalty"], body["stop"]) == (5, 0.1, 1.2, ["a"])
    assert (body["logprobs"], body["seed"], body["n"], body["extra_field"]) == (2, 0, 2, 1)
    assert body["response_format"]["json_schema"]["schema"] == {"type": "string"}
    chat = body_of(Request(task="chat", messages=(user("x"),), sampling=sampling))
    assert (chat["logprobs"], chat["top_logprobs"]) == (True, 2)


def test_hosted_services_have_their_own_words() -> None:
    hosted = body_of(CHAT, "api.openai.com", "gpt-4o")
    assert hosted["max_completion_tokens"] == 1024 and "max_tokens" not in hosted and hosted["temperature"] == 1
    reasoning = body_of(CHAT, "api.openai.com", "o3-mini")
    assert "temperature" not in reasoning and "frequency_penalty" not in reasoning
    warm = Request(task="chat", messages=(user("x"),), sampling=Sampling(temperature=0.5))
    assert body_of(warm, "x.openai.azure.com", "gpt-5")["temperature"] == 0.5
    assert body_of(CHAT, "evil-api.openai.com.example", "o3")["max_tokens"] == 1024
    with pytest.raises(BadRequest, match=r"5 stop strings.*takes \(4\)"):
        body_of(Request(task="complete", sampling=Sampling(stop=tuple("abcde"))), "api.openai.com", "m")


def test_a_schema_goes_to_hosted_services_without_what_they_refuse() -> None:
    text = {"type": "string", "minLength": 1, "maxLength": 9}
    schema = {"type": "object", "properties": {"maxLength": text, "tags": {"type": "array", "items": text, "maxItems": 2,
                                                                           "uniqueItems": True}}}
    request = Request(task="chat", messages=(user("hi"),), schema=schema)

    def sent(host: str) -> Any:
        body = orjson.loads(encode(request, "gpt-4.1", dialect_of(host, "gpt-4.1"), {}))
        return body["response_format"]["json_schema"]["schema"]

    plain = {"type": "string"}
    assert sent("api.openai.com") == {"type": "object", "properties": {
        "maxLength": plain, "tags": {"type": "array", "items": plain, "maxItems": 2}}}
    assert sent("localhost") == schema


def test_lone_surrogates_are_named_before_they_are_sent() -> None:
    with pytest.raises(BadRequest, match=r"lone surrogate '\\ud800' at character 2"):
        body_of(Request(task="chat", messages=(user("ok"), user("ab\ud800c"))))
    with pytest.raises(BadRequest, match="lone surrogate"):
        body_of(Request(task="complete", prompt="\udfff"))


async def test_nul_bytes_and_megabytes_of_one_line_go_both_ways() -> None:
    text = "a\x00b" + "x" * 2_000_000
    async with FakeServer(ServeOptions(brain="echo")) as server, session(server.url) as model:
        request = Request(task="chat", messages=(user(text),), sampling=Sampling(max_tokens=1_000_000))
        assert (await model.generate(request))[0].text == text


@pytest.mark.parametrize(("raw", "text"), [
    (b'"a\\ud800b"', "a\ufffdb"), (b'"a\\u0000b"', "a\x00b"), (b'"a\xff\xfeb"', "a\ufffd\ufffdb"),
    (b'"\\ud83d\\ude00"', "\U0001f600"), (b'"raw\nbreak\x01\\ud800"', "raw\nbreak\x01\ufffd")])
async def test_text_that_is_no_unicode_is_repaired(raw: bytes, text: str) -> None:
    body = b'{"choices":[{"index":0,"finish_reason":"stop","message":{"content":' + raw + b"}}]}"
    async with FakeServer(handler=saying(body)) as server, session(server.url) as model:
        assert (await model.generate(CHAT))[0].text == text


@pytest.mark.parametrize(("message", "finish", "expected"), [
    ({"content": ""}, "stop", Answer(text="")),
    ({"content": None, "reasoning_content": "hm"}, "length", Answer(text="", finish="length", reasoning="hm")),
    ({"content": "a", "reasoning": "hm"}, "eos_token", Answer(text="a", reasoning="hm")),
    ({"content": None, "refusal": "no"}, "stop", Answer(text="no", finish="refusal")),
    ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "stop", Answer(text="ab")),
    ({"content": "a"}, "content_filter", Answer(text="a", finish="content_filter")),
    ({"content": "a"}, None, Answer(text="a", finish="unknown"))])
async def test_kinds_of_messages(message: dict[str, Any], finish: str | None, expected: Answer) -> None:
    reply = {"choices": [{"index": 0, "finish_reason": finish, "message": message}]}
    async with FakeServer(handler=saying(reply)) as server, session(server.url) as model:
        assert await model.generate(CHAT) == [expected]


async def test_llamacpp_gives_logprobs_of_completions_in_the_shape_of_chats() -> None:
    reply = {"choices": [{"text": "ab", "index": 0, "finish_reason": "stop", "logprobs": {"content": [
        {"token": "a", "logprob": -1.0, "top_logprobs": [{"token": "b", "logprob": -2.0}]},
        {"token": "b", "logprob": -3.0, "top_logprobs": []}]}}]}
    async with FakeServer(handler=saying(reply)) as server, session(server.url) as model:
        request = Request(task="complete", prompt="x", sampling=Sampling(logprobs=1))
        found = (await model.generate(request))[0].logprobs
    assert [(t.token, t.logprob, t.top) for t in found] == [("a", -1.0, {"b": -2.0}), ("b", -3.0, {})]


async def test_a_missing_endpoint_is_not_taken_for_a_missing_model() -> None:
    async with FakeServer(ServeOptions(template="none")) as server, session(server.url + "/deeper") as model:
        with pytest.raises(Denied, match=r"answered 404: no such endpoint.*check the URL"):
            await model.generate(CHAT)


async def test_choices_come_in_order_and_tokens_add_up() -> None:
    reply = chat_reply("long " * 10, "", "mid mid ", prompt_tokens=7, completion_tokens=11)
    reply["choices"].reverse()
    async with FakeServer(handler=saying(reply)) as server, session(server.url) as model:
        found = await model.generate(Request(task="chat", messages=(user("x"),), n=3))
    assert [a.text for a in found] == ["long " * 10, "", "mid mid "]
    assert [a.prompt_tokens for a in found] == [7, 0, 0]
    assert [a.completion_tokens for a in found] == [9, 0, 2]
    assert {a.model for a in found} == {"served"}


async def test_tokens_are_counted_by_logprobs_where_the_usage_leaves_samples_out() -> None:
    reply = chat_reply("aaaa", "b", prompt_tokens=7, completion_tokens=2)
    for choice, tokens in zip(reply["choices"], (3, 1), strict=True):
        choice["logprobs"] = {"content": [{"token": "a", "logprob": -1.0}] * tokens}
    request = Request(task="chat", messages=(user("x"),), n=2, sampling=Sampling(logprobs=1))
    async with FakeServer(handler=saying(reply)) as server, session(server.url) as model:
        assert [a.completion_tokens for a in await model.generate(request)] == [3, 1]


@settings(deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 500), min_size=1, max_size=9))
def test_shared_tokens_are_exact_and_nearly_proportional(total: int, sizes: list[int]) -> None:
    parts = shared(total, sizes)
    assert sum(parts) == total and min(parts) >= 0
    if sum(sizes):
        assert all(abs(part - total * size / sum(sizes)) < 1 for part, size in zip(parts, sizes, strict=True))


async def test_floats_instead_of_base64_make_the_same_vector() -> None:
    reply = {"data": [{"embedding": [1.0, -2.5]}]}
    async with FakeServer(handler=saying(reply)) as server, session(server.url) as model:
        found = await model.generate(Request(task="embed", prompt="x", n=2))
    assert [a.vector for a in found] == [b"\x00\x00\x80?\x00\x00 \xc0"] * 2


async def test_rewards_of_every_token_give_the_last() -> None:
    reply = {"data": [{"data": [[0.5, 1.0], [2.0, 3.0]]}]}
    async with FakeServer(handler=saying(reply)) as server, session(server.url) as model:
        assert (await model.generate(REQUESTS["score"]))[0].values == (2.0, 3.0)


def test_identity_names_model_first_server_revision_and_extra() -> None:
    url = "http://one:1/v1"
    assert openai(url).identity == "openai/any@http://one:1/v1"
    assert openai("http://one:1/", "http://two:2").identity == "openai/any@http://one:1/v1"
    assert openai(url, revision="r2").identity == "openai/any@http://one:1/v1@r2"
    assert openai(url, identity="mine", extra={"a": 1}).identity == "mine"
    assert openai(url, extra={"a": 1}).identity != openai(url, extra={"a": 2}).identity != openai(url).identity
    assert openai(url, extra={"batch_poll": 1}, max_in_flight=3).identity == openai(url).identity
    hub = OpenAIModel("Qwen/Qwen3-8B@http://localhost:8000/v1", ModelConfig(name="x"))
    assert (hub.model, hub.identity) == ("Qwen/Qwen3-8B", "openai/Qwen/Qwen3-8B@http://localhost:8000/v1")


def test_default_server_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_model("openai/m").identity == "openai/m@https://api.openai.com/v1"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://here:9/api/v1/")
    assert open_model("openai/m").identity == "openai/m@http://here:9/api/v1"


@pytest.mark.parametrize(("name", "said"), [
    ("openai/m@localhost:8000", "needs http://"), ("openai/m@http://", "no URL"),
    ("openai/@http://a", "names no model"),
    ("openai/m@http://a|ftp://b", "'ftp://b' is no URL"), ("openai/m@http://a/v1?k=1", "query")])
def test_bad_servers_are_named(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        open_model(name)


@pytest.mark.parametrize("url", ["http://me:hunter2@host/v1", "http://me:p@hunter2@host/v1", "http://host/v1?api_key=hunter2",
                                 "http://host/v1#hunter2"])
def test_secrets_in_urls_are_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    for name in (f"openai/m@{url}", "openai/m"):
        with pytest.raises(UsageError) as caught:
            open_model(name)
        assert "hunter2" not in str(caught.value) and "environment" in str(caught.value)


def test_a_password_is_not_repeated_where_http_is_missing() -> None:
    with pytest.raises(UsageError, match="'openai/m@host:8000' needs http://"):
        open_model("openai/m@me:hunter2@host:8000")


def test_extra_cannot_fix_what_requests_decide() -> None:
    with pytest.raises(UsageError, match=r"extra\.stream"):
        openai("http://a", extra={"stream": True})


async def test_missing_key_of_a_hosted_service_and_of_a_named_variable() -> None:
    model = open_model("openai/gpt-4o")
    with pytest.raises(Denied, match="OPENAI_API_KEY holds no key"):
        await model.generate(CHAT)
    async with FakeServer() as server, session(server.url, api_key_env="MY_KEY") as named:
        with pytest.raises(Denied, match="MY_KEY"):
            await named.generate(CHAT)


async def test_the_proxy_of_the_environment_is_used_but_not_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def handle(call: Call) -> Reply:
        seen.append(call.path)
        return Reply(orjson.dumps(chat_reply("through the proxy")))

    async with FakeServer(handler=handle) as proxy, FakeServer() as near:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1"))
        async with session("http://far.invalid/v1") as far, session(near.url) as local:
            assert (await far.generate(CHAT))[0].text == "through the proxy"
            assert "magnets" in (await local.generate(CHAT))[0].text
    assert seen == ["http://far.invalid/v1/chat/completions"]


@pytest.fixture
def dead() -> Iterator[str]:
    """The URL of a port that nobody listens on."""
    with closing(socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


async def test_a_pool_spreads_calls_over_its_servers() -> None:
    options = ServeOptions(latency=0.02)
    async with FakeServer(options) as one, FakeServer(options) as two, session(one.url, two.url) as model:
        await asyncio.gather(*(model.generate(CHAT) for _ in range(40)))
        assert one.api.stats["requests"] == two.api.stats["requests"] == 20


async def test_a_pool_fails_over_and_leaves_the_dead_server_alone(dead: str) -> None:
    async with FakeServer(ServeOptions(error_500=1)) as bad, FakeServer() as good, \
            session(dead, bad.url, good.url) as model:
        for _ in range(10):
            assert (await model.generate(CHAT))[0].text
        assert good.api.stats["requests"] == 10
        assert bad.api.stats["requests"] == 1


async def test_a_pool_whose_servers_all_fail_names_them_all(dead: str) -> None:
    async with FakeServer(ServeOptions(error_500=1)) as bad, session(dead, bad.url) as model:
        with pytest.raises(ServerFault) as caught:
            await model.generate(CHAT)
    assert "all 2 servers failed" in str(caught.value) and dead in str(caught.value) and bad.url in str(caught.value)
    async with session(dead, dead.replace("127.0.0.1", "localhost")) as model:
        with pytest.raises(Unreachable, match="all 2 servers"):
            await model.generate(CHAT)


async def test_only_failing_servers_are_failed_over() -> None:
    async with FakeServer(ServeOptions(context=1)) as strict, FakeServer() as good, \
            session(strict.url, good.url) as model:
        with pytest.raises(BadRequest):
            await model.generate(CHAT)
        assert good.api.stats["requests"] == 0


def test_a_model_can_be_used_in_one_loop_after_another() -> None:
    async def once() -> str:
        text = (await model.generate(CHAT))[0].text
        await model.close()
        return text

    with serving() as url:
        model = openai(url)
        assert len({asyncio.run(once()) for _ in range(2)}) == 1


@contextmanager
def serving() -> Iterator[str]:
    """The URL of a server in a loop and a thread of its own."""
    loop, server = asyncio.new_event_loop(), FakeServer()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result()
        yield server.url
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
