"""The Files and Batch API against the fake server's: whole, partial, expired, refused, and across a restart."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from pica.synth.errors import BadRequest, Denied, UsageError
from pica.synth.models import ModelConfig, Request, open_model, user
from pica.synth.models.openai import OpenAIModel
from pica.synth.serve_fake import Call, FakeServer, Reply, ServeOptions

pytest.importorskip("openai")

QUICK = {"batch_window": 0.05, "batch_poll": 0.02}


@asynccontextmanager
async def session(url: str, **extra: Any) -> Any:
    model = open_model(ModelConfig(name=f"openai/any@{url}", batch=True, extra={**QUICK, **extra}))
    assert isinstance(model, OpenAIModel)
    try:
        yield model
    finally:
        await model.close()


def request(i: int, task: str = "chat") -> Request:
    if task == "chat":
        return Request(task="chat", messages=(user(f"Question {i}"),), seed=i)
    return Request(task="complete", prompt="<|im_start|>user\n", seed=i)


async def expected(requests: list[Request]) -> list[str]:
    return [(await open_model("fake/magpie").generate(r))[0].text for r in requests]


async def ask(model: OpenAIModel, requests: list[Request]) -> list[str]:
    return [found[0].text for found in await asyncio.gather(*(model.generate(r) for r in requests))]


def batches(server: FakeServer) -> int:
    return len(server.api.batches.created())


async def test_requests_of_a_window_share_a_batch_and_get_their_own_answers() -> None:
    requests = [request(i) for i in range(30)] + [request(3)]
    async with FakeServer(ServeOptions(batch_delay=0.05)) as server, session(server.url) as model:
        assert await ask(model, requests) == await expected(requests)
        assert batches(server) == 1
        assert server.api.stats["requests"] == 0


async def test_each_endpoint_has_its_own_batch_and_later_requests_another() -> None:
    requests = [request(1), request(2, "complete"), Request(task="embed", prompt="a b")]
    async with FakeServer(ServeOptions(batch_delay=0)) as server, session(server.url) as model:
        await asyncio.gather(*(model.generate(r) for r in requests))
        assert batches(server) == 3
        assert await ask(model, [request(5)]) == await expected([request(5)])
        assert batches(server) == 4


@pytest.mark.parametrize("fault", ["batch_fail", "batch_expire"])
async def test_what_failed_or_expired_is_sent_one_by_one(fault: str) -> None:
    requests = [request(i) for i in range(40)]
    options = ServeOptions.model_validate({"batch_delay": 0.05, fault: 0.3})
    async with FakeServer(options) as server, session(server.url) as model:
        assert await ask(model, requests) == await expected(requests)
        assert batches(server) == 1
        assert 3 < server.api.stats["requests"] < 25


async def test_a_request_that_can_never_succeed_is_a_bad_request() -> None:
    async with FakeServer(ServeOptions(context=20)) as server, session(server.url) as model:
        long = Request(task="chat", messages=(user("word " * 100),))
        good, bad = await asyncio.gather(model.generate(request(1)), model.generate(long), return_exceptions=True)
        assert isinstance(bad, BadRequest) and "maximum context length" in str(bad)
        assert not isinstance(good, BaseException)
        assert server.api.stats["requests"] == 0


async def test_a_batch_refused_as_a_whole_says_why() -> None:
    async with FakeServer(ServeOptions(batch_refuse=True)) as server, session(server.url) as model:
        with pytest.raises(BadRequest, match=r"batch_1 was refused: line 1: This line is not parseable"):
            await model.generate(request(1))


async def test_a_refused_key_stops_the_run_without_being_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-secret")
    async with FakeServer(ServeOptions(key="another")) as server, session(server.url) as model:
        with pytest.raises(Denied, match=r"401.*\[key\].*OPENAI_API_KEY") as caught:
            await model.generate(request(1))
        assert "sk-wrong" not in str(caught.value)


async def until_there(path: Path) -> None:
    while not await asyncio.to_thread(path.exists):  # noqa: ASYNC110 - it is a file
        await asyncio.sleep(0.01)


def killed_while_writing(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b'\n{"batch": "batch_9", "requ')


async def test_a_restart_in_mid_batch_waits_for_the_same_batch(tmp_path: Path) -> None:
    requests = [request(i) for i in range(10)]
    state = str(tmp_path / "batches.jsonl")
    async with FakeServer(ServeOptions(batch_delay=0.4)) as server:
        async with session(server.url, batch_state=state) as model:
            asked = [asyncio.ensure_future(model.generate(r)) for r in requests]
            await until_there(Path(state))
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        assert batches(server) == 1
        killed_while_writing(Path(state))
        async with session(server.url, batch_state=state) as model:
            assert await ask(model, [*requests, request(99)]) == await expected([*requests, request(99)])
        assert batches(server) == 2
        async with session(server.url, batch_state=state) as model:  # killed before its answers were stored
            assert await ask(model, requests[:3]) == await expected(requests[:3])
        assert batches(server) == 2
        assert server.api.stats["requests"] == 0


async def test_a_batch_that_the_server_no_longer_knows_is_sent_one_by_one(tmp_path: Path) -> None:
    state = tmp_path / "batches.jsonl"
    async with FakeServer(ServeOptions(batch_delay=0)) as server, session(server.url, batch_state=str(state)) as model:
        await model.generate(request(1))
    async with FakeServer(ServeOptions(batch_delay=0)) as server, session(server.url, batch_state=str(state)) as model:
        assert await ask(model, [request(1)]) == await expected([request(1)])
        assert server.api.stats["requests"] == 1 and batches(server) == 0
    assert orjson.loads(state.read_bytes().splitlines()[-1])["done"] is True


async def test_a_server_that_fails_while_it_is_watched_is_asked_again() -> None:
    looks = []

    async with FakeServer(ServeOptions(batch_delay=0.1)) as inner:
        def handle(call: Call) -> Reply:
            if call.method == "GET" and "/batches/" in call.path:
                looks.append(call.path)
                if len(looks) == 1:
                    return Reply(b"{}", 503, headers=(("retry-after-ms", "1"), ("x-should-retry", "false")))
            return inner.api.handle(call)

        async with FakeServer(handler=handle) as server, session(server.url) as model:
            assert await ask(model, [request(1)]) == await expected([request(1)])
    assert len(looks) > 1


async def test_without_the_package_the_mend_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    async with FakeServer() as server, session(server.url) as model:
        with pytest.raises(UsageError, match=r"pip install 'pica\[openai\]'"):
            await model.generate(request(1))
