"""Every way in which a server can fail, over real HTTP: the right error, one line, the mend, and never the key."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from email.utils import formatdate
from socket import socket
from typing import Any

import orjson
import pytest

from pica.synth import errors
from pica.synth.models import ModelConfig, Request, open_model, user
from pica.synth.models.openai_errors import retry_after
from pica.synth.serve_fake import Call, FakeServer, Reply, ServeOptions

KEY = "sk-very-secret-0123456789"
CHAT = Request(task="chat", messages=(user("How do magnets work?"),))
Handler = Callable[[Call], Reply]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


async def failure(options: ServeOptions | None = None, request: Request = CHAT, handler: Handler | None = None,
                  **settings: Any) -> errors.ModelError:
    """The error that a call to such a server raises."""
    async with FakeServer(options, handler) as server:
        model = open_model(ModelConfig(name=f"openai/any@{server.url}", **settings))
        try:
            with pytest.raises(errors.ModelError) as caught:
                await model.generate(request)
        finally:
            await model.close()
    text = str(caught.value)
    assert KEY not in text and KEY not in repr(caught.value) and KEY not in repr(model) and "\n" not in text
    assert caught.value.__cause__ is None
    assert server.url.removesuffix("/v1") in text
    return caught.value


def saying(status: int, body: Any, kind: str = "application/json", **headers: str) -> Handler:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return lambda call: Reply(raw, status, kind, tuple((k.replace("_", "-"), v) for k, v in headers.items()))


def refusing(status: int, message: str = "no", code: str = "", **headers: str) -> Handler:
    return saying(status, {"error": {"message": message, "code": code}}, **headers)


@pytest.mark.parametrize(("options", "error", "said"), [
    (ServeOptions(error_429=1, retry_after=3), errors.RateLimited, "429"),
    (ServeOptions(error_500=1), errors.ServerFault, "500: The server had an error"),
    (ServeOptions(reset=1), errors.Unreachable, "is the server running"),
    (ServeOptions(truncate=1), errors.Malformed, "no JSON object: '{"),
    (ServeOptions(html=1), errors.Malformed, "text/html.*<!doctype html>.*is this an API server's URL"),
    (ServeOptions(wrong_choices=1), errors.Malformed, "asked for 1 choices, got 0"),
    (ServeOptions(malformed=1), errors.Malformed, "no answer to 'chat'.*choices"),
    (ServeOptions(key="another"), errors.Denied, "401.*OPENAI_API_KEY"),
    (ServeOptions(models="a,b"), errors.Denied, "does not serve 'any'; it serves: a, b"),
    (ServeOptions(context=3), errors.BadRequest, "maximum context length is 3 tokens"),
])
async def test_server_faults(options: ServeOptions, error: type[errors.ModelError], said: str) -> None:
    found = await failure(options)
    assert type(found) is error
    assert re.search(said, str(found)), str(found)


async def test_wrong_number_of_choices_says_both_numbers_and_the_mend() -> None:
    found = await failure(ServeOptions(wrong_choices=1), Request(task="chat", messages=(user("x"),), n=4))
    assert isinstance(found, errors.Malformed) and "asked for 4 choices, got 3" in str(found)
    assert "one sample a call" in str(found)


async def test_a_connection_cut_in_the_middle_of_an_answer() -> None:
    found = await failure(handler=lambda call: Reply(b'{"choices": []}' * 100, cut="middle"))
    assert isinstance(found, errors.Unreachable) and "in the middle" in str(found)


async def test_a_server_that_never_answers() -> None:
    found = await failure(ServeOptions(hang=1), timeout=0.2)
    assert isinstance(found, errors.TimedOut) and "within 0.2 s" in str(found) and "raise `timeout`" in str(found)


async def test_empty_text_is_an_answer() -> None:
    async with FakeServer(ServeOptions(empty=1)) as server:
        model = open_model(f"openai/any@{server.url}")
        assert (await model.generate(CHAT))[0].text == ""
        await model.close()


@pytest.fixture
def dead() -> Iterator[str]:
    with closing(socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


async def test_a_server_that_is_down_names_the_url_and_the_mend(dead: str) -> None:
    model = open_model(f"openai/any@{dead}")
    with pytest.raises(errors.Unreachable, match="is the server running") as caught:
        await model.generate(CHAT)
    assert dead in str(caught.value) and caught.value.retry
    await model.close()


async def test_an_unknown_host_is_unreachable() -> None:
    model = open_model("openai/any@http://no-such-host.invalid/v1")
    with pytest.raises(errors.Unreachable, match=r"no-such-host\.invalid"):
        await model.generate(CHAT)
    await model.close()


async def test_a_port_that_speaks_no_http() -> None:
    import asyncio

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n\r\n")
        await reader.read(100)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    model = open_model(f"openai/any@http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
    with pytest.raises(errors.Malformed, match="does not speak HTTP"):
        await model.generate(CHAT)
    await model.close()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(("status", "error"), [
    (400, errors.BadRequest), (413, errors.BadRequest), (422, errors.BadRequest), (418, errors.BadRequest),
    (401, errors.Denied), (402, errors.Denied), (403, errors.Denied), (404, errors.Denied), (405, errors.Denied),
    (408, errors.TimedOut), (409, errors.ServerFault), (425, errors.ServerFault), (429, errors.RateLimited),
    (501, errors.Denied),
    (500, errors.ServerFault), (502, errors.ServerFault), (503, errors.ServerFault), (504, errors.ServerFault),
    (529, errors.ServerFault), (202, errors.Malformed)])
async def test_statuses(status: int, error: type[errors.ModelError]) -> None:
    found = await failure(handler=refusing(status, "because"))
    assert type(found) is error and str(status) in str(found)
    assert "because" in str(found) or status == 202


async def test_redirects_are_not_followed() -> None:
    found = await failure(handler=saying(301, b"", Location="https://elsewhere.example/v1"))
    assert isinstance(found, errors.Denied) and "https://elsewhere.example/v1" in str(found)


async def test_spent_quota_stops_the_run() -> None:
    found = await failure(handler=refusing(429, "You exceeded your current quota", "insufficient_quota"))
    assert isinstance(found, errors.Denied) and "no quota left" in str(found)


async def test_an_overloaded_server_may_say_when_to_come_back() -> None:
    found = await failure(handler=refusing(503, Retry_After="7"))
    assert isinstance(found, errors.ServerFault) and found.retry_after == 7


@pytest.mark.parametrize("shape", [
    {"error": {"message": f"bad key {KEY}"}}, {"error": f"bad key {KEY}"}, {"message": f"bad key {KEY}"},
    {"detail": f"bad key {KEY}"}, {"detail": [{"msg": f"bad key {KEY}"}]}, f"bad key {KEY}", [f"bad key {KEY}"]])
@pytest.mark.parametrize("status", [400, 401, 429, 500])
async def test_the_key_is_never_repeated_whatever_the_server_says(shape: Any, status: int) -> None:
    assert "bad key [key]" in str(await failure(handler=saying(status, shape)))


@pytest.mark.parametrize("body", [b"<p>" + KEY.encode(), b'"' + KEY.encode() + b'"', (b"x" * 78) + KEY.encode()])
async def test_the_key_is_never_repeated_from_a_body_that_is_no_answer(body: bytes) -> None:
    assert "sk-very" not in str(await failure(handler=saying(200, body)))


async def test_long_messages_with_control_characters_are_cut_to_one_line() -> None:
    found = await failure(handler=refusing(400, "a\nb\x00\x1b[31m" + "y" * 5000))
    assert "a b [31my" in str(found) and 300 < len(str(found)) < 500


async def test_an_error_that_comes_with_status_200_is_an_error() -> None:
    found = await failure(handler=saying(200, {"error": {"message": "overloaded", "code": 503}}))
    assert isinstance(found, errors.ServerFault) and "overloaded" in str(found)
    found = await failure(handler=saying(200, {"error": {"message": "slow down", "code": 429}}))
    assert isinstance(found, errors.RateLimited)


@pytest.mark.parametrize("body", [
    b"", b"null", b"[]", b"12", b'{"choices": null}', b'{"choices": [null]}', b'{"choices": [{}]}',
    b'{"choices": [{"message": {}}]}', b'{"choices": [{"message": {"content": 5}}]}', b'{"choices": {"a": 1}}',
    b'{"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": "many"}}'])
async def test_json_that_is_no_answer(body: bytes) -> None:
    assert isinstance(await failure(handler=saying(200, body)), errors.Malformed)


@pytest.mark.parametrize("body", [
    b'{"data": []}', b'{"data": [{"embedding": "a"}]}', b'{"data": [{"embedding": "YQ=="}]}',
    b'{"data": [{"embedding": ["x"]}]}'])
async def test_embeddings_that_are_none(body: bytes) -> None:
    request = Request(task="embed", prompt="x")
    assert isinstance(await failure(request=request, handler=saying(200, body)), errors.Malformed)


@pytest.mark.parametrize("value", ["two words", "line\nbreak", "schlüssel"])
async def test_a_key_that_cannot_be_sent_is_named_by_its_variable(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", value)
    model = open_model("openai/any@http://127.0.0.1:9/v1")
    with pytest.raises(errors.Denied, match="OPENAI_API_KEY") as caught:
        await model.generate(CHAT)
    assert value not in str(caught.value)
    await model.close()


async def test_spaces_around_a_key_are_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", f" {KEY}\n")
    async with FakeServer(ServeOptions(key=KEY)) as server:
        model = open_model(ModelConfig(name=f"openai/any@{server.url}", api_key_env="MY_KEY"))
        assert (await model.generate(CHAT))[0].text
        await model.close()


NOW = 1_800_000_000.0


@pytest.mark.parametrize(("headers", "seconds"), [
    ({}, None), ({"Retry-After": "2.5"}, 2.5), ({"Retry-After": "-3"}, 0), ({"Retry-After": "soon"}, None),
    ({"Retry-After": "nan"}, None), ({"Retry-After": formatdate(NOW + 30, usegmt=True)}, 30),
    ({"Retry-After": formatdate(NOW - 30, usegmt=True)}, 0), ({"retry-after-ms": "250", "Retry-After": "9"}, 0.25),
    ({"x-ratelimit-reset-requests": "6m0s"}, 360), ({"x-ratelimit-reset-tokens": "120ms"}, 0.12),
    ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-remaining-requests": "5",
      "x-ratelimit-reset-tokens": "1h0m2.5s", "x-ratelimit-remaining-tokens": "0"}, 3602.5),
    ({"x-ratelimit-reset": "12"}, 12), ({"x-ratelimit-reset": str(NOW + 8)}, 8)])
def test_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == (None if seconds is None else pytest.approx(seconds))


async def test_retry_after_as_a_date_over_http() -> None:
    found = await failure(handler=refusing(429, Retry_After=formatdate(time.time() + 5000, usegmt=True)))
    assert found.retry_after is not None and 4000 < found.retry_after <= 5000
