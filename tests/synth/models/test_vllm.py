"""The real vLLM on a CPU: served over HTTP, and in this process.

    scripts/setup-vllm
    .venvs/vllm/bin/python -m pytest -m vllm tests/synth/models/test_vllm.py
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from pica.synth.errors import BadRequest, ModelError, UsageError
from pica.synth.models import ModelConfig, Request, Sampling, open_model, user
from pica.synth.templates import chat_template

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / ".venvs" / "vllm" / "bin" / "python"
PRE_QUERY = "<|im_start|>user\n"
SCHEMA = {"type": "object", "properties": {"grade": {"enum": ["good", "bad"]}}, "required": ["grade"],
          "additionalProperties": False}

here = pytest.mark.skipif(importlib.util.find_spec("vllm") is None,
                          reason="no vLLM in this environment; run scripts/setup-vllm, use .venvs/vllm/bin/python")
installed = pytest.mark.skipif(not PYTHON.exists(), reason="there is no .venvs/vllm; run scripts/setup-vllm")


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The URL of a real vLLM server with the embedded model, started as a user would."""
    port, log = free_port(), tmp_path_factory.mktemp("vllm") / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen([str(ROOT / "scripts" / "setup-vllm"), "--serve", str(port)], stdout=out,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        try:
            wait_until_ready(f"http://127.0.0.1:{port}/health", process, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(60)


def wait_until_ready(url, process, log):
    for _ in range(400):
        if process.poll() is not None:
            pytest.fail(f"vLLM ended: {log.read_text(errors='replace')[-2000:]}")
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2):
            return
        time.sleep(1)
    pytest.fail(f"vLLM did not come up: {log.read_text(errors='replace')[-2000:]}")


def served_name(url):
    with urllib.request.urlopen(url + "/models", timeout=10) as reply:
        return json.load(reply)["data"][0]["id"]


@pytest.mark.vllm
@here
@pytest.mark.filterwarnings("ignore")
async def test_in_process(monkeypatch):
    from pica.synth.models.embedded import checkpoint_path

    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    model = open_model(ModelConfig(name=f"vllm/{checkpoint_path()}", context=2048))
    try:
        query = Request(task="complete", prompt=PRE_QUERY, seed=7, n=3, sampling=Sampling(max_tokens=24))
        first = await model.generate(query)
        assert await model.generate(query) == first
        assert len({answer.text for answer in first}) == 3

        text = await model.render([user("Name three colours.")], add_generation_prompt=True)
        greedy = Sampling(temperature=0, max_tokens=12, logprobs=2)
        chat, raw = await asyncio.gather(
            model.generate(Request(task="chat", messages=(user("Name three colours."),), sampling=greedy)),
            model.generate(Request(task="complete", prompt=text, sampling=greedy)))
        assert chat[0].text == raw[0].text and chat[0].truncated and len(chat[0].logprobs[0].top) == 2

        graded = await model.generate(Request(task="chat", messages=(user("Rate the river."),), schema=SCHEMA, seed=1))
        assert json.loads(graded[0].text)["grade"] in ("good", "bad")

        scored = await model.generate(Request(task="logprobs", prompt="The capital of France is",
                                              continuation=" Paris."))
        assert len(scored[0].logprobs) == 2 and scored[0].values[0] == pytest.approx(-0.638, abs=0.01)

        counted = Sampling(temperature=0, max_tokens=30, stop=("10",))
        cut = await model.generate(Request(task="complete", prompt="1, 2, 3, 4, 5, 6, 7,", sampling=counted))
        assert cut[0].finish == "stop" and cut[0].text == " 8, 9, "

        with pytest.raises(BadRequest, match=r"the prompt has \d+ tokens and the context of .* is 2048"):
            await model.generate(Request(task="complete", prompt="word " * 5000))
        with pytest.raises(TimeoutError):
            endless = Request(task="complete", prompt="Once", sampling=Sampling(max_tokens=1900))
            await asyncio.wait_for(model.generate(endless), 1)
        assert await model.generate(query) == first
    finally:
        await model.close()


@pytest.mark.vllm
@installed
async def test_over_http(served):
    model = open_model(f"openai/{served_name(served)}@{served}")
    try:
        template = await chat_template("auto", model)
        assert template.pre_query.endswith(PRE_QUERY)
        query = Request(task="complete", prompt=template.pre_query, seed=7, n=3, sampling=Sampling(max_tokens=24))
        first = await model.generate(query)
        assert [a.text for a in await model.generate(query)] == [a.text for a in first]
        assert len({a.text for a in first}) == 3 and first[0].prompt_tokens >= 3
        graded = await model.generate(Request(task="chat", messages=(user("Rate the river."),), schema=SCHEMA, seed=1,
                                              sampling=Sampling(max_tokens=30)))
        assert json.loads(graded[0].text)["grade"] in ("good", "bad")
        with pytest.raises(ModelError) as caught:
            await model.generate(Request(task="complete", prompt="word " * 5000, sampling=Sampling(max_tokens=5)))
        assert not caught.value.retry and "2048" in str(caught.value)
    finally:
        await model.close()


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed here")
async def test_a_missing_vllm_is_told_with_the_command(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UsageError, match=r'vLLM is not installed .*pip install "pica\[vllm\]"'):
        await open_model(f"vllm/{tmp_path}").generate(Request(task="complete", prompt="x"))


def test_a_missing_folder_is_told_at_once():
    with pytest.raises(UsageError, match=r"no checkpoint folder at './missing'"):
        open_model("vllm/./missing")
