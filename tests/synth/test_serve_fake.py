"""The fake server over real HTTP: endpoints, limits, faults, statistics, and the command."""

from __future__ import annotations

import argparse
import asyncio
import signal
import subprocess
import sys
from typing import Any

import aiohttp
import pytest

from pica.synth.errors import UsageError
from pica.synth.serve_fake import FakeServer, ServeOptions, add_arguments, main, serve

PROMPT = {"model": "any", "prompt": "<|im_start|>user\n", "max_tokens": 40, "seed": 1}
CHAT = {"model": "any", "messages": [{"role": "user", "content": "How do magnets work?"}], "seed": 1}


async def post(url: str, path: str, body: dict[str, Any], **headers: str) -> tuple[int, Any, Any]:
    async with aiohttp.ClientSession() as session, session.post(url + path, json=body, headers=headers) as reply:
        return reply.status, await reply.json(content_type=None), reply.headers


async def get(url: str, path: str) -> Any:
    async with aiohttp.ClientSession() as session, session.get(url + path) as reply:
        return await reply.json()


async def test_completions_and_chats_have_openai_shape() -> None:
    async with serve() as url:
        status, found, _ = await post(url, "/completions", {**PROMPT, "n": 2, "logprobs": 1})
        assert status == 200 and [c["index"] for c in found["choices"]] == [0, 1]
        assert found["usage"]["total_tokens"] == found["usage"]["prompt_tokens"] + found["usage"]["completion_tokens"]
        first = found["choices"][0]
        assert "".join(first["logprobs"]["tokens"]) == first["text"]
        status, found, _ = await post(url, "/chat/completions", CHAT)
        assert "magnets" in found["choices"][0]["message"]["content"] and found["model"] == "any"


@pytest.mark.parametrize("path", ["/completions", "/chat/completions"])
async def test_the_fixed_brain_answers_the_same_from_its_ready_reply(path: str) -> None:
    body = PROMPT if path == "/completions" else CHAT
    async with serve(ServeOptions(brain="fixed", text="fixed \"text\" " * 5)) as url:
        first = (await post(url, path, {**body, "n": 2}))[1]
        second = (await post(url, path, {**body, "n": 2}))[1]
        other = (await post(url, path, {**body, "n": 1, "prompt": "longer " * 9, "messages": CHAT["messages"] * 3}))[1]
        cut = (await post(url, path, {**body, "max_tokens": 2}))[1]
    assert first["usage"] == second["usage"] and len(second["choices"]) == 2
    assert other["usage"]["prompt_tokens"] > first["usage"]["prompt_tokens"]
    assert other["usage"]["total_tokens"] == other["usage"]["prompt_tokens"] + other["usage"]["completion_tokens"]
    assert cut["choices"][0]["finish_reason"] == "length"


async def test_seed_and_brain_change_what_is_said() -> None:
    said = []
    for options in (ServeOptions(), ServeOptions(), ServeOptions(seed=1), ServeOptions(brain="echo")):
        async with serve(options) as url:
            said.append((await post(url, "/completions", PROMPT))[1]["choices"][0]["text"])
    assert said[0] == said[1] and len(set(said)) == 3 and said[3] == PROMPT["prompt"]


async def test_models_keys_context_and_unknown_paths() -> None:
    async with serve(ServeOptions(models="a,b", key="sesame-key", context=50)) as url:
        assert (await post(url, "/completions", PROMPT))[0] == 401
        key = {"Authorization": "Bearer sesame-key"}
        status, found, _ = await post(url, "/completions", PROMPT, **key)
        assert status == 404 and found["error"]["code"] == "model_not_found"
        assert (await post(url, "/completions", {**PROMPT, "model": "a"}, **key))[0] == 200
        status, found, _ = await post(url, "/completions", {**PROMPT, "model": "b", "prompt": "x" * 1000}, **key)
        assert status == 400 and "50 tokens" in found["error"]["message"]
        assert (await post(url, "/nowhere", {}, **key))[0] == 404
        assert (await post(url, "/completions", {**PROMPT, "model": "a", "top_p": 7}, **key))[0] == 400


async def test_rate_limit_refuses_with_retry_after() -> None:
    async with FakeServer(ServeOptions(rate=0.1, burst=3)) as server:
        replies = await asyncio.gather(*(post(server.url, "/completions", PROMPT) for _ in range(6)))
        refused = [headers for status, _, headers in replies if status == 429]
        assert len(refused) == 3 and all(0 < float(headers["Retry-After"]) <= 10 for headers in refused)
        assert server.api.stats["refused"] == 3 and server.api.stats["requests"] == 6


