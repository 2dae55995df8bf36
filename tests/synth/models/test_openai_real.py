"""`openai/...` against real servers: llama.cpp's, and vLLM's on a CPU where `scripts/setup-vllm` has been run."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from socket import socket

import orjson
import pytest

from pica.synth.errors import BadRequest, Denied
from pica.synth.models import Request, Sampling, assistant, open_model, user
from pica.synth.models.embedded import checkpoint_path, gguf_path
from pica.synth.models.openai import OpenAIModel

VLLM = Path(__file__).parents[3] / ".venvs" / "vllm" / "bin" / "python"
LLAMACPP = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.n_parallel, params.use_jinja, params.verbosity = sys.argv[1], 2048, 2, True, 0
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""
QUIET = Sampling(max_tokens=8, temperature=0)
SCHEMA = {"type": "object", "properties": {"quality": {"enum": ["good", "poor"]}}, "required": ["quality"]}


@contextmanager
def process(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True) as running:
        try:
            yield running
        finally:
            running.terminate()  # vLLM ends its engine's processes on this signal, and leaves them behind on a kill
            try:
                running.wait(60)
            except subprocess.TimeoutExpired:
                running.kill()


@pytest.fixture(scope="module")
def llamacpp() -> Iterator[str]:
    pytest.importorskip("xllamacpp")
    with process([sys.executable, "-c", LLAMACPP, str(gguf_path())]) as running:
        assert running.stdout is not None
        yield running.stdout.readline().strip()


@pytest.fixture(scope="module")
def vllm() -> Iterator[str]:
    if not VLLM.exists():
        pytest.skip("no vLLM: run scripts/setup-vllm")
    with closing(socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["env", "VLLM_CPU_KVCACHE_SPACE=1", "VLLM_NO_USAGE_STATS=1", str(VLLM), "-m",
               "vllm.entrypoints.openai.api_server", "--model", str(checkpoint_path()), "--served-model-name", "smol",
               "--dtype", "float32", "--enforce-eager", "--max-model-len", "1024", "--host", "127.0.0.1",
               "--port", str(port)]
    with process(command) as running:
        wait_for(f"http://127.0.0.1:{port}/health", running)
        yield f"http://127.0.0.1:{port}"


def wait_for(url: str, running: subprocess.Popen[str]) -> None:
    for _ in range(600):
        assert running.poll() is None, "the server ended while it started"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise AssertionError(f"no answer from {url}")


@pytest.fixture(params=[pytest.param("llamacpp", marks=pytest.mark.real),
                        pytest.param("vllm", marks=[pytest.mark.vllm, pytest.mark.slow])])
async def model(request: pytest.FixtureRequest) -> AsyncIterator[OpenAIModel]:
    opened = open_model(f"openai/smol@{request.getfixturevalue(request.param)}")
    assert isinstance(opened, OpenAIModel)
    yield opened
    await opened.close()


async def test_raw_prompts_with_seed_samples_stop_and_logprobs(model: OpenAIModel) -> None:
    sampling = Sampling(max_tokens=12, logprobs=2, stop=("<|im_end|>",))
    request = Request(task="complete", prompt="<|im_start|>user\n", seed=5, n=2, sampling=sampling)
    found = await model.generate(request)
    assert len(found) == 2 and found[0].text != found[1].text
    assert [a.text for a in found] == [a.text for a in await model.generate(request)]
    assert all(a.logprobs and 0 < a.completion_tokens <= 13 for a in found)
    assert found[0].prompt_tokens > 0


async def test_a_conversation_and_the_same_by_its_rendered_text(model: OpenAIModel) -> None:
    messages = (user("What is the capital of France?"),)
    chat = (await model.generate(Request(task="chat", messages=messages, sampling=QUIET)))[0]
    prompt = await model.render(messages, add_generation_prompt=True)
    assert prompt.startswith("<|im_start|>") and prompt.endswith("<|im_start|>assistant\n")
    raw = (await model.generate(Request(task="complete", prompt=prompt, sampling=QUIET)))[0]
    assert raw.text.strip() == chat.text.strip() != ""
    assert raw.finish == chat.finish


async def test_a_schema_is_followed(model: OpenAIModel) -> None:
    request = Request(task="chat", messages=(user("Rate this poem: roses are red"),), schema=SCHEMA, seed=1,
                      sampling=Sampling(max_tokens=60, temperature=0))
    assert orjson.loads((await model.generate(request))[0].text)["quality"] in ("good", "poor")


async def test_a_prompt_that_is_too_long_is_a_bad_request(model: OpenAIModel) -> None:
    with pytest.raises(BadRequest, match=r"400.*context"):
        await model.generate(Request(task="complete", prompt="word " * 9000, sampling=QUIET))


async def test_rewards_are_denied_by_a_model_that_has_none(model: OpenAIModel) -> None:
    with pytest.raises(Denied, match="/pooling answered 404"):
        await model.generate(Request(task="score", messages=(user("Hi"), assistant("Hello"))))


@pytest.mark.vllm
@pytest.mark.slow
async def test_log_probabilities_of_a_continuation(vllm: str) -> None:
    model = open_model(f"openai/smol@{vllm}")
    likely, odd = [(await model.generate(Request(task="logprobs", prompt="The capital of France is",
                                                 continuation=word)))[0].logprobs for word in (" Paris", " \U0001f600")]
    assert [t.token for t in likely] == [" Paris"]
    assert "".join(t.token for t in odd) == " \U0001f600" and sum(t.logprob for t in odd) < likely[0].logprob
    await model.close()


@pytest.mark.vllm
@pytest.mark.slow
async def test_an_unknown_model_is_told_what_there_is(vllm: str) -> None:
    model = open_model(f"openai/other@{vllm}")
    with pytest.raises(Denied, match="does not serve 'other'; it serves: smol"):
        await model.generate(Request(task="complete", prompt="a", sampling=QUIET))
    await model.close()