async def test_statistics_and_reset() -> None:
    async with serve(ServeOptions(latency=0.5)) as url:
        root = url.removesuffix("/v1")
        await asyncio.gather(*(post(url, "/completions", PROMPT) for _ in range(4)))
        stats = await get(root, "/stats")
        assert (stats["requests"], stats["answered"], stats["in_flight"], stats["peak_in_flight"]) == (4, 4, 0, 4)
        assert stats["last"] >= stats["first"] > 0
        await post(root, "/reset", {})
        assert (await get(root, "/stats"))["requests"] == 0


async def test_faults_follow_their_seed() -> None:
    async def statuses(seed: int) -> list[int]:
        async with serve(ServeOptions(error_500=0.3, fault_seed=seed)) as url:
            return [(await post(url, "/completions", PROMPT))[0] for _ in range(40)]

    first = await statuses(0)
    assert first == await statuses(0) != await statuses(1)
    assert 3 < first.count(500) < 25


async def test_pipelined_and_split_requests_are_answered_in_order() -> None:
    request = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
    async with FakeServer(ServeOptions(models="one")) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.split(":")[2].split("/")[0]))
        for piece in (request[:10], request[10:] + request, request):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        found = b""
        while found.count(b'"one"') < 3:
            found += await asyncio.wait_for(reader.read(1000), 60)
        writer.close()
        await writer.wait_closed()
    assert found.count(b"200 OK") == 3


@pytest.mark.parametrize(("path", "body"), [
    ("/completions", b"{"), ("/completions", b"[]"), ("/completions", b'{"prompt": 5}'), ("/embeddings", b"{}"),
    ("/chat/completions", b'{"messages": [5]}'), ("/chat/completions", b'{"messages": "x"}'), ("/batches", b"{}"),
    ("/completions", b'{"prompt": "x", "response_format": 7}'), ("/files", b"nothing")])
async def test_nonsense_is_refused_and_the_server_lives_on(path: str, body: bytes) -> None:
    async with serve() as url, aiohttp.ClientSession() as session:
        async with session.post(url + path, data=body) as reply:
            assert reply.status == 400 and (await reply.json())["error"]["message"]
        assert (await post(url, "/completions", PROMPT))[0] == 200


async def test_a_length_that_is_none_is_refused() -> None:
    async with FakeServer() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.split(":")[2].split("/")[0]))
        writer.write(b"POST /v1/completions HTTP/1.1\r\nContent-Length: -5\r\n\r\n")
        assert b" 411 " in await asyncio.wait_for(reader.read(1000), 60)
        writer.close()
        await writer.wait_closed()


async def test_templates_by_style() -> None:
    messages = {"messages": CHAT["messages"], "add_generation_prompt": True}
    expected = "<|im_start|>user\nHow do magnets work?<|im_end|>\n<|im_start|>assistant\n"
    async with serve(ServeOptions(template="vllm")) as url:
        tokens = (await post(url.removesuffix("/v1"), "/tokenize", messages))[1]["tokens"]
        assert (await post(url.removesuffix("/v1"), "/detokenize", {"tokens": tokens}))[1]["prompt"] == expected
        assert (await post(url.removesuffix("/v1"), "/apply-template", messages))[0] == 404
    async with serve(ServeOptions(template="llamacpp")) as url:
        assert (await post(url.removesuffix("/v1"), "/apply-template", messages))[1]["prompt"] == expected


@pytest.mark.parametrize(("words", "said"), [
    (["--brain", "magpi"], "'magpi'"), (["--rate", "many"], "--rate 'many'"), (["--port", "99999"], "--port '99999'"),
    (["--reset", "0.6", "--html", "0.6"], "1.2")])
def test_bad_options_are_named(words: list[str], said: str) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(UsageError, match=said):
        main(parser.parse_args(words))


async def test_a_port_in_use_is_named() -> None:
    async with FakeServer() as server:
        port = int(server.url.split(":")[2].split("/")[0])
        with pytest.raises(UsageError, match=f"{port}.*--port 0"):
            async with FakeServer(ServeOptions(port=port)):
                pass


def test_the_command_prints_its_address_and_ends_on_sigterm() -> None:
    command = [sys.executable, "-m", "pica.synth.serve_fake", "--latency", "0.01", "--stragglers", "0.02:3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert line.startswith("listening on http://127.0.0.1:") and line.endswith("/v1\n")
